"""Maintenance as operators do it: every node is restarted in turn, and clients go on.

    for step in rolling_restart(cluster):
        print(step.node, step.stop_s, step.start_s)

Replicas first, the leader last, after another node leads in its place: so leadership moves once.
Where every part of the data has a leaseholder of its own, a node hands its leases over while it is
shut down (CockroachDB: a drain; node-shutdown.md, v25.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from labkit.cluster.base import CanHandOver, CanKill, CanStop, Cluster, OnStage, quiet
from labkit.cluster.status import settled
from labkit.errors import FaultUnavailable, NotReady
from labkit.topology import Node

HEALTH_TIMEOUT_S = 180.0
"""How long the cluster may take until all of it is in service, before and after each node."""


@dataclass(frozen=True, slots=True)
class NodeRestart:
    """One node that was restarted.

    Attributes:
        stop_s: seconds for handing over, draining and ending.
        start_s: seconds from its start until the whole cluster was in service.
    """

    node: Node
    stop_s: float
    start_s: float


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
        done.append(NodeRestart(node, stopped_s - begun_s, monotonic() - stopped_s))
    return tuple(done)


def _await_health(cluster: Cluster) -> None:
    status = settled(cluster.status, timeout_s=HEALTH_TIMEOUT_S)
    if not status.healthy:
        raise NotReady(
            f"the cluster is not in service ({'; '.join(status.missing)}): "
            "no further node is restarted; `labkit heal` mends it"
        )
