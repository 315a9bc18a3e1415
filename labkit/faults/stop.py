"""Maintenance: the target hands its role over and shuts down in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.cluster.base import CanKill, CanStop, Cluster
from labkit.cluster.status import State
from labkit.faults.base import Fault, Probe, await_service, probe_state


@dataclass(frozen=True)
class Stop(Fault):
    """A fault that shuts a node, a region or a balancer down in order; healing starts it again."""

    name: ClassVar[str] = "stop"
    needs_not: ClassVar[frozenset[State]] = frozenset({State.PAUSED})
    """A process that is frozen cannot shut itself down."""

    def available(self, cluster: Cluster) -> str | None:
        """Require `CanStop`, and `CanKill` for the restart."""
        if isinstance(cluster, CanStop) and isinstance(cluster, CanKill):
            return None
        return f"the {cluster.backend} backend cannot stop its parts and start them again"

    def inject(self, cluster: Cluster) -> None:
        """Shut every process down, a primary after its handover, and return when all have ended."""
        self.require_available(cluster)
        assert isinstance(cluster, CanStop)
        cluster.shut_down(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every part is down."""
        return probe_state(cluster, self.target, State.DOWN)

    def heal(self, cluster: Cluster) -> None:
        """Start the parts of the target that are down, and wait until it is in service."""
        if isinstance(cluster, CanKill):
            cluster.restart(self.target)
            await_service(cluster, self.target)
