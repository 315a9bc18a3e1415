"""A hang: the target is alive and keeps its connections, but answers nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.cluster.base import CanPause, Cluster
from labkit.cluster.status import State
from labkit.faults.base import Fault, Probe, await_service, probe_state


@dataclass(frozen=True)
class Pause(Fault):
    """A fault that sends SIGSTOP to a node, a region or a balancer; healing sends SIGCONT."""

    name: ClassVar[str] = "pause"
    needs_not: ClassVar[frozenset[State]] = frozenset({State.DOWN})
    """A process that is dead cannot be frozen."""

    def available(self, cluster: Cluster) -> str | None:
        """Require `CanPause`."""
        if isinstance(cluster, CanPause):
            return None
        return f"the {cluster.backend} backend cannot pause its parts"

    def inject(self, cluster: Cluster) -> None:
        """Freeze every process, and return when all are frozen."""
        self.require_available(cluster)
        assert isinstance(cluster, CanPause)
        cluster.pause(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every part is frozen and does not answer."""
        return probe_state(cluster, self.target, State.PAUSED)

    def heal(self, cluster: Cluster) -> None:
        """Let the target run, and wait until it is in service. A deposed primary rewinds first."""
        if isinstance(cluster, CanPause):
            cluster.resume(self.target)
            await_service(cluster, self.target)
