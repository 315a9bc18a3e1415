"""The watchdogs that guard a lab: which there are, and their end with the lab's.

A watchdog (`labkit.watchdog`) is no part of the lab. It is recorded in the state folder, a file
each, so that `labkit down` leaves none behind.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import psutil

from labkit import files

FOLDER = "watchdogs"


def record(home: Path, pid: int) -> None:
    """Write down that a process guards the lab in `home`."""
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    with suppress(psutil.NoSuchProcess):  # it has ended already
        started = psutil.Process(pid).create_time()
        text = json.dumps({"pid": pid, "started": started}) + "\n"
        files.write_text(folder / f"{pid}.json", text)


def forget(home: Path, pid: int) -> None:
    """It guards the lab no more. Idempotent."""
    (home / FOLDER / f"{pid}.json").unlink(missing_ok=True)


def alive(home: Path) -> list[int]:
    """The watchdogs of the lab in `home` that live; a reused pid is not taken for one."""
    found = []
    for path in (home / FOLDER).glob("*.json"):
        with suppress(OSError, ValueError, KeyError, psutil.NoSuchProcess):
            written = json.loads(path.read_text())
            process = psutil.Process(int(written["pid"]))
            dead = process.status() == psutil.STATUS_ZOMBIE
            if process.create_time() == written["started"] and not dead:
                found.append(process.pid)
    return found


def end(home: Path) -> None:
    """End every watchdog of the lab in `home`, one that is healing too. Idempotent."""
    for pid in alive(home):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            process.kill()
            process.wait(timeout=5)
    for path in (home / FOLDER).glob("*.json"):
        path.unlink(missing_ok=True)
