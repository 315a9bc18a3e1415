"""The protocol of a machine, which runs the services of a lab: containers, or processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from subprocess import CompletedProcess
from typing import Protocol

from labkit.cluster.status import State

LAB_LABEL = "labkit.lab"
"""The label by which containers are known to belong to one lab."""


class Machine(Protocol):
    """Services by the names that a lab's layout gives them, and what can be done to them.

    What is done to several services is done to all of them at once.
    """

    def states(self) -> Mapping[str, State]:
        """Of what there is; a service that was never made, or was removed, is absent."""

    def pids(self) -> Mapping[str, int | None]:
        """Return the process ids of what runs, as this machine, or the engine's, counts them."""

    def start(self, services: Sequence[str]) -> None:
        """Start those that do not run; one that was removed is made again on its old data.

        Raises:
            ClusterError: one cannot be started.
        """

    def kill(self, services: Sequence[str]) -> None:
        """SIGKILL."""

    def stop(self, services: Sequence[str], timeout_s: float) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`. Returns when they have ended."""

    def pause(self, services: Sequence[str]) -> None:
        """Freeze those that run."""

    def resume(self, services: Sequence[str]) -> None:
        """Thaw those that are frozen."""

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for something that a change of a service's state brings.

        Raises:
            NotReady: it did not come in time.
        """

    def last_words(self, service: str) -> str:
        """Return the last lines of a service's log, joined into one."""

    def log(self, service: str, since_wall_s: float) -> str:
        """Return what a service wrote since a wall-clock time, or more; empty when it is not there.

        Raises:
            ClusterError: it cannot be had.
        """

    def run(self, service: str, command: Sequence[str], timeout_s: float) -> CompletedProcess[str]:
        """Run a short program where a service runs, and return how it ended.

        Raises:
            NotReady: it took longer than `timeout_s`.
        """

    def discard(self, service: str) -> None:
        """Remove what a service that has ended leaves: its container, its data. Idempotent."""


def running(machine: Machine) -> set[str]:
    """Return the services that run or are frozen."""
    return {name for name, state in machine.states().items() if state is not State.DOWN}
