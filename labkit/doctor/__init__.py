"""Checks of this machine: what will run on it, what will not, and why.

Each check is a function that looks at one thing and starts, changes and downloads nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import webbrowser
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from labkit.cluster import backend_of
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.render import DEFAULT_VERSION
from labkit.cluster.engines.cockroachdb.processes.commands import build_tag, find_cockroach
from labkit.cluster.engines.postgresql.layout import Layout
from labkit.cluster.engines.postgresql.room import free_bytes
from labkit.cluster.engines.postgresql.settings import DEFAULT_PORT_BASE, Settings
from labkit.cluster.folder import require_usable
from labkit.cluster.identity import Identity
from labkit.cluster.limits import UNLIMITED, Limits, memory_left_mib, memory_mib, too_low
from labkit.cluster.machines import programs
from labkit.cluster.ports import HOST
from labkit.cluster.strays import marked
from labkit.doctor.check import Check, Diagnosis, Feature, Level
from labkit.doctor.docker import containers
from labkit.errors import BadInput, ClusterError, LabError, MissingBinary
from labkit.privileges import obstacle
from labkit.topology import DEFAULT, Topology

MIB = 1 << 20
PORTS_A_LAB = 1000
"""A lab's ports lie in one block of this size (labkit.cluster.engines.postgresql.layout)."""
ETCD_FIXED = (3, 5, 3)
"""Earlier 3.5 releases can diverge when killed under load (etcd's data inconsistency postmortem,
https://github.com/etcd-io/etcd/blob/main/Documentation/postmortems/v3.5-data-inconsistency.md)."""
NOTEBOOK_PACKAGES = ("jupyterlab", "papermill", "nbconvert", "ipywidgets", "anywidget", "voila")


def diagnose(home: Path) -> Diagnosis:
    """Look at everything. Takes a second or two: programs are asked for their versions.

    Args:
        home: the state folder of the lab, which need not exist.
    """
    shape = _shape(home)
    checks: list[Callable[[], Check]] = [
        python,
        system,
        cores,
        lambda: memory(shape),
        lambda: limits(home, shape),
        lambda: disk(home, shape),
        lambda: left_over(home),
        user,
        lambda: server("PostgreSQL", programs.postgres),
        patroni,
        etcd,
        lambda: server("HAProxy", programs.haproxy, (Feature.EMBEDDED, Feature.PROGRAM)),
        cockroach,
        lambda: ports(home),
        lambda: cockroach_ports(home),
        notebook_packages,
        browser,
    ]
    return Diagnosis((*(check() for check in checks), *containers()))


# the machine


def python() -> Check:
    """Check the Python version."""
    return Check("Python", Level.OK, f"{platform.python_version()} ({sys.executable})")


def system() -> Check:
    """Check the operating system: Linux is tested, macOS should do, others have no servers."""
    found = f"{platform.system()} {platform.release()} {platform.machine()}"
    match platform.system():
        case "Linux":
            return Check("system", Level.OK, found)
        case "Darwin":
            return Check("system", Level.WARN, found, "labkit is tested on Linux")
        case _:
            return Check("system", Level.FAIL, found, "use Linux, macOS or WSL 2")


def cores() -> Check:
    """Cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if count < 2:
        return Check("cores", Level.WARN, f"{count}", "with one core expect slower failovers")
    return Check("cores", Level.OK, f"{count}")


def _shape(home: Path) -> Topology:
    """Read the shape of the lab in `home`, or take that of a new one."""
    try:
        return Settings.load(home).topology
    except LabError:
        return DEFAULT


def memory(shape: Topology = DEFAULT) -> Check:
    """Check the memory left for new processes, within the limit of a container."""
    left, needed = memory_left_mib(), memory_mib(shape)
    found = f"{left} MiB available, {len(shape.nodes)} nodes take about {needed} MiB"
    if left < needed:
        return Check("memory", Level.FAIL, found, "end something, or make a smaller --topology")
    if left < 2 * needed:
        return Check("memory", Level.WARN, found, "enough for the lab, little for a browser")
    return Check("memory", Level.OK, found)


def limits(home: Path, shape: Topology = DEFAULT) -> Check:
    """Check the limits of this user's processes: open files, processes, sizes."""
    try:
        uid = Identity.current().uid
    except ClusterError:  # `user` says so
        uid = os.getuid()
    there = Limits.here(uid)
    layout = Layout(home, shape, DEFAULT_PORT_BASE, wan=True)
    problem = too_low(shape, there, wan_ports=len(list(layout.parts())))
    if problem and not any((home / "processes").glob("*.json")):
        return Check("limits", Level.FAIL, "too low", problem)
    found = [
        f"{what} {allowed:,}" if allowed < UNLIMITED else f"{what} without limit"
        for what, allowed in (("open files", there.open_files), ("processes", there.processes))
    ]
    return Check("limits", Level.OK, ", ".join(found))


def disk(home: Path, shape: Topology = DEFAULT) -> Check:
    """Space where the state folder is or would be."""
    there = next(path for path in (home, *home.parents) if path.exists())
    free, needed = shutil.disk_usage(there).free // MIB, free_bytes(shape, fresh=True) // MIB
    found = f"{free} MiB free in {there}"
    try:
        require_usable(home)
    except BadInput as error:
        return Check("disk", Level.FAIL, found, str(error))
    if not os.access(there, os.W_OK):
        return Check("disk", Level.FAIL, f"{there} is not writable", "set LABKIT_HOME to a folder")
    if free < needed:
        advice = f"{needed} MiB are needed: free some, or set LABKIT_HOME to a larger disk"
        return Check("disk", Level.FAIL, found, advice)
    return Check("disk", Level.OK, found)


def left_over(home: Path) -> Check:
    """Look for processes of a lab whose state folder was removed while it ran."""
    found = [] if backend_of(home) else marked(home)
    if found:
        what = f"{len(found)} processes of a lab whose state folder {home} was removed"
        return Check("left over", Level.WARN, what, "`labkit down` ends them, `labkit up` too")
    return Check("left over", Level.OK, "nothing of a lab that was removed")


def user() -> Check:
    """Tell who the servers would run as: PostgreSQL refuses to run as root."""
    uid = os.geteuid()
    if problem := obstacle():
        lacking = f"uid {uid}, without a name" if uid else "root, without the right to change user"
        return Check("user", Level.FAIL, lacking, problem)
    if uid == 0:
        found = "root; a lab's servers run as a user of its own, without any of root's rights"
        return Check("user", Level.OK, found)
    return Check("user", Level.OK, f"uid {uid}; servers run as the same user")


# servers


def server(
    name: str,
    find: Callable[[], programs.Program],
    needed_for: tuple[Feature, ...] = (Feature.EMBEDDED,),
) -> Check:
    """Look for a server program, and ask for its version."""
    try:
        program = find()
    except MissingBinary as error:
        return Check(name, Level.FAIL, "missing", f"{error}", needed_for)
    return Check(name, Level.OK, f"{program.release} ({program.path})", "", needed_for)


def cockroach() -> Check:
    """Check the version of the `cockroach` program on PATH."""
    needed_for = (Feature.PROGRAM,)
    try:
        path = find_cockroach()
    except MissingBinary as error:
        return Check("cockroach", Level.FAIL, "missing", f"{error}", needed_for)
    tag, known = build_tag(path), DEFAULT_VERSION.rpartition(".")[0]
    if not tag.startswith(f"{known}."):
        advice = f"labkit is written after the documentation of {known}: flags may differ"
        return Check("cockroach", Level.WARN, f"{tag} ({path})", advice, needed_for)
    return Check("cockroach", Level.OK, f"{tag} ({path})", "", needed_for)


def etcd() -> Check:
    """Check the etcd that would be used for a known fault."""
    check = server("etcd", programs.etcd)
    if check.level is Level.OK and (3, 5) <= programs.etcd().version < ETCD_FIXED:
        fixed = ".".join(map(str, ETCD_FIXED))
        advice = f"may diverge when killed under load: put etcd {fixed} or newer on PATH"
        return Check("etcd", Level.WARN, check.found, advice)
    return check


def patroni() -> Check:
    """Patroni runs inside this Python."""
    return _package("Patroni", "patroni", "`pip install 'patroni[etcd3,psycopg3]'`")


def _package(name: str, distribution: str, advice: str) -> Check:
    try:
        return Check(name, Level.OK, version(distribution))
    except PackageNotFoundError:
        return Check(name, Level.FAIL, "missing", advice)


def ports(home: Path) -> Check:
    """Check the ports of the lab in `home`, or those that a new lab would take."""
    try:
        base = Settings.load(home).port_base
    except LabError:
        base = DEFAULT_PORT_BASE
    block = range(base, min(base + PORTS_A_LAB, 65536))
    taken = [port for port in block if not _free(port)]
    found = f"{block.start}-{block.stop - 1} on {HOST}: "
    if not taken:
        return Check("ports", Level.OK, f"{found}all free")
    shown = ", ".join(map(str, taken[:5])) + (", ..." if len(taken) > 5 else "")
    found += f"{len(taken)} taken ({shown})"
    if any((home / "processes").glob("*.json")):
        return Check("ports", Level.OK, f"{found}, a lab runs in {home}")
    advice = "if `labkit up` refuses one of them, give it another block with --port-base"
    return Check("ports", Level.WARN, found, advice)


def cockroach_ports(home: Path) -> Check:
    """Check the usual ports of a CockroachDB lab, in containers or not."""
    wanted = ComposeLayout(DEFAULT, wan=True, secure=False).ports()
    needed_for = (Feature.CONTAINERS, Feature.PROGRAM)
    taken = [f"{port} ({what})" for port, what in wanted.items() if not _free(port)]
    if not taken:
        return Check("CockroachDB ports", Level.OK, "the usual ones: all free", "", needed_for)
    found = f"{len(taken)} of the usual ones are taken: {taken[0]}" + ", ..." * (len(taken) > 1)
    if backend_of(home) in needed_for:
        return Check("CockroachDB ports", Level.OK, f"{found}; a lab is in {home}", "", needed_for)
    advice = "give `labkit up --backend cockroachdb` other ones with --port-base"
    return Check("CockroachDB ports", Level.WARN, found, advice, needed_for)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # without this a port counts as taken for a minute after its last connection
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


# notebooks


def notebook_packages() -> Check:
    """Check that the packages that run and show notebooks can be imported."""
    missing = [name for name in NOTEBOOK_PACKAGES if find_spec(name) is None]
    needed_for = (Feature.NOTEBOOKS,)
    if missing:
        found = f"missing: {', '.join(missing)}"
        advice = "install labkit again, with what it depends on"
        return Check("notebooks", Level.FAIL, found, advice, needed_for)
    found = f"JupyterLab {version('jupyterlab')}, papermill {version('papermill')}"
    return Check("notebooks", Level.OK, found, "", needed_for)


def browser() -> Check:
    """Look for a browser on this machine; one on another machine does as well."""
    try:
        found = getattr(webbrowser.get(), "name", "there is one")
    except webbrowser.Error:
        advice = "open the address that `labkit notebook` prints, through a tunnel from elsewhere"
        return Check("browser", Level.WARN, "none that could be opened here", advice, ())
    return Check("browser", Level.OK, found, "", ())
