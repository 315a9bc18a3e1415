"""The status of a CockroachDB lab, from what its parts answer at one moment."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labkit.cluster.engines.cockroachdb import monitoring
from labkit.cluster.engines.cockroachdb.layout import Layout, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.monitoring import Ready
from labkit.cluster.engines.cockroachdb.view import View, Watch
from labkit.cluster.layout import WAN
from labkit.cluster.machines.base import Machine
from labkit.cluster.status import ClusterStatus, NodeStatus, Role, ServiceStatus, State
from labkit.cluster.wan_status import links_of, wan_status
from labkit.topology import Node
from labkit.wan.client import WanClient


@dataclass(frozen=True, slots=True)
class Seen:
    """Services, what their nodes say, and who leads.

    Attributes:
        states: by service; what was removed is absent.
        nodes: what each node says about itself; only running ones were asked.
        view: None when no node could be asked.
    """

    states: Mapping[str, State]
    nodes: Mapping[Node, Ready]
    view: View | None

    def state(self, service: str) -> State:
        """Of a service."""
        return self.states.get(service, State.DOWN)

    @property
    def ready(self) -> tuple[Node, ...]:
        """The nodes that take SQL clients."""
        return tuple(node for node, said in self.nodes.items() if said.ready)

    def leaders(self) -> dict[Node, int]:
        """Count the leases of each ready node; before there are tables, the first one has 0."""
        if self.view is None or not self.ready:
            return {}
        if not self.view.leases.held:
            return {self.ready[0]: 0}
        return {n: count for n, count in self.view.leases.held.items() if n in self.ready}

    def leader(self, region: str | None, home: str) -> Node | None:
        """Return the node with most leases of a region, else of the home region, else of all."""
        leaders = self.leaders()
        for place in (region or home, home, None):
            held = {n: count for n, count in leaders.items() if place in (None, n.region)}
            if held:
                return max(held, key=lambda node: held[node])
        return None


def look(machine: Machine, layout: Layout, watch: Watch, tls: ssl.SSLContext | None) -> Seen:
    """Ask for the services, then every running node, then one node who leads. A second at most."""
    states = machine.states()
    running = [
        node for node in layout.topology.nodes if states.get(node_service(node)) is State.RUNNING
    ]
    nodes: dict[Node, Ready] = {}
    if running:
        with ThreadPoolExecutor(len(running)) as pool:
            said = pool.map(lambda node: monitoring.ready(layout.console(node), tls), running)
            nodes = dict(zip(running, said, strict=True))
    ready = [node for node, answer in nodes.items() if answer.ready]
    view = watch.look(frozenset(ready), ready[0] if ready else None)
    return Seen(states, nodes, view)


def cluster_status(
    backend: str,
    seen: Seen,
    machine: Machine,
    layout: Layout,
    wan: WanClient | None,
    tls: ssl.SSLContext | None,
) -> ClusterStatus:
    """Return the rest: process ids, balancers, links; all at the same time."""
    regions = layout.topology.region_names
    with ThreadPoolExecutor(8) as pool:
        links = pool.submit(links_of, wan, seen.state(WAN))
        found_pids = pool.submit(machine.pids)
        up = list(pool.map(lambda region: _unwell_balancer(seen, layout, region), regions))
        counted = dict(
            zip(
                seen.ready,
                pool.map(lambda node: monitoring.metrics(layout.console(node), tls), seen.ready),
                strict=True,
            )
        )
    found, pids = links.result(), found_pids.result()
    leaders = seen.leaders()
    return ClusterStatus(
        backend=backend,
        survival_goal=seen.view.goal if seen.view else None,
        wan=wan is not None,
        nodes=tuple(
            _node(seen, node, pids.get(node_service(node)), leaders, counted.get(node, {}))
            for node in layout.topology.nodes
        ),
        balancers=tuple(
            _balancer(seen, layout, region, pids.get, detail)
            for region, detail in zip(regions, up, strict=True)
        ),
        coordinators=wan_status(wan, seen.state(WAN), pids.get(WAN), found),
        links=found or (),
    )


def _node(
    seen: Seen,
    node: Node,
    pid: int | None,
    leaders: Mapping[Node, int],
    counted: Mapping[str, float],
) -> NodeStatus:
    state = seen.state(node_service(node))
    said = seen.nodes.get(node, Ready(False, state.value))
    role = Role.UNKNOWN
    if said.ready and seen.view is not None:
        role = Role.PRIMARY if node in leaders else Role.REPLICA
    return NodeStatus(
        name=node.name,
        region=node.region,
        role=role,
        state=state,
        healthy=said.ready and state is State.RUNNING,
        pid=pid,
        detail=said.detail,
        leases=None if role is Role.UNKNOWN else leaders.get(node, 0),
        ranges_unavailable=_whole(counted.get("ranges_unavailable")),
        ranges_underreplicated=_whole(counted.get("ranges_underreplicated")),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _unwell_balancer(seen: Seen, layout: Layout, region: str) -> str:
    """Why a balancer is not in service, empty when it is."""
    state = seen.state(balancer_service(region))
    if state is not State.RUNNING:
        return state.value
    up = monitoring.servers_up(layout.statistics(region))
    if up is None:
        return "it does not answer"
    return "" if any(up.values()) else "it sees no node in service"


def _balancer(
    seen: Seen, layout: Layout, region: str, pid: Callable[[str], int | None], detail: str
) -> ServiceStatus:
    service = balancer_service(region)
    return ServiceStatus(
        name=f"lb:{region}",
        region=region,
        state=seen.state(service),
        healthy=not detail,
        pid=pid(service),
        ports={"sql": layout.balancer(region), "statistics": layout.statistics(region)},
        detail=detail,
    )
