"""Maintenance: the target is shut down in order, as an operator would, and hands over first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.cluster.base import CanKill, CanStop, Cluster
from labkit.cluster.status import State
from labkit.faults.base import Fault, Probe, await_service, probe_state


@dataclass(frozen=True)
class Stop(Fault):
    """Shut a node, a region or a balancer down in order; healing starts it again."""

    name: ClassVar[str] = "stop"
    needs_not: ClassVar[frozenset[State]] = frozenset({State.PAUSED})
    """What is frozen cannot shut itself down."""

    def available(self, cluster: Cluster) -> str | None:
        """Needs `CanStop`, and `CanKill` for its restart."""
        if isinstance(cluster, CanStop) and isinstance(cluster, CanKill):
            return None
        return f"the {cluster.backend} backend cannot stop its parts and start them again"

    def inject(self, cluster: Cluster) -> None:
        """Returns when every process has ended, which includes the handover of a primary."""
        self.require_available(cluster)
        assert isinstance(cluster, CanStop)
        cluster.shut_down(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """It bit when every part is down."""
        return probe_state(cluster, self.target, State.DOWN)

    def heal(self, cluster: Cluster) -> None:
        """Start what is down of the target and wait until it is in service."""
        if isinstance(cluster, CanKill):
            cluster.restart(self.target)
            await_service(cluster, self.target)
