"""What runs the services of a CockroachDB lab: containers, or processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from labkit.cluster.status import State
from labkit.topology import Node


class Machine(Protocol):
    """Services by name (`labkit.cluster.engines.cockroachdb.layout`), and what can be done to them.

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

    def stop(self, services: Sequence[str], timeout_s: int) -> None:
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
        """Return the end of a service's log, one line."""

    def log(self, service: str, since_wall_s: float) -> str:
        """Return what a service wrote since a wall-clock time, or more; empty when it is not there.

        Raises:
            ClusterError: it cannot be had.
        """

    def cockroach(self, node: Node, arguments: Sequence[str], timeout_s: float) -> str:
        """Run the `cockroach` program where a node runs; what it printed.

        Raises:
            ClusterError: it failed; says why.
            NotReady: it took longer than `timeout_s`.
        """

    def discard(self, node: Node) -> None:
        """Remove what a node that has ended leaves: its container, its data. Idempotent."""
