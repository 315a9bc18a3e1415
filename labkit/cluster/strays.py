"""Processes of a lab that no record names, found by what every process of a lab carries.

A command that was killed leaves such, and so does whoever removes the state folder of a lab that
runs.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from labkit.cluster import folder
from labkit.cluster.base import OnStage, quiet
from labkit.cluster.identity import OWN_UIDS, Identity
from labkit.cluster.processes import (
    HOME_VARIABLE,
    LAB_VARIABLE,
    ProcessTable,
    alive,
    kill_and_wait,
    send,
    start_time,
    uninterrupted,
)
from labkit.cluster.settings import Stamp, is_servers_folder
from labkit.cluster.shared_memory import remove_segments, segments
from labkit.errors import BadInput
from labkit.topology import DEFAULT

GONE = " (deleted)"
"""What Linux writes behind the path of a folder that was removed."""
_VIEW = ("ns/mnt", "root")
"""What says, in /proc, which files a process finds under a path."""
_MEMBER = re.compile(r"labkit patroni (.+)-\d+")
"""The title of a Patroni (labkit.cluster.engines.postgresql.members)."""


def of_table(table: ProcessTable) -> list[int]:
    """List the live processes of a lab that no record names.

    So are those of another lab whose state was in this very folder, until somebody removed it.
    Where root's lab has a user of its own, every process of that user is the lab's: in a container
    root may not look at the environment of others.
    """
    known = {table.pid(name) for name in table.records()}
    found = {*marked(table.home, table.lab_id)}
    if not other_lab_of(table.identity, table.lab_id):
        found |= {*_of_user(table.identity)}
    return sorted(pid for pid in found - known if start_time(pid) is not None)


def other_lab_of(user: Identity, lab_id: str) -> str:
    """Return the state folder of another lab that runs as a lab's own user, or an empty text.

    Two labs can have drawn the same one: of a lab that is stopped it is known only where its
    servers have a folder elsewhere, and two that are made at the same time do not see each other.
    """
    if not user.exclusive:
        return ""
    environs = (process.info["environ"] or {} for process in _processes_of({user.uid}, "environ"))
    return next(
        (
            one.get(HOME_VARIABLE, "?")
            for one in environs
            if one.get(LAB_VARIABLE, lab_id) != lab_id
        ),
        "",
    )


def _of_user(user: Identity) -> Iterator[int]:
    if user.exclusive:
        yield from (process.pid for process in _processes_of({user.uid}, "pid"))


def end_removed_lab(home: Path, on_stage: OnStage = quiet) -> int:
    """End what runs of a lab whose state folder was removed, and remove what it wrote since.

    Does nothing where a lab is.

    Returns:
        How many processes there were.

    Raises:
        NotReady: one is still there (uninterruptible sleep).
        BadInput: they are ended, and root removes nothing where another user could change it.
    """
    if (home / folder.MARK).exists():
        return 0
    pids = marked(home)
    if not pids:
        return 0
    on_stage(f"ending {len(pids)} processes of a lab whose state folder was removed")
    regions, places = _regions(pids), _elsewhere(_carriers(home))
    with uninterrupted():
        _end(pids, lambda: marked(home), _believed(home))
        # servers make their files anew until they end
        roots = {one for one in places if folder.is_roots_alone(one.parent)}
        for place in {home, *filter(folder.is_roots_alone, roots)}:
            folder.require_own(place)
            if place.is_dir():
                folder.remove(place, regions)
    return len(pids)


def end_unusable_lab(home: Path, on_stage: OnStage = quiet) -> int:
    """End what runs of a lab whose settings this labkit cannot use. All its files stay.

    Returns:
        How many processes there were.

    Raises:
        NotReady: one is still there (uninterruptible sleep).
    """
    user = _user_of(home)

    def found() -> list[int]:
        return sorted({*marked(home), *(() if user is None else alive(_of_user(user)))})

    pids = found()
    if pids:
        on_stage(f"ending {len(pids)} processes of the lab in {home}")
        with uninterrupted():
            _end(pids, found, _believed(home))
    return len(pids)


def _user_of(home: Path) -> Identity | None:
    """Find the user whom a lab.json of any labkit names for servers, if root wrote it."""
    try:
        folder.require_own(home)
        run_as = Stamp.model_validate_json((home / folder.MARK).read_text(encoding="utf-8")).run_as
    except (BadInput, OSError, ValueError):
        return None
    return Identity(*run_as, dropped=True) if run_as and os.geteuid() == 0 else None


def _end(pids: list[int], more: Callable[[], list[int]], users: Container[int]) -> None:
    """Kill processes of a lab, and those that `more` finds then; remove their shared memory."""
    left_behind = segments(pids)
    send(pids, signal.SIGCONT)
    for found in iter(more, []):  # one that forks may have forked one more
        kill_and_wait(found)
    kill_and_wait(pid for pid in alive(pids))  # servers whose parent could not say who they are
    remove_segments(left_behind, users)


def _regions(pids: Iterable[int]) -> set[str]:
    """Return the regions of a lab of which only processes are left."""
    found = set(DEFAULT.region_names)
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if title := _MEMBER.match(" ".join(process.cmdline())):
                found.add(title[1])
            if process.name() == "postgres":
                found.add(Path(process.cwd().removesuffix(GONE)).name.rpartition("-")[0])
    return found - {""}


def marked(home: Path, lab_id: str | None = None) -> list[int]:
    """List the live processes of the labs whose state is in a folder, or was when it was removed.

    Every process of a lab has the lab's id and the path of its state folder in its environment.
    Servers that a PostgreSQL forks write their titles over it; they stand in a data directory,
    beside the home folder that the others were given.
    The path means this very folder only where it is seen by the same mounts: processes of a
    container that has such a path of its own are somebody else's. And anybody may put any path into
    an environment: only the users are believed that a lab in this folder can have.

    Args:
        lab_id: processes of this lab are listed wherever its state folder was.
    """
    carriers = _carriers(home, lab_id)
    places = {os.path.realpath(home), *map(str, _elsewhere(carriers))}
    data = tuple(f"{place}/data/" for place in places)
    servers = (
        process.pid
        for process in _processes_of(_believed(home), "name")
        if process.info["name"] == "postgres" and _stands_in(process, data)
    )
    pids = dict.fromkeys([*(one.pid for one in carriers), *servers])
    return [pid for pid in pids if pid != os.getpid() and start_time(pid) is not None]


class _Carrier(NamedTuple):
    """A process that says of which lab it is, and where that lab's servers have their files."""

    pid: int
    lab: str
    place: str


def _carriers(home: Path, lab_id: str | None = None) -> list[_Carrier]:
    where = os.path.realpath(home)
    found = []
    for process in _processes_of(_believed(home), "environ"):
        environ = process.info["environ"] or {}
        lab, there = environ.get(LAB_VARIABLE), environ.get(HOME_VARIABLE)
        same = bool(there) and os.path.realpath(str(there)) == where
        if lab and (lab == lab_id or (same and _same_mounts(process.pid))):
            found.append(_Carrier(process.pid, lab, os.path.realpath(environ.get("HOME", where))))
    return found


def _elsewhere(carriers: Iterable[_Carrier]) -> set[Path]:
    """Tell where servers have their files when not in the state folder."""
    return {Path(one.place) for one in carriers if is_servers_folder(Path(one.place), one.lab)}


def _believed(home: Path) -> Container[int]:
    """Return the users that processes of a lab in a folder can have: this one.

    Root's are another user's after their first moment, or those of the folder's owner.
    """
    if os.geteuid() != 0:
        return {os.geteuid()}
    where = Path(os.path.realpath(home))
    there = next(path for path in (where, *where.parents) if path.exists())
    return {0, there.stat().st_uid, *OWN_UIDS}


def _processes_of(users: Container[int], fact: str) -> Iterator[psutil.Process]:
    """Return the processes of some users, with one fact about each in its `info`."""
    for process in psutil.process_iter(["uids", fact]):
        uids = process.info["uids"]
        if uids and uids.real in users:
            yield process


def _stands_in(process: psutil.Process, folders: tuple[str, ...]) -> bool:
    """Tell whether a process works in one of some folders, which may have been removed."""
    try:
        return process.cwd().removesuffix(GONE).startswith(folders) and _same_mounts(process.pid)
    except psutil.Error:
        return False


def _same_mounts(pid: int) -> bool:
    """Tell whether a process finds the same files under the same paths as this one."""
    here, there = Path("/proc/self"), Path(f"/proc/{pid}")
    if not (here / "ns" / "mnt").exists():
        return True  # a system without them
    try:
        return all((here / kind).readlink() == (there / kind).readlink() for kind in _VIEW)
    except OSError:
        return False
