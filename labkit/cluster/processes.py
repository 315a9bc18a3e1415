"""Spawning, finding and ending the lab's processes.

There is no supervisor: servers are ordinary detached processes, and the state folder, one file a
process with pid, start time and argv, is the truth about them. A pid alone is never believed: the
start time must match, so that a reused pid is not taken for a server of ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from labkit.clock import wait_until
from labkit.cluster.folder import write_whole
from labkit.cluster.identity import Identity
from labkit.environment import of_servers
from labkit.errors import ClusterError

LAB_VARIABLE = "LABKIT_LAB"
"""In the environment of every process of a lab: its id, by which strays are found."""
HOME_VARIABLE = "LABKIT_HOME"
"""In the environment of every process of a lab: its state folder, which may be gone."""


class Server(subprocess.Popen[bytes]):
    """A child that may outlive this process; Popen's own warns of that when it is forgotten."""

    def __del__(self) -> None:
        """Say nothing."""


_OURS: list[Server] = []
"""Children of this very process, kept so that dead ones are reaped."""


@dataclass(frozen=True, slots=True)
class Record:
    """A process as the state folder knows it.

    Attributes:
        started: start time in clock ticks since boot (Linux) or seconds since the epoch.
    """

    name: str
    pid: int
    started: float
    argv: tuple[str, ...]


def read_proc(path: Path) -> str:
    """Read a file of /proc. A process may have any bytes in its name, a file of it too."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def start_time(pid: int) -> float | None:
    """Tell when a live process started; None for a dead one or a zombie."""
    if Path("/proc/self/stat").exists():  # Linux
        try:
            # the command may hold spaces and parentheses: fields count from the last one
            fields = read_proc(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else float(fields[19])
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


@dataclass(frozen=True)
class ProcessTable:
    """The processes of one lab.

    Attributes:
        folder: one record a process.
        logs: one log a process; beside it is what the servers read and write.
    """

    folder: Path
    logs: Path
    lab_id: str
    identity: Identity

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what a server sees: nothing of the caller's PG*, PATRONI* or ETCD* settings."""
        own = {
            "HOME": str(self.logs.parent),
            LAB_VARIABLE: self.lab_id,
            HOME_VARIABLE: str(self.home),
        }
        return of_servers({**own, **(extra or {})})

    def spawn(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        becomes: bool = False,
    ) -> Record:
        """Start a detached server that logs into `<logs>/<name>.log`, and record it.

        Args:
            becomes: it changes to the servers' user itself (`Identity.module`).
        """
        process = self.popen(name, argv, env=env, becomes=becomes)
        _OURS.append(process)
        return self.adopt(name, process.pid, [str(part) for part in argv])

    def popen(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        becomes: bool = False,
    ) -> Server:
        """Start a process the way servers are started, without recording it."""
        prefix = () if becomes else self.identity.prefix
        with (self.logs / f"{name}.log").open("ab") as log:
            return Server(
                [*prefix, *(str(part) for part in argv)],
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                env=self.environment(env),
                cwd=self.logs.parent,
                start_new_session=True,
                umask=0o077,
            )

    def make_log(self, name: str) -> None:
        """Make the log of a server that opens it itself, in a folder where it could not."""
        path = self.logs / f"{name}.log"
        path.touch(mode=0o600)
        self.identity.own(path)

    def adopt(self, name: str, pid: int, argv: Sequence[str]) -> Record:
        """Record a process that is already running.

        Raises:
            ClusterError: it is not running; ends with its last log lines.
        """
        started = start_time(pid)
        if started is None:
            raise ClusterError(f"{name} ended right after its start: {self.last_words(name)}")
        record = Record(name, pid, started, tuple(argv))
        self._write(record)
        return record

    def _write(self, record: Record) -> None:
        write_whole(self.folder / f"{record.name}.json", json.dumps(asdict(record)) + "\n")

    def records(self) -> dict[str, Record]:
        """Every recorded process, dead ones too."""
        found = {}
        for path in self.folder.glob("*.json"):
            with suppress(ValueError, TypeError, OSError):
                data = json.loads(path.read_text(encoding="utf-8"))
                record = Record(**{**data, "argv": tuple(data["argv"])})
                found[record.name] = record
        return found

    def pid(self, name: str) -> int | None:
        """Return the pid of a recorded process that is alive, else None."""
        _reap()
        try:
            data = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        pid = int(data["pid"])
        return pid if start_time(pid) == data["started"] else None

    def retire(self, names: Iterable[str]) -> None:
        """Record that processes are not running any more."""
        known = self.records()
        for record in (known[name] for name in names if name in known):
            self._write(replace(record, started=0))  # at which no process did

    def forget(self, name: str) -> None:
        """Remove a record."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def last_words(self, name: str, lines: int = 3) -> str:
        """Return the end of a process's log, one line."""
        try:
            text = (self.logs / f"{name}.log").read_text(errors="replace", encoding="utf-8")
        except OSError:
            return "no log"
        words = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(words[-lines:]) or "its log is empty"

    @property
    def home(self) -> Path:
        """The lab's state folder."""
        return self.folder.parent


def postgres_pids(data: Path) -> list[int]:
    """Return the live processes of the PostgreSQL in a data directory, the postmaster first."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        postmaster = psutil.Process(pid)
        # pids are reused: only the postgres of this very folder is meant. Its command line can be
        # read by root in a container, too; where it stands cannot
        if postmaster.name() != "postgres" or str(data) not in postmaster.cmdline():
            return []
    except (OSError, ValueError, IndexError, psutil.Error):
        return []
    return tree(pid)


def tree(pid: int) -> list[int]:
    """Return a process and its children, the parent first; empty when it is gone."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(pids: Iterable[int], timeout_s: float = 5.0) -> None:
    """Send SIGSTOP to processes and wait until none runs.

    A process takes the signal on its next way to user space. On a busy machine that is later than
    `kill` returns.

    Raises:
        NotReady: one still runs (uninterruptible sleep).
    """
    pids = list(pids)
    send(pids, signal.SIGSTOP)
    wait_until(
        lambda: all(stopped(pid) for pid in alive(pids)),
        what=f"standstill of processes {pids}",
        timeout_s=timeout_s,
        poll_s=0.01,
    )


def kill_and_wait(pids: Iterable[int], timeout_s: float = 10.0) -> None:
    """SIGKILL processes and wait until they are gone.

    Raises:
        NotReady: one is still there (uninterruptible sleep).
    """
    pids = list(pids)
    send(pids, signal.SIGKILL)
    wait_until(
        lambda: not alive(pids),
        what=f"end of processes {pids}",
        timeout_s=timeout_s,
        poll_s=0.02,
    )


def alive(pids: Iterable[int]) -> list[int]:
    """Those that live; zombies do not."""
    _reap()
    return [pid for pid in pids if start_time(pid) is not None]


def stopped(pid: int) -> bool:
    """Tell whether a process is frozen by SIGSTOP."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _reap() -> None:
    _OURS[:] = [process for process in _OURS if process.poll() is None]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP while cleaning up; they are delivered at the end.

    Works in any thread: signal masks belong to threads, and the main thread is the one that
    Python's handlers run in.
    """
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
