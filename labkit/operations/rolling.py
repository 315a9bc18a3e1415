"""Maintenance: every node of some regions is restarted in turn, and clients go on.

    for step in rolling_restart(cluster):
        print(step.node, step.stop_s, step.start_s)

Replicas first, the leader last, after another node leads in its place: so leadership moves once.
Where every part of the data has a leaseholder of its own, a node hands its leases over while it is
shut down (CockroachDB: a drain; node-shutdown.md, v25.4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import ClassVar

from labkit.cluster.base import CanHandOver, CanKill, CanStop, Cluster, OnStage, quiet
from labkit.cluster.status import settled
from labkit.errors import FaultUnavailable, NotReady
from labkit.faults.base import Probe
from labkit.operations.base import Operation
from labkit.record import FaultWindow, NodeRestart
from labkit.topology import Node, Region, Topology

NODE_S = 120.0
"""A node may take so long to shut down in order and to be in service again."""
HEALTH_TIMEOUT_S = 180.0
"""How long the cluster may take until all of it is in service, before and after each node."""


def rolling_restart(
    cluster: Cluster, nodes: Sequence[Node] | None = None, on_stage: OnStage = quiet
) -> tuple[NodeRestart, ...]:
    """Restart nodes one after another; the next one only when all of the cluster is in service.

    A node that was stopped is started again also when its stop failed or was interrupted.

    Args:
        nodes: which, None for every node.
        on_stage: called with `restarting us-west-2/1` before each node.

    Returns:
        The nodes in the order in which they were restarted.

    Raises:
        FaultUnavailable: this backend cannot stop its nodes in order and start them again.
        UnknownTarget: a node that is not part of this cluster; nothing was changed.
        NotReady: the cluster is not in service, before or after a node; the rest is left alone.
    """
    if not (isinstance(cluster, CanStop) and isinstance(cluster, CanKill)):
        raise FaultUnavailable(
            f"the {cluster.backend} backend cannot stop its nodes and start them again"
        )
    topology = cluster.topology
    waiting = [topology.node(node.name) for node in (topology.nodes if nodes is None else nodes)]
    done: list[NodeRestart] = []
    _await_health(cluster)
    while waiting:
        leader = cluster.leader()
        node = next((node for node in waiting if node != leader), leader)
        waiting.remove(node)
        on_stage(f"restarting {node}")
        begun_s = monotonic()
        if node == leader and isinstance(cluster, CanHandOver):
            cluster.hand_over(node)
        try:
            cluster.shut_down(node)
            stopped_s = monotonic()
        finally:
            cluster.restart(node)
        _await_health(cluster)
        done.append(NodeRestart(node.name, stopped_s - begun_s, monotonic() - stopped_s))
    return tuple(done)


def _await_health(cluster: Cluster) -> None:
    status = settled(cluster.status, timeout_s=HEALTH_TIMEOUT_S)
    if not status.healthy:
        raise NotReady(
            f"the cluster is not in service ({'; '.join(status.missing)}): "
            "no further node is restarted; `labkit heal` mends it"
        )


@dataclass(frozen=True)
class RollingRestart(Operation):
    """An operation that restarts each node in turn, the leader last, never two at a time.

    Attributes:
        target: the region whose nodes are restarted.
        also: further regions.
    """

    name: ClassVar[str] = "rolling restart"
    needs: ClassVar[tuple[type, ...]] = (CanStop, CanKill)
    deed: ClassVar[str] = "stop its nodes and start them again"

    target: Region
    also: tuple[Region, ...] = ()

    @property
    def target_name(self) -> str:
        """Name the regions: `us-west-2, us-east-1`."""
        return ", ".join(self.regions)

    @property
    def regions(self) -> tuple[str, ...]:
        """Those whose nodes are restarted."""
        return tuple(region.name for region in (self.target, *self.also))

    @property
    def injection_s(self) -> float:
        """Allow `NODE_S` for each node."""
        return NODE_S * sum(region.nodes for region in (self.target, *self.also))

    def inject(self, cluster: Cluster) -> RestartedNodes:
        """Restart every node, and return when the cluster is in service.

        Raises:
            UnknownTarget: no such region.
            NotReady: a node, or the cluster, did not come back; no further node is restarted.
        """
        topology = cluster.topology
        nodes = [node for region in self.regions for node in topology.nodes_of(region)]
        pids = {node.name: node.pid for node in cluster.status().nodes}
        return RestartedNodes(self.target, self.also, rolling_restart(cluster, nodes), pids)

    def mend(self, cluster: CanKill) -> None:
        """Start the nodes that a failed restart left down, and wait until they are in service."""
        for region in (self.target, *self.also):
            cluster.restart(region)


@dataclass(frozen=True)
class RestartedNodes(RollingRestart):
    """The result of `RollingRestart`.

    Attributes:
        restarts: the nodes in the order in which they were restarted.
        pids: the process id that each node had before, where it is known.
    """

    restarts: tuple[NodeRestart, ...] = ()
    pids: Mapping[str, int | None] = field(default_factory=dict)

    def begun(self, topology: Topology, at_s: float) -> FaultWindow:
        """Record the restarts with the operation."""
        return replace(super().begun(topology, at_s), restarts=self.restarts)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every node was restarted, by its process id where that is known."""
        status, topology = cluster.status(), cluster.topology
        came_back = {restart.node for restart in self.restarts}

        def same(name: str) -> bool:
            pid = status.node(name).pid
            return name not in came_back or (pid is not None and pid == self.pids.get(name))

        names = [node.name for region in self.regions for node in topology.nodes_of(region)]
        spared = [name for name in names if same(name)]
        if spared:
            return Probe(False, f"{len(spared)} of {len(names)} nodes not restarted: {spared[0]}")
        return Probe(True, f"all {len(names)} nodes restarted, one after the other")
