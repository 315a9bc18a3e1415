"""The status of an embedded lab, from what its parts answer at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from labkit.cluster.engines.postgresql import patroni
from labkit.cluster.engines.postgresql.etcd import EtcdClient
from labkit.cluster.engines.postgresql.layout import balancer_name, etcd_name, member_name
from labkit.cluster.engines.postgresql.starting import Starter
from labkit.cluster.layout import WAN
from labkit.cluster.processes import ProcessTable, stopped
from labkit.cluster.status import ClusterStatus, NodeStatus, Role, ServiceStatus, State
from labkit.cluster.wan_status import links_of, wan_status
from labkit.topology import Node


def cluster_status(starter: Starter) -> ClusterStatus:
    """Ask every part, at the same time."""
    regions = starter.layout.topology.region_names
    state, pid = _process(starter.table, WAN)
    with ThreadPoolExecutor(2 * len(regions) + 2) as pool:
        members = pool.submit(starter.members)
        links = pool.submit(links_of, starter.wan, state)
        balancers = list(pool.map(lambda region: _balancer(starter, region), regions))
        coordinators = list(pool.map(lambda region: _etcd(starter, region), regions))
    found = links.result()
    coordinators += wan_status(starter.wan, state, pid, found)
    return ClusterStatus(
        backend="embedded",
        survival_goal=starter.settings.survive,
        wan=starter.wan is not None,
        nodes=_nodes(starter, members.result()),
        balancers=tuple(balancers),
        coordinators=tuple(coordinators),
        links=found or (),
    )


def _process(table: ProcessTable, name: str) -> tuple[State, int | None]:
    pid = table.pid(name)
    if pid is None:
        return State.DOWN, None
    return (State.PAUSED if stopped(pid) else State.RUNNING), pid


def _nodes(
    starter: Starter, members: Mapping[Node, patroni.Member | None]
) -> tuple[NodeStatus, ...]:
    primaries = [member for member in members.values() if member and member.primary]
    primary = max(primaries, key=lambda member: member.timeline, default=None)
    return tuple(_node(starter, node, member, primary) for node, member in members.items())


def _node(
    starter: Starter, node: Node, member: patroni.Member | None, primary: patroni.Member | None
) -> NodeStatus:
    state, pid = _process(starter.table, member_name(node))
    role, lag, detail = Role.UNKNOWN, None, ""
    if member is None:
        detail = "" if state is State.DOWN else "its Patroni does not answer"
    elif member.primary:
        role = Role.PRIMARY
        detail = "" if member is primary else "another node is primary of a later timeline"
    else:
        sync = primary.standbys.get(member_name(node)) if primary else None
        role = Role.SYNC if sync in ("quorum", "sync") else Role.REPLICA
        lag = max(0, primary.position - member.position) if primary else None
        if member.state not in ("running", "streaming"):
            role, detail = Role.UNKNOWN, f"PostgreSQL is {member.state}"
        elif sync is None:
            detail = "it does not stream from the primary"
    return NodeStatus(
        name=node.name,
        region=node.region,
        role=role,
        state=state,
        healthy=state is State.RUNNING and member is not None and not detail,
        pid=pid,
        lag_bytes=lag,
        detail=detail or ("" if state is State.RUNNING else state.value),
    )


def _balancer(starter: Starter, region: str) -> ServiceStatus:
    layout = starter.layout
    state, pid = _process(starter.table, balancer_name(region))
    up = None
    if state is State.RUNNING:
        up = patroni.servers_up(layout.balancer_stats(region), starter.secrets.balancer_stats)
    detail = "" if state is State.RUNNING else state.value
    if up is not None and not up.get("read_write"):
        detail = "it sees no primary"
    elif up is None and not detail:
        detail = "it does not answer"
    return ServiceStatus(
        name=f"lb:{region}",
        region=region,
        state=state,
        healthy=not detail,
        pid=pid,
        ports={"read_write": layout.read_write(region), "read_only": layout.read_only(region)},
        detail=detail,
    )


def _etcd(starter: Starter, region: str) -> ServiceStatus:
    member = EtcdClient.of(starter.layout, region)
    state, pid = _process(starter.table, etcd_name(region))
    healthy = state is State.RUNNING and member.healthy()
    down = "" if state is State.RUNNING else state.value
    return ServiceStatus(
        name=f"etcd:{region}",
        region=region,
        state=state,
        healthy=healthy,
        pid=pid,
        ports={"client": member.port},
        detail="" if healthy else down or "it reaches no majority",
    )
