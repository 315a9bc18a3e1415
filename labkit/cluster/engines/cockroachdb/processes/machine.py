"""Processes of this machine, as what runs a CockroachDB lab."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import labkit.clock
from labkit.cluster import strays
from labkit.cluster.engines.cockroachdb import haproxy, program
from labkit.cluster.engines.cockroachdb.layout import WAN, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.limits import Limits, balancer_connections
from labkit.cluster.machines import programs, reach
from labkit.cluster.ports import HOST
from labkit.cluster.processes import (
    ProcessTable,
    alive,
    freeze,
    kill_and_wait,
    send,
    stopped,
    tree,
    wan_command,
)
from labkit.cluster.settings import LabSettings
from labkit.cluster.status import State
from labkit.errors import ClusterError, MissingBinary, NotReady
from labkit.topology import Node


def find_cockroach() -> Path:
    """Return the `cockroach` program on PATH.

    Raises:
        MissingBinary: there is none.
    """
    found = shutil.which("cockroach")
    if found is None:
        raise MissingBinary(
            "no cockroach program on PATH: https://www.cockroachlabs.com/docs/releases/ has it, "
            "and `labkit up --backend cockroachdb` runs it in containers"
        )
    return Path(found)


def build_tag(path: Path) -> str:
    """Return what `cockroach version` calls itself, such as v25.4.17."""
    done = subprocess.run(
        [path, "version"], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    found = re.search(r"^Build Tag:\s*(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else "unknown"


@dataclass(frozen=True)
class Processes:
    """A `Machine` of processes, each with a record in the state folder."""

    settings: LabSettings
    layout: ProcessLayout
    table: ProcessTable

    # looking

    def states(self) -> Mapping[str, State]:
        """Of what was started and not taken down."""
        found = {name: self.table.pid(name) for name in self.table.records()}
        return {name: _state(pid) for name, pid in found.items()}

    def pids(self) -> Mapping[str, int | None]:
        """Return the process ids of what runs."""
        return {name: self.table.pid(name) for name in self.table.records()}

    def _trees(self, services: Sequence[str]) -> list[int]:
        pids = [pid for name in services if (pid := self.table.pid(name)) is not None]
        return [one for pid in pids for one in tree(pid)]

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
        """All that a service ever wrote."""
        try:
            return (self.table.logs / f"{service}.log").read_text(
                errors="replace", encoding="utf-8"
            )
        except OSError:
            return ""

    # doing

    def start(self, services: Sequence[str]) -> None:
        """Start those that do not run."""
        for name in services:
            if self.table.pid(name) is None:
                self.table.spawn(name, self._command(name), becomes=name == WAN)

    def _command(self, service: str) -> list[str | Path]:
        layout = self.layout
        if service == WAN:
            return [*wan_command(layout.conf / "wan.json", self.table.identity)]
        for region in layout.topology.region_names:
            if service == balancer_service(region):
                # more than the limit of open files allows, and it would not start
                allowed = Limits.here(self.table.identity.uid).open_files
                count = balancer_connections(haproxy.CONNECTIONS, layout.topology, allowed)
                file = layout.conf / f"{service}.cfg"
                return [self._placed(programs.haproxy()).path, "-db", "-n", str(count), "-f", file]
        node = next(node for node in layout.topology.nodes if node_service(node) == service)
        sql = f"{HOST}:{layout.sql(node)}"
        arguments = program.start(
            node,
            advertise=sql,
            elsewhere=layout.elsewhere(node),
            join=layout.join(node.region),
            store=str(layout.store(node)),
            certs=layout.certs,
            listen=sql,
            http=f"{HOST}:{layout.console(node)}",
        )
        return [self.program(), *arguments]

    def program(self) -> Path:
        """Return the `cockroach` program, where the lab's servers may execute it.

        Raises:
            MissingBinary: there is none.
        """
        return self._placed(programs.Program("cockroach", find_cockroach(), ())).path

    def _placed(self, program: programs.Program) -> programs.Program:
        return reach.placed(program, self.layout.place, self.table.identity)

    def kill(self, services: Sequence[str]) -> None:
        """SIGKILL, again until none is left: a parent that dies may still start a child."""
        while pids := self._trees(services):
            kill_and_wait(pids)

    def stop(self, services: Sequence[str], timeout_s: int) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`. Returns when they have ended."""
        self.resume(services)
        pids = self._trees(services)
        send([pid for name in services if (pid := self.table.pid(name))], signal.SIGTERM)
        with suppress(NotReady):
            self.wait_until(lambda: not alive(pids), "end", timeout_s)
        self.kill(services)

    def pause(self, services: Sequence[str]) -> None:
        """Freeze those that run."""
        freeze(self._trees(services))

    def resume(self, services: Sequence[str]) -> None:
        """Thaw those that are frozen."""
        send(self._trees(services), signal.SIGCONT)

    def cockroach(self, _node: Node, arguments: Sequence[str], timeout_s: float) -> str:
        """Run the `cockroach` program; what it printed.

        Raises:
            ClusterError: it failed; says why.
            NotReady: it took longer than `timeout_s`.
        """
        command = [*self.table.identity.prefix, str(self.program()), *arguments]
        what = f"`cockroach {' '.join(arguments)}`"
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                env=self.table.environment(),
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise NotReady(f"{what} did not end in {timeout_s:g} s") from None
        if done.returncode != 0:
            said = program.complaint(done.stderr or done.stdout)
            raise ClusterError(f"{what} failed: {said}")
        return done.stdout

    def discard(self, node: Node) -> None:
        """Remove a node's record and data. Idempotent."""
        self.table.forget(node_service(node))
        shutil.rmtree(self.layout.store(node), ignore_errors=True)

    def kill_strays(self) -> None:
        """End what belongs to the lab and has no record: what a command that was killed left."""
        while pids := strays.of_table(self.table):
            kill_and_wait(pids)

    def kill_all_but(self, kept: set[str]) -> None:
        """End everything of the lab except some services, and forget what has ended."""
        self.kill([name for name in self.table.records() if name not in kept])
        for name in self.table.records():
            if name not in kept:
                self.table.forget(name)
        if not kept:
            self.kill_strays()


def _state(pid: int | None) -> State:
    if pid is None:
        return State.DOWN
    return State.PAUSED if stopped(pid) else State.RUNNING
