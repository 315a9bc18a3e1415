"""System V shared memory that a killed PostgreSQL leaves behind: found and removed."""

from __future__ import annotations

import ctypes
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from labkit.cluster.processes import read_proc

_IPC_RMID = 0


def remove_ipc(data: Path, user: int) -> None:
    """Remove the System V segment that a PostgreSQL killed with SIGKILL left behind.

    Its id stands in line 7 of postmaster.pid (PostgreSQL: src/include/utils/pidfile.h). A running
    server removes its own when it stops or starts again, so call this only for dead ones.

    Args:
        user: whom the server belonged to.
    """
    try:
        words = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[6].split()
        segment = int(words[1])
    except (OSError, IndexError, ValueError):
        return
    remove_segments([segment], {user})


def segments(pids: Iterable[int]) -> set[int]:
    """List the System V segments that processes have mapped; none where that cannot be asked.

    Linux shows such a segment as a file `SYSV...` whose inode is its id (proc_pid_maps(5)).
    """
    found = set()
    for pid in pids:
        with suppress(OSError, ValueError):
            for line in read_proc(Path(f"/proc/{pid}/maps")).splitlines():
                words = line.split(maxsplit=5)
                if len(words) == 6 and words[5].startswith("/SYSV"):
                    found.add(int(words[4]))
    return found


def remove_segments(found: Iterable[int], users: Container[int]) -> None:
    """Remove System V segments whose processes have ended. Idempotent.

    An id in a file may be another program's by now, after a restart of the machine, and a server
    may have written any. So a segment that a process has, or another user made, stays (Linux; on
    other systems an ordinary user removes no other user's).

    Args:
        users: whose they may be.
    """
    table = Path("/proc/sysvipc/shm")
    if table.exists():
        found = {*found} & set(_left_segments(table.read_text(encoding="utf-8"), users))
    for segment in found:
        ctypes.CDLL(None, use_errno=True).shmctl(segment, _IPC_RMID, None)


def _left_segments(table: str, users: Container[int]) -> Iterator[int]:
    """List the segments of some users that no process has (/proc/sysvipc/shm, proc_sysvipc(5))."""
    names, *rows = (line.split() for line in table.splitlines())
    for row in rows:
        segment = dict(zip(names, map(int, row), strict=False))
        if segment["nattch"] == 0 and segment["cuid"] in users:
            yield segment["shmid"]
