"""A power cut: every process of the target dies at once, without a shutdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.cluster.base import CanKill, Cluster
from labkit.cluster.status import State
from labkit.faults.base import Fault, Probe, await_service, probe_state


@dataclass(frozen=True)
class Kill(Fault):
    """A fault that sends SIGKILL to a node, a region or a balancer; healing starts it again."""

    name: ClassVar[str] = "kill"

    def available(self, cluster: Cluster) -> str | None:
        """Require `CanKill`."""
        if isinstance(cluster, CanKill):
            return None
        return f"the {cluster.backend} backend cannot kill its parts"

    def inject(self, cluster: Cluster) -> None:
        """Kill every process, and return when all are dead."""
        self.require_available(cluster)
        assert isinstance(cluster, CanKill)
        cluster.kill(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every part is down."""
        return probe_state(cluster, self.target, State.DOWN)

    def heal(self, cluster: Cluster) -> None:
        """Start the parts of the target that are down, and wait until it is in service."""
        if isinstance(cluster, CanKill):
            cluster.restart(self.target)
            await_service(cluster, self.target)
