"""Marks that say which run is going on: in its run folder, and in the state folder of its lab.

A mark names a process by its id and its start time. So the mark of a process that died, in
whatever way, counts for nothing, and nobody has to remove it.

One run at a time has a lab. `labkit down` asks that run to end by a word in the lab's mark, which
the run reads several times a second.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from labkit import files
from labkit.clock import wait_until
from labkit.cluster.processes import start_time
from labkit.errors import LabBusy, LabTakenDown, NotReady

RUNNING_FILE = "running.json"
"""In a run folder as long as its run is going on."""
RUN_FILE = "run.json"
"""In the state folder: the run that has the lab. Empty when no run has it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A run that is going on.

    Attributes:
        folder: its run folder.
        pid: the process that runs it.
        started: when that process started, as `start_time` has it.
        since: when the run began, in UTC.
        ended_by: the command that asked it to end; empty when none did.
    """

    folder: str
    pid: int
    started: float
    since: str
    ended_by: str = ""

    @classmethod
    def mine(cls, folder: Path) -> Mark:
        """Make the mark of a run that this process begins now."""
        pid = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(str(folder.absolute()), pid, start_time(pid) or 0.0, since)

    @classmethod
    def read(cls, text: str) -> Mark | None:
        """Read a mark; None when the text is none, or its process is gone."""
        try:
            mark = cls(**json.loads(text))
            alive = start_time(mark.pid) == mark.started
        except (ValueError, TypeError):
            return None
        return mark if alive else None

    def text(self) -> str:
        """Return the mark as it is written."""
        return json.dumps(asdict(self)) + "\n"

    def has(self, folder: Path) -> bool:
        """Tell whether a run folder is this run's own, or lies in it, as those of trials do."""
        return folder.resolve().is_relative_to(Path(self.folder).resolve())

    def __str__(self) -> str:
        since = self.since.replace("T", " ").removesuffix("+00:00")
        return f"{self.folder} (process {self.pid}, since {since} UTC)"


# in a run folder


def running(folder: Path) -> Mark | None:
    """Tell whether the run of a run folder is going on, and in which process."""
    try:
        return Mark.read((folder / RUNNING_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Mark a run folder for the length of a block, unless a run that is going on has done so."""
    if running(folder) is not None:
        yield
        return
    path = folder / RUNNING_FILE
    files.write_text(path, Mark.mine(folder).text())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


# in a state folder


class Claim:
    """A run's hold on its lab; without a lab in a state folder, on nothing."""

    def __init__(self, home: Path | None, mark: Mark | None) -> None:
        """Stand for a run that has the lab in `home` under a mark."""
        self._home, self._mark = home, mark

    @property
    def ended_by(self) -> str:
        """The command that took the lab down, or asks the run to end so that it can."""
        if self._home is None or self._mark is None:
            return ""
        now = run_of(self._home)
        if now is None or (now.pid, now.started) != (self._mark.pid, self._mark.started):
            return "the removal of its state folder"
        return now.ended_by

    def check(self) -> None:
        """Let the run go on, or not.

        Raises:
            LabTakenDown: somebody takes the lab down.
        """
        if by := self.ended_by:
            raise LabTakenDown(f"the lab was taken down during the run, by {by}")


@contextmanager
def claimed(home: Path | None, folder: Path) -> Iterator[Claim]:
    """Have a lab to oneself for a run. A run inside a run, such as a trial, shares its claim.

    Args:
        home: the lab's state folder; None for a lab that has none.
        folder: the run folder.

    Raises:
        LabBusy: another run has the lab.
        LabTakenDown: somebody takes the lab down.
    """
    if home is None:
        yield Claim(None, None)
        return
    with _file(home, create=True) as descriptor:
        there = Mark.read(_content(descriptor))
        if there is not None and not there.has(folder):
            raise LabBusy(_busy(there, "wait for its end"))
        mark = there or Mark.mine(folder)
        if there is None:
            _write(descriptor, mark)
    claim = Claim(home, mark)
    claim.check()
    try:
        yield claim
    finally:
        if there is None:
            _release(home, mark)


def run_of(home: Path) -> Mark | None:
    """Tell which run has the lab in a state folder; None when none does."""
    try:
        with _file(home) as descriptor:
            return Mark.read(_content(descriptor))
    except OSError:
        return None


def require_no_run(home: Path) -> None:
    """Refuse to change a lab that a run measures.

    Raises:
        LabBusy: names the run.
    """
    there = run_of(home)
    if there is not None:
        raise LabBusy(_busy(there, "it would measure this change too; wait for its end"))


def ask_to_end(home: Path, command: str) -> Mark | None:
    """Ask the run that has a lab to end, in the name of a command.

    Returns:
        The run; None when there is none, or this process is a part of it.
    """
    try:
        with _file(home) as descriptor:
            there = Mark.read(_content(descriptor))
            if there is None or there.pid in (os.getpid(), *_ancestors()):
                return None
            _write(descriptor, replace(there, ended_by=command))
            return there
    except OSError:
        return None


def ended(home: Path, timeout_s: float) -> bool:
    """Wait for the end of the run that has a lab; whether it came in time."""
    try:
        wait_until(lambda: run_of(home) is None, what="the run", timeout_s=timeout_s, poll_s=0.1)
    except NotReady:
        return False
    return True


def _ancestors() -> list[int]:
    try:
        return [process.pid for process in psutil.Process().parents()]
    except psutil.Error:
        return []


def _busy(run: Mark, advice: str) -> str:
    return f"a run is going on in this lab: {run}: {advice}, or `labkit down` ends both"


def _release(home: Path, mine: Mark) -> None:
    try:
        with _file(home) as descriptor:
            there = Mark.read(_content(descriptor))
            if there and (there.pid, there.started) == (mine.pid, mine.started):
                os.ftruncate(descriptor, 0)
    except OSError:
        pass  # the lab was removed


@contextmanager
def _file(home: Path, *, create: bool = False) -> Iterator[int]:
    """Have the lab's mark to oneself for a moment. It is never replaced, so a lock on it holds."""
    flags = os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    descriptor = os.open(home / RUN_FILE, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> str:
    return os.pread(descriptor, 1 << 16, 0).decode(errors="replace")


def _write(descriptor: int, mark: Mark) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, mark.text().encode(), 0)
