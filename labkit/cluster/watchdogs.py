"""The watchdogs that guard a lab: which there are, and their end with the lab's.

A watchdog (`labkit.run.watchdog`) is no part of the lab. It is recorded in the state folder, a file
each, so that `labkit down` leaves none behind.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from labkit import files
from labkit.cluster.processes import kill_and_wait, start_time
from labkit.errors import NotReady

FOLDER = "watchdogs"


def record(home: Path, pid: int) -> None:
    """Write down that a process guards the lab in `home`."""
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    started = start_time(pid)
    if started is not None:  # else it has ended already
        text = json.dumps({"pid": pid, "started": started}) + "\n"
        files.write_text(folder / f"{pid}.json", text)


def forget(home: Path, pid: int) -> None:
    """Forget a watchdog that guards the lab no more. Idempotent."""
    (home / FOLDER / f"{pid}.json").unlink(missing_ok=True)


def alive(home: Path) -> list[int]:
    """Return the watchdogs of the lab in `home` that live; a reused pid is not taken for one."""
    found = []
    for path in (home / FOLDER).glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            written = json.loads(path.read_text(encoding="utf-8"))
            pid = int(written["pid"])
            if start_time(pid) == float(written["started"]):
                found.append(pid)
    return found


def end(home: Path) -> None:
    """End every watchdog of the lab in `home`, one that is healing too. Idempotent."""
    with suppress(NotReady):
        kill_and_wait(alive(home), timeout_s=5)
    for path in (home / FOLDER).glob("*.json"):
        path.unlink(missing_ok=True)
