"""Growth under load: a node is added to a region, and removed again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from labkit.cluster.base import CanScale, Cluster
from labkit.faults.base import Fault, Probe
from labkit.topology import Node, Region


@dataclass(frozen=True)
class AddNode(Fault):
    """A change that adds a node to a region; healing removes it again.

    Attributes:
        added: the node, until it is removed.
    """

    name: ClassVar[str] = "add node"
    needs: ClassVar[tuple[type, ...]] = (CanScale,)
    deed: ClassVar[str] = "add nodes"

    target: Region
    added: list[Node] = field(default_factory=list, init=False, compare=False)

    @property
    def injection_s(self) -> float:
        """Allow for a new node, which copies all data first."""
        return 180.0

    def inject(self, cluster: CanScale) -> None:
        """Add the node, and return when it is in service behind its region's balancer.

        Raises:
            TopologyError: the region is full.
            NotReady: the node was not in service in time; it is removed again.
        """
        self.added.append(cluster.add_node(self.target.name))

    def probe(self, cluster: Cluster) -> Probe:
        """See whether the node is in service."""
        if not self.added:
            return Probe(False, "no node was added")
        names = {node.name: node for node in cluster.status().nodes}
        status = names.get(self.added[-1].name)
        if status is None or not status.healthy:
            return Probe(False, f"{self.added[-1]} {status.detail if status else 'is not there'}")
        return Probe(True, f"{status.name} in service as {status.role}")

    def mend(self, cluster: CanScale) -> None:
        """Remove the node."""
        while self.added:
            cluster.remove_node(self.added[-1])
            self.added.pop()
