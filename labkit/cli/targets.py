"""The lab, regions and nodes that a command line names."""

from __future__ import annotations

import labkit.cluster
from labkit.cluster.base import Cluster, resolve
from labkit.cluster.status import ClusterStatus, State
from labkit.errors import BadInput, NotReady, NotRunning
from labkit.topology import Node, Region, Target


def running_lab(*, to_change: bool = False) -> Cluster:
    """Find the lab, and make sure that a part of it runs.

    Args:
        to_change: whether the command changes the lab, which no run may be measuring then.

    Raises:
        NotRunning: there is no lab, or it is stopped.
        LabBusy: a run measures the lab, and the command would change it.
    """
    cluster = labkit.cluster.attach_to_change() if to_change else labkit.cluster.attach()
    if all(part.state is State.DOWN for part in cluster.status().parts):
        raise NotRunning("the lab is stopped: `labkit up` starts it")
    return cluster


def region_named(cluster: Cluster, word: str) -> str:
    """Find a region by its name, or `leader-region`.

    Raises:
        UnknownTarget: nothing has that name; the message lists the names there are.
        NotReady: `leader-region` while there is no primary.
    """
    if word == "leader-region":
        return str(target_named(cluster, word))
    return cluster.topology.region(word).name


def node_named(cluster: Cluster, word: str) -> Node:
    """Find a node by its name, or `primary`.

    Raises:
        UnknownTarget: nothing has that name; the message lists the names there are.
        NotReady: `primary` while there is no primary.
    """
    (node, *others) = nodes_named(cluster, word)
    if others:
        raise BadInput(f"{word!r} is a region: name one node, such as {node}")
    return node


def nodes_named(cluster: Cluster, word: str) -> list[Node]:
    """Find nodes by the name of one, `primary`, or the name of a region.

    Raises:
        UnknownTarget: nothing has that name; the message lists the names there are.
        BadInput: it is a load balancer.
        NotReady: `primary` or `leader-region` while there is no primary.
    """
    if word not in ("primary", "leader-region", *cluster.topology.region_names):
        return [cluster.topology.node(word)]
    target = target_named(cluster, word)
    if isinstance(target, Region):
        return list(cluster.topology.nodes_of(target.name))
    assert isinstance(target, Node)
    return [target]


def target_named(cluster: Cluster, word: str) -> Target:
    """Resolve a target; if there is no primary, say what prevents an election.

    Raises:
        UnknownTarget: it names nothing here.
        NotReady: `primary` or `leader-region` while there is no primary; the message says why.
    """
    try:
        return resolve(cluster, word)
    except NotReady as error:
        raise NotReady(no_primary(cluster.status(), error)) from error


def no_primary(status: ClusterStatus, error: NotReady) -> str:
    """Say why there is no primary, as far as the status shows, and what to do."""
    broken = [part.name for part in status.parts if part.state is not State.RUNNING]
    cut = [f"{link.source}>{link.target}" for link in status.links if link.cut]
    held_up = []
    if broken:
        held_up.append(f"{', '.join(broken)} {'does' if len(broken) == 1 else 'do'} not run")
    if cut:
        held_up.append(f"{len(cut)} of {len(status.links)} links are cut")
    if not held_up:
        return str(error)
    return (
        f"no primary right now ({'; '.join(held_up)}): a failover takes a few seconds, and when "
        "none comes `labkit heal` undoes what is in its way"
    )
