"""The clusters of a test session: each started when first needed, healed after each test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from engine.compose import write_override
from engine.daemon import Engine
from engine.fixtures import (
    cockroach_on_path,
    docker_engine,  # noqa: F401 - a fixture
)
from labs import LABS, REAL_CLUSTERS
from ports import PORT_BASE
from results import problems

from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.privileges import LATE_IMPORT

RealLab = EmbeddedCluster | ComposeCluster | BinaryCluster
AnyLab = TypeVar("AnyLab", EmbeddedCluster, ComposeCluster, BinaryCluster)

# A job in the background is made to ignore Ctrl-C by its shell, and hang-ups by nohup,
# and so would every process that the tests start: they could not be ended the way some tests do.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


XDIST = "PYTEST_XDIST_WORKER" in os.environ

RUNNING: dict[str, RealLab] = {}
"""This session's labs."""
RESTING: set[str] = set()
"""Those of them that were stopped because the tests that come do not need them."""

LONGEST_FIRST = ("notebooks", "lab", "containers", "browser", "processes")
"""Groups that are begun first, so that no worker is alone with one of them in the end."""


def pytest_xdist_auto_num_workers() -> int:
    """For the unit tests: one more than there are cores, as some of them wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` one worker has all of a group.

    Intruders come last: a test of the same lab wants to see that the WAN has refused nobody.
    """
    items.sort(key=lambda item: item.path.parent.name == "security")
    if not XDIST:
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    order = {group: place for place, group in enumerate(LONGEST_FIRST)}
    # labs of a test's own come before the one that the group shares: not both at the same time
    items.sort(
        key=lambda item: (order.get(group_of(item), len(order)), shared_lab_of(item) is not None)
    )


def group_of(item: pytest.Item) -> str:
    """A lab, so that only one worker starts it; or a module, of tests that need none.

    The embedded lab is wanted most: the notebooks and the browser each have another one.
    """
    folder, lab = item.path.parent.name, lab_of(item)
    apart = folder == "browser" or (folder == "notebooks" and lab in (None, LABS["embedded"]))
    return folder if apart else lab or item.path.stem


def lab_of(item: pytest.Item) -> str | None:
    """The shared lab that a test runs on, or whose worker it belongs to."""
    return LABS["cockroachdb"] if item.get_closest_marker("docker") else shared_lab_of(item)


def shared_lab_of(item: pytest.Item) -> str | None:
    """The shared lab that a test runs on, as its fixtures or its parameters name it."""
    names = {*getattr(item, "fixturenames", ())}
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        named = {item.callspec.params.get(name) for name in ("cluster", "real_cluster")}
        names |= {LABS[backend] for backend in named & LABS.keys()}
    return next((name for name in LABS.values() if name in names), None)


@pytest.fixture(scope="session")
def lab() -> Iterator[EmbeddedCluster]:
    """Nine nodes of the embedded engine with the WAN on, in a folder that is closed as /root is."""
    closed = Path(tempfile.mkdtemp(prefix="labkit-"))
    lab = EmbeddedCluster.create(closed / "lab", port_base=PORT_BASE)
    with for_this_session("lab", lab) as cluster:
        yield cluster
        late = imported_late(cluster)
    closed.rmdir()
    assert late == []


def imported_late(cluster: EmbeddedCluster) -> list[str]:
    """What servers imported when they could not read root's environment any more."""
    logs = "".join(path.read_text(errors="replace") for path in cluster.layout.logs.glob("*.log"))
    return sorted(set(re.findall(rf"^{LATE_IMPORT}: (.*)", logs, re.MULTILINE)))


@pytest.fixture(scope="session")
def containers(docker_engine: Engine) -> Iterator[ComposeCluster]:  # noqa: F811
    """Nine CockroachDB nodes in containers with the WAN on; stand-ins in the tests' own engine."""
    closed = Path(tempfile.mkdtemp(prefix="labkit-"))
    cluster = ComposeCluster.create(closed / "lab", port_base=PORT_BASE + 1000)
    if docker_engine.standin:
        write_override(cluster)
    with for_this_session("containers", cluster) as running:
        yield running
    shutil.rmtree(closed)  # the override file is not labkit's, so the removed lab has left it


@pytest.fixture(scope="session")
def processes() -> Iterator[BinaryCluster]:
    """Nine CockroachDB nodes as processes with the WAN on; the double is their `cockroach`."""
    closed = Path(tempfile.mkdtemp(prefix="labkit-"))
    with cockroach_on_path():
        cluster = BinaryCluster.create(closed / "lab", port_base=PORT_BASE + 1400)
        with for_this_session("processes", cluster) as running:
            yield running
    closed.rmdir()


@contextmanager
def for_this_session(name: str, cluster: AnyLab) -> Iterator[AnyLab]:
    """Started, and in the end removed, also when the session is terminated."""

    def terminated(*_: object) -> None:
        pytest.exit("terminated", returncode=128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminated)
    with taken_down_after_us(cluster.home):
        try:
            cluster.start()
            RUNNING[name] = cluster
            yield cluster
        finally:
            cluster.stop()
            cluster.purge()
            signal.signal(signal.SIGTERM, before)


@contextmanager
def taken_down_after_us(home: Path) -> Iterator[None]:
    """A lab outlives who started it. This takes it down when we are killed before we could.

    After Ctrl-C xdist waits ten seconds for its workers, which a lab's end may exceed.
    """
    labkit = Path(sys.executable).with_name("labkit")
    guard = subprocess.Popen(
        # our end of the pipe is closed when we end, in whatever way
        ["sh", "-c", 'read -r _; exec "$0" down --purge', labkit],
        env={**os.environ, "LABKIT_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.communicate()


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A state folder and ports for an embedded lab of a test's own; the shared one rests."""
    shared = RUNNING.get("lab")
    if shared is not None and "lab" not in RESTING:
        shared.stop()
        RESTING.add("lab")
    home = tmp_path / "home"
    with taken_down_after_us(home):
        yield home, PORT_BASE


@pytest.fixture(params=REAL_CLUSTERS)
def real_cluster(request: pytest.FixtureRequest) -> RealLab:
    """Each lab in turn, in service and without a fault."""
    cluster: RealLab = request.getfixturevalue(LABS[request.param])
    return cluster


@pytest.fixture(autouse=True)
def _results_are_as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every run of every test, also those in other processes, keeps to docs/result.schema.json."""
    spoils = request.node.get_closest_marker("spoils_results")
    looks = "tmp_path" in request.fixturenames and not spoils
    folder: Path | None = request.getfixturevalue("tmp_path") if looks else None
    yield
    if folder is not None:
        assert problems(folder) == []


@pytest.fixture(autouse=True)
def _labs_are_whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test meets what another one broke, or a lab that rests."""
    wanted = lab_of(request.node)
    if wanted in RESTING:
        RUNNING[wanted].start()
        RESTING.remove(wanted)
    yield
    for name in LABS.values():
        if name in request.fixturenames:
            heal(request.getfixturevalue(name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """A lab rests when its group is done: nine nodes that nobody asks take time from the others."""
    yield
    if XDIST and nextitem and group_of(item) != group_of(nextitem):
        for name, cluster in RUNNING.items():
            if name != lab_of(nextitem) and name not in RESTING:
                cluster.stop()
                RESTING.add(name)


def heal(cluster: RealLab) -> None:
    """Undo what a test did. Most only look, so this looks first."""
    status = cluster.status()
    far = cluster.topology.one_way_ms
    undisturbed = status.healthy and all(
        link.delay_ms == far(link.source, link.target) and link.jitter_ms == 0
        for link in status.links
    )
    if not undisturbed:
        cluster.start()
    if cluster.survival_goal() is not cluster.topology.survive:
        cluster.set_survival_goal(cluster.topology.survive)
