"""Growth and shrinkage while clients go on: a region gets one more node, and loses it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from labkit.cluster.base import CanScale, Cluster
from labkit.faults.base import Fault, Probe
from labkit.topology import Node, Region


@dataclass(frozen=True)
class AddNode(Fault):
    """Add a node to a region; healing removes it again.

    Attributes:
        added: the node, while it is there.
    """

    name: ClassVar[str] = "add node"

    target: Region
    added: list[Node] = field(default_factory=list, init=False, compare=False)

    def available(self, cluster: Cluster) -> str | None:
        """Needs `CanScale`."""
        if isinstance(cluster, CanScale):
            return None
        return f"the {cluster.backend} backend cannot add nodes"

    @property
    def injection_s(self) -> float:
        """A fresh node copies all data first."""
        return 180.0

    def inject(self, cluster: Cluster) -> None:
        """Returns when the node is in service behind its region's balancer.

        Raises:
            TopologyError: the region is full.
            NotReady: the node was not in service in time, and is removed again.
        """
        self.require_available(cluster)
        assert isinstance(cluster, CanScale)
        self.added.append(cluster.add_node(self.target.name))

    def probe(self, cluster: Cluster) -> Probe:
        """It bit when the node is there and in service."""
        if not self.added:
            return Probe(False, "no node was added")
        names = {node.name: node for node in cluster.status().nodes}
        status = names.get(self.added[-1].name)
        if status is None or not status.healthy:
            return Probe(False, f"{self.added[-1]} {status.detail if status else 'is not there'}")
        return Probe(True, f"{status.name} in service as {status.role}")

    def heal(self, cluster: Cluster) -> None:
        """Remove the node. Idempotent."""
        while self.added and isinstance(cluster, CanScale):
            cluster.remove_node(self.added[-1])
            self.added.pop()
