"""Processes of this machine, as what runs a lab."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import labkit.clock
from labkit.cluster import strays
from labkit.cluster.identity import Identity
from labkit.cluster.limits import Limits, balancer_connections
from labkit.cluster.machines import programs, reach
from labkit.cluster.processes import (
    ProcessTable,
    alive,
    freeze,
    kill_and_wait,
    postgres_pids,
    send,
    stopped,
    tree,
)
from labkit.cluster.shared_memory import remove_ipc, remove_segments, segments
from labkit.cluster.status import State
from labkit.errors import NotReady
from labkit.topology import Topology


@dataclass(frozen=True)
class Command:
    """The command line, environment and user that a service is started with.

    Attributes:
        becomes: it changes to the servers' user itself (`Identity.module`).
    """

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    becomes: bool = False


def wan_command(plan: Path, user: Identity) -> Command:
    """Return the command of a WAN that serves a plan."""
    option = ["--run-as", user.name] if user.dropped else []
    return Command(user.module("labkit.wan", plan, *option), becomes=True)


def balancer_command(
    file: Path, connections: int, topology: Topology, place: Path, user: Identity
) -> Command:
    """Return the command of a HAProxy.

    Args:
        file: its configuration.
        connections: how many it may have; fewer where the limit of open files allows no more, as
            it would not start.
        place: the folder that holds all that servers read and write.
    """
    count = balancer_connections(connections, topology, Limits.here(user.uid).open_files)
    program = reach.placed(programs.haproxy(), place, user)
    return Command([program.path, "-db", "-n", str(count), "-f", file])


@dataclass(frozen=True)
class Processes:
    """A `Machine` of processes, each with a record in the state folder.

    Attributes:
        command: tells how a service is started.
        data: the folder that a service keeps its data in, for each that has one. The servers of a
            PostgreSQL in it belong to the service, and may outlive the process that is recorded.
    """

    table: ProcessTable
    command: Callable[[str], Command]
    data: Mapping[str, Path]

    # looking

    def states(self) -> Mapping[str, State]:
        """Of what was started and not taken down."""
        return {name: _state(pid) for name, pid in self.pids().items()}

    def pids(self) -> Mapping[str, int | None]:
        """Return the process ids of what was started; None for what has ended."""
        return {name: self.table.pid(name) for name in self.table.records()}

    def recorded(self, services: Iterable[str]) -> list[int]:
        """Return the pids that are recorded for services, of processes that still live."""
        return [pid for name in services if (pid := self.table.pid(name)) is not None]

    def processes(self, services: Iterable[str]) -> list[int]:
        """Return every live process of services: parents before their children."""
        found: list[int] = []
        for name in services:
            for pid in self.recorded([name]):
                found += tree(pid)
            if name in self.data:
                found += postgres_pids(self.data[name])
        return list(dict.fromkeys(found))

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for something that the end or the start of a process brings.

        Raises:
            NotReady: it did not come in time.
        """
        labkit.clock.wait_until(ready, what=what, timeout_s=timeout_s, poll_s=0.02)

    def last_words(self, service: str) -> str:
        """Return the end of a process's log, one line."""
        return self.table.last_words(service)

    def log(self, service: str, _since_wall_s: float) -> str:
        """Return all that a service ever wrote."""
        try:
            return (self.table.logs / f"{service}.log").read_text(
                errors="replace", encoding="utf-8"
            )
        except OSError:
            return ""

    # doing

    def start(self, services: Iterable[str]) -> None:
        """Start those that do not run."""
        for name in services:
            if self.table.pid(name) is None:
                how = self.command(name)
                self.table.spawn(name, how.argv, env=how.env, becomes=how.becomes)

    def kill(self, services: Sequence[str]) -> None:
        """SIGKILL, again until none is left: a parent that dies may still start a child."""
        while pids := self.processes(services):
            kill_and_wait(pids)

    def stop(self, services: Sequence[str], timeout_s: float) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`. Returns when they have ended."""
        self.resume(services)
        pids, asked = self.processes(services), self.recorded(services)
        # before they are asked to end: when this command is killed then, the next one must not
        # take for running what is about to end
        self.table.retire(services)
        send(asked, signal.SIGTERM)
        with suppress(NotReady):
            self.wait_until(lambda: not alive(pids), "end", timeout_s)
        kill_and_wait([one for pid in alive(pids) for one in tree(pid)])
        self.kill(services)

    def pause(self, services: Sequence[str]) -> None:
        """Freeze those that run.

        Raises:
            NotReady: a process does not stand still.
        """
        freeze(self.processes(services))

    def resume(self, services: Sequence[str]) -> None:
        """Thaw those that are frozen."""
        send(self.processes(services), signal.SIGCONT)

    def run(
        self, _service: str, command: Sequence[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program as the servers' user, and return how it ended.

        Raises:
            NotReady: it took longer than `timeout_s`.
        """
        try:
            return subprocess.run(
                [*self.table.identity.prefix, *command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                env=self.table.environment(),
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise NotReady(f"`{' '.join(command)}` did not end in {timeout_s:g} s") from None

    def discard(self, service: str) -> None:
        """Remove the record and the data of a service that has ended. Idempotent."""
        self.table.forget(service)
        shutil.rmtree(self.data[service], ignore_errors=True)

    def kill_all_but(self, kept: Iterable[str]) -> None:
        """Kill every process of the lab except those of some services, and forget what has ended.

        Processes without a record, which a command that was killed has left, are killed too.
        """
        kept = set(kept)
        left_behind: set[int] = set()

        def doomed() -> list[int]:
            found = {*self.recorded(self.table.records()), *strays.of_table(self.table)}
            for folder in self.data.values():
                found.update(postgres_pids(folder))
            # in this order: a server that is kept may have forked a child just now, and one that
            # was found must not be missing here
            return sorted(found - {*self.processes(kept)})

        # again until there are none: one that forks may have forked one more
        while pids := doomed():
            left_behind |= segments(pids)
            kill_and_wait(pids)
        user = self.table.identity.uid
        for name in self.table.records():
            if name not in kept:
                self.table.forget(name)
        for name, folder in self.data.items():
            if name not in kept:
                remove_ipc(folder, user)
        remove_segments(left_behind, {user})  # also those of a folder that was removed


def _state(pid: int | None) -> State:
    if pid is None:
        return State.DOWN
    return State.PAUSED if stopped(pid) else State.RUNNING
