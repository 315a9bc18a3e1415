"""Spawning, finding and ending the lab's processes.

There is no supervisor: servers are ordinary detached processes, and the state folder, one file a
process with pid, start time and argv, is the truth about them. A pid alone is never believed: the
start time must match, so that a reused pid is not taken for a server of ours.
"""

from __future__ import annotations

import ctypes
import grp
import json
import os
import pwd
import secrets
import signal
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from labkit import privileges
from labkit.clock import wait_until
from labkit.cluster.folder import write_whole
from labkit.environment import of_servers
from labkit.errors import ClusterError

LAB_VARIABLE = "LABKIT_LAB"
"""In the environment of every process of a lab: its id, by which strays are found."""
HOME_VARIABLE = "LABKIT_HOME"
"""In the environment of every process of a lab: its state folder, which may be gone."""

NOBODY = 65534
"""The user that has no files of its own, and that any number of services share."""
OWN_UIDS = range(60578, 61183)
"""Out of these root's labs take a user each. systemd has no use for them; its services may have
those from 61184 on while they run (its "Users, Groups, UIDs and GIDs"). useradd ends below, and of
Debian's packages none has one (base-passwd's README, "Reserved uids")."""
WAN_UID = 61183
"""The user of the WAN in its container. A program of this user outside it could read the WAN's
token in /proc/PID/environ, so it is none that anybody has."""


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


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a lab's servers run as: root's as another user, everybody else's as their owner.

    PostgreSQL refuses to run as root. The servers keep none of root's rights, so what they read
    and execute must lie where this user may go (`labkit.cluster.machines.reach`).

    Attributes:
        dropped: whether a process of this one has to become that user first.
    """

    uid: int
    gid: int
    dropped: bool = False

    @classmethod
    def current(cls) -> Identity:
        """Tell how a program that is no lab's runs: root's as nobody.

        Raises:
            ClusterError: root that may not change user.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        return cls.of_root(NOBODY, NOBODY)

    @classmethod
    def of_its_own(cls, taken: Iterable[int] = ()) -> Identity:
        """Choose a user and group for a lab of root's: one that has no name and no process.

        Args:
            taken: users that other labs have, of which nothing may run now.

        Raises:
            ClusterError: this root may not change user here, or other labs have them all.
        """
        used = {uid for process in psutil.process_iter(["uids"]) for uid in process.info["uids"]}
        used |= {*taken}
        used |= {entry.pw_uid for entry in pwd.getpwall()}
        used |= {entry.gr_gid for entry in grp.getgrall()}
        free = [uid for uid in OWN_UIDS if uid not in used]
        if not free:
            raise ClusterError(
                f"no user is left for root's lab of uid {OWN_UIDS[0]} to {OWN_UIDS[-1]}: take old "
                "labs away with `labkit down --purge`, or run labkit as an ordinary user"
            )
        number = secrets.choice(free)
        return cls.of_root(number, number)

    @classmethod
    def of_root(cls, uid: int, gid: int) -> Identity:
        """Tell how servers run that root starts as somebody else.

        Raises:
            ClusterError: this root may not do what that takes, as in a container without
                capabilities.
        """
        if problem := privileges.obstacle():
            raise ClusterError(problem)
        return cls(uid, gid, dropped=True)

    @property
    def name(self) -> str:
        """As `labkit.privileges` takes it."""
        return f"{self.uid}:{self.gid}"

    @property
    def exclusive(self) -> bool:
        """Tell whether every process of this user is the lab's."""
        return self.dropped and self.uid in OWN_UIDS

    @property
    def to_become(self) -> tuple[str, ...]:
        """`name` as the argument of a program; nothing where nobody changes."""
        return (self.name,) if self.dropped else ()

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return what stands before the command line of a program; nothing where nobody changes."""
        if not self.dropped:
            return ()
        return (sys.executable, "-I", "-S", privileges.__file__, self.name)

    def module(self, name: str, *arguments: str | Path) -> list[str]:
        """Return the command line of a module that calls `become_with_imports` itself.

        Nothing is imported from the working directory, which servers may write to.
        """
        return [sys.executable, "-P", "-m", name, *map(str, arguments)]

    def may(self, test: str, path: Path) -> bool:
        """Test the servers' user's right to a path: `-r`, `-w` or `-x` of test(1)."""
        return self.run("test", test, path).returncode == 0

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a short program as that user, to see what it can do."""
        return subprocess.run(
            [*self.prefix, *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=of_servers({}),
            cwd="/",
        )

    def own(self, path: Path) -> None:
        """Give a file or folder to the user that the servers run as; a link is not followed."""
        if self.dropped:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make_folder(self, path: Path, *, written: bool) -> None:
        """Make a folder that the servers write to, or only pass through and read files in.

        In a folder that belongs to root nobody can put a link where root will write.
        """
        path.mkdir(mode=0o700, exist_ok=True)
        if written:
            self.own(path)
        elif self.dropped:
            os.chown(path, 0, self.gid, follow_symlinks=False)
            path.chmod(0o710)


def wan_command(plan: Path, identity: Identity) -> list[str]:
    """Return the command line of a WAN process that serves a plan and changes its user itself."""
    option = ["--run-as", identity.name] if identity.dropped else []
    return identity.module("labkit.wan", plan, *option)


def _read_proc(path: Path) -> str:
    """Read a file of /proc. A process may have any bytes in its name, a file of it too."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def start_time(pid: int) -> float | None:
    """Tell when a live process started; None for a dead one or a zombie."""
    if Path("/proc/self/stat").exists():  # Linux
        try:
            # the command may hold spaces and parentheses: fields count from the last one
            fields = _read_proc(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
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
            raise ClusterError(f"{name} ended at once: {self.last_words(name)}")
        record = Record(name, pid, started, tuple(argv))
        write_whole(self.folder / f"{name}.json", json.dumps(asdict(record)) + "\n")
        return record

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
            for line in _read_proc(Path(f"/proc/{pid}/maps")).splitlines():
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


_IPC_RMID = 0


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
