"""Bringing a lab up as people mean it: the cluster in service, the trading application in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from labkit.cluster import attach, create, home
from labkit.cluster.base import Cluster, OnStage, quiet
from labkit.cluster.status import State
from labkit.cluster.strays import end_removed_lab
from labkit.errors import NotRunning
from labkit.topology import SurvivalGoal
from labkit.trading import schema


def bring_up(cluster: Cluster, on_stage: OnStage = quiet) -> None:
    """Start what does not run, wait until it is in service, and load the trading schema.

    Idempotent: prices, balances and orders that are there stay.

    Raises:
        ClusterError: it cannot be started.
        NotReady: it was not in service in time.
    """
    cluster.start(on_stage)
    dsn = cluster.dsn(cluster.leader().region)
    if not schema.loaded(dsn):  # loading locks tables that clients of before may be at work on
        on_stage("trading schema")
        schema.load(dsn, cluster.topology.region_names)


def connect(
    backend: str | None = None, *, as_it_is: bool = False, on_stage: OnStage = print
) -> Cluster:
    """Attach to the lab that is there, or make one; it is in service on return.

    Args:
        backend: "embedded", "cockroachdb" or "cockroach-binary"; None takes the lab that is there
            whatever its backend.
        as_it_is: take a lab of which a node runs as it is: what is broken was broken on purpose.
        on_stage: called with a line while something is started.

    Raises:
        BadInput: no such backend.
        ClusterError: it cannot be started.
    """
    try:
        cluster = attach() if backend is None else create(backend)
    except NotRunning:
        end_removed_lab(home(), on_stage)
        cluster = create()
    status = cluster.status()
    left_broken = as_it_is and any(node.state is not State.DOWN for node in status.nodes)
    if not status.healthy and left_broken:
        return cluster
    if not status.healthy or not schema.loaded(cluster.dsn(cluster.leader().region)):
        bring_up(cluster, on_stage)
    return cluster


@contextmanager
def surviving(cluster: Cluster, goal: SurvivalGoal) -> Iterator[None]:
    """Let commits obey a survival goal for the length of a `with` block.

    Raises:
        TopologyError: this shape, or this engine, cannot give it; nothing was changed.
        NotReady: it did not take effect in time.
    """
    before = cluster.survival_goal()
    try:
        cluster.set_survival_goal(goal)
        yield
    finally:
        cluster.set_survival_goal(before)
