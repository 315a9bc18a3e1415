"""Growth under load: a node is added to a region, and removed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from labkit.cluster.base import CanScale, Cluster
from labkit.faults.base import Probe
from labkit.operations.base import Operation
from labkit.topology import Node, Region


@dataclass(frozen=True)
class AddNode(Operation):
    """An operation that adds a node to a region; healing removes it again."""

    name: ClassVar[str] = "add node"
    needs: ClassVar[tuple[type, ...]] = (CanScale,)
    deed: ClassVar[str] = "add nodes"

    target: Region

    @property
    def injection_s(self) -> float:
        """Allow for a new node, which copies all data first."""
        return 180.0

    def inject(self, cluster: CanScale) -> AddedNode:
        """Add the node, and return when it is in service behind its region's balancer.

        Raises:
            TopologyError: the region is full.
            NotReady: the node was not in service in time; it is removed again.
        """
        return AddedNode(self.target, cluster.add_node(self.target.name))


@dataclass(frozen=True)
class AddedNode(AddNode):
    """The result of `AddNode`.

    Attributes:
        node: the node that was added.
    """

    node: Node

    def probe(self, cluster: Cluster) -> Probe:
        """See whether the node is in service."""
        status = next((n for n in cluster.status().nodes if n.name == self.node.name), None)
        if status is None or not status.healthy:
            return Probe(False, f"{self.node} {status.detail if status else 'is not there'}")
        return Probe(True, f"{status.name} in service as {status.role}")

    def mend(self, cluster: Any) -> None:
        """Remove the node."""
        if self.node in cluster.topology.nodes:
            cluster.remove_node(self.node)
