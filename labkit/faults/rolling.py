"""Maintenance of a whole cluster: every node of some regions is restarted in turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from labkit.cluster.base import CanKill, CanStop, Cluster
from labkit.cluster.rolling import NodeRestart, rolling_restart
from labkit.faults.base import Fault, Probe, await_service
from labkit.topology import Node, Region

NODE_S = 120.0
"""A node may take so long to shut down in order and to be in service again."""


@dataclass(frozen=True)
class RollingRestart(Fault):
    """A restart of each node in turn, the leader last, never two at a time.

    Unlike other faults, a rolling restart is over when its injection returns.

    Attributes:
        target: the region whose nodes are restarted.
        also: further regions.
        restarts: what the injection did, node by node.
    """

    name: ClassVar[str] = "rolling restart"
    needs: ClassVar[tuple[type, ...]] = (CanStop, CanKill)
    deed: ClassVar[str] = "stop its nodes and start them again"

    target: Region
    also: tuple[Region, ...] = ()
    restarts: list[NodeRestart] = field(default_factory=list, init=False, compare=False)
    _pids: dict[str, int | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def target_name(self) -> str:
        """Name the regions: `us-west-2, us-east-1`."""
        return ", ".join(region.name for region in (self.target, *self.also))

    @property
    def regions(self) -> tuple[str, ...]:
        """Those whose nodes are restarted."""
        return tuple(region.name for region in (self.target, *self.also))

    @property
    def injection_s(self) -> float:
        """Allow `NODE_S` for each node."""
        return NODE_S * sum(region.nodes for region in (self.target, *self.also))

    def nodes(self, cluster: Cluster) -> tuple[Node, ...]:
        """List the nodes that are restarted.

        Raises:
            UnknownTarget: no such region.
        """
        regions: Iterable[Region] = (self.target, *self.also)
        return tuple(node for region in regions for node in cluster.topology.nodes_of(region.name))

    def inject(self, cluster: Cluster) -> None:
        """Restart every node, and return when the cluster is in service.

        Raises:
            NotReady: a node, or the cluster, did not come back; no further node is restarted.
        """
        nodes = self.nodes(cluster)
        self._pids.clear()
        self._pids.update({node.name: node.pid for node in cluster.status().nodes})
        self.restarts.clear()
        self.restarts.extend(rolling_restart(cluster, nodes))

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every node was restarted, by its process id where that is known."""
        status, nodes = cluster.status(), self.nodes(cluster)
        came_back = {restart.node.name for restart in self.restarts}

        def same(node: Node) -> bool:
            pid = status.node(node.name).pid
            return node.name not in came_back or (
                pid is not None and pid == self._pids.get(node.name)
            )

        spared = [node.name for node in nodes if same(node)]
        if spared:
            return Probe(False, f"{len(spared)} of {len(nodes)} nodes not restarted: {spared[0]}")
        return Probe(True, f"all {len(nodes)} nodes restarted, one after the other")

    def mend(self, cluster: CanKill) -> None:
        """Start the nodes that a failed restart left down."""
        for region in (self.target, *self.also):
            cluster.restart(region)

    def await_healed(self, cluster: Cluster) -> None:
        """Wait until every region is in service.

        Raises:
            NotReady: one of them is not in time.
        """
        for region in (self.target, *self.also):
            await_service(cluster, region)
