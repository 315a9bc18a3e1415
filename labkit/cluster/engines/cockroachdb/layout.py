"""Names and ports of a lab's parts, the same for containers and processes.

On 127.0.0.1, unless a port base is given, the ports of the demo this lab is built around:

    26257..  SQL of the nodes            port base +0..
    26419..  SQL of node 20 and later
    26276..  the balancers               port base +200..
     8080..  DB Consoles of the nodes    port base +100..
     8404..  statistics of the balancers port base +220..
     8403    the WAN's control           port base +299
    26300..  balancers, as clients of    port base +300.., one per pair of regions
             another region dial them
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

from labkit.cluster.engines.cockroachdb import haproxy
from labkit.cluster.layout import Services
from labkit.topology import Node, Topology
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan

Place = tuple[str, int]
"""Host and port."""
_BEFORE_BALANCERS = 26276 - 26257
"""How many nodes have their usual SQL port below those of the balancers."""


def node_service(node: Node) -> str:
    """`crdb1-us-west-2`."""
    return f"crdb{node.index}-{node.region}"


def balancer_service(region: str) -> str:
    """`haproxy-us-west-2`."""
    return f"haproxy-{region}"


def address(place: Place) -> str:
    """`host:port`."""
    return f"{place[0]}:{place[1]}"


@dataclass(frozen=True, slots=True)
class Layout(Services):
    """Names and ports of one lab.

    Attributes:
        numbers: a number for each node, by name (`LabSettings.numbered`); None counts them through.
    """

    topology: Topology
    wan: bool
    secure: bool
    port_base: int | None = None
    numbers: Mapping[str, int] | None = None

    # on this machine

    node_service = staticmethod(node_service)
    balancer_service = staticmethod(balancer_service)

    def _at(self, offset: int, usual: int) -> int:
        return usual if self.port_base is None else self.port_base + offset

    def _number(self, node: Node) -> int:
        return self.numbers[node.name] if self.numbers else self.topology.nodes.index(node)

    def _region(self, region: str) -> int:
        return self.topology.region_names.index(region)

    def sql(self, node: Node) -> int:
        """Return a node's own SQL port: the operator's, past balancer and WAN."""
        number = self._number(node)
        # the balancers keep the ports where they usually are, however many nodes come
        return self._at(0, 26257 if number < _BEFORE_BALANCERS else 26400) + number

    def console(self, node: Node) -> int:
        """Return a node's DB Console, health and metrics."""
        return self._at(100, 8080) + self._number(node)

    def balancer(self, region: str) -> int:
        """Return a region's balancer: the application's."""
        return self._at(200, 26276) + self._region(region)

    def balancer_from(self, source: str, region: str) -> int:
        """Tell where clients in `source` dial another region's balancer, through the WAN."""
        if source == region or not self.wan:
            return self.balancer(region)
        return self._first_way + self.ways.index((source, region))

    @property
    def _first_way(self) -> int:
        return self._at(300, 26300)

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Every pair of regions: from, to."""
        return tuple(permutations(self.topology.region_names, 2))

    def statistics(self, region: str) -> int:
        """Return a balancer's statistics, for looking only."""
        return self._at(220, 8404) + self._region(region)

    @property
    def wan_control(self) -> int:
        """The WAN's control port."""
        return self._at(299, 8403)

    def parts(self) -> Iterator[tuple[int, str]]:
        """Every port on this machine, and what it is for."""
        for node in self.topology.nodes:
            yield self.sql(node), f"{node} SQL"
            yield self.console(node), f"{node} DB Console"
        for region in self.topology.region_names:
            yield self.balancer(region), f"lb:{region}"
            yield self.statistics(region), f"lb:{region} statistics"
        if self.wan:
            yield self.wan_control, "WAN control"
            for source, region in self.ways:
                yield self.balancer_from(source, region), f"lb:{region} from {source}"

    def ports(self) -> dict[int, str]:
        """Return what each port is for."""
        return dict(self.parts())

    # where the parts dial each other

    @abstractmethod
    def sql_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for SQL and node-to-node traffic."""

    @abstractmethod
    def health_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for its health."""

    @abstractmethod
    def balancer_way(self, source: str, region: str) -> tuple[int, Place]:
        """Return the WAN's own port behind `balancer_from`, and where it leads."""

    def join(self, region: str) -> list[str]:
        """Tell whom a node of a region dials first: two of its region, one of each other region.

        The first node of all is on every list, so `init` may go to it (cockroach-init.md). Advised
        are more than one address a region and the same list for all nodes (cockroach-start.md,
        v25.4, --join). Here lists differ, as each region dials the others by the WAN's own ports.
        """
        near = self.topology.nodes_of(region)[:2]
        far = [self.topology.nodes_of(name)[0] for name in self.topology.region_names]
        nodes = [*near, *(node for node in far if node.region != region)]
        return [address(self.sql_from(region, node)) for node in nodes]

    def elsewhere(self, node: Node) -> dict[str, str]:
        """For each other region the address that leads to a node from there; none without a WAN."""
        others = [name for name in self.topology.region_names if name != node.region and self.wan]
        return {region: address(self.sql_from(region, node)) for region in others}

    def servers(self, region: str) -> dict[str, list[haproxy.Server]]:
        """Return what a region's balancer dials: its own nodes first, then the nearest region's."""
        shape = self.topology
        nearest = sorted(shape.region_names, key=lambda name: shape.rtt_ms(region, name))

        def server(node: Node) -> haproxy.Server:
            host, port = self.sql_from(region, node)
            health = self.health_from(region, node)[1]
            return haproxy.Server(node_service(node), host, port, health)

        return {name: [server(node) for node in shape.nodes_of(name)] for name in nearest}

    def listeners(self, node: Node) -> tuple[Listener, ...]:
        """Return the ways through the WAN to one node."""
        found = []
        for source in self.topology.region_names:
            if source == node.region:
                continue
            for what, dialled in (("sql", self.sql_from), ("health", self.health_from)):
                host, port = dialled(node.region, node)
                found.append(
                    Listener(
                        port=dialled(source, node)[1],
                        region=node.region,
                        kind=Kind.FIXED,
                        to_host=host,
                        to_port=port,
                        source=source,
                        name=f"{source} > {node} {what}",
                    )
                )
        return tuple(found)

    def all_listeners(self) -> tuple[Listener, ...]:
        """Every way through the WAN: from each region to nodes and balancers of the others."""
        to_nodes = sorted(
            (one for node in self.topology.nodes for one in self.listeners(node)),
            key=lambda one: self.topology.region_names.index(one.source or ""),
        )
        return (*to_nodes, *self._to_balancers())

    def wan_plan(self, token: str, *, control_port: int, host: str) -> Plan:
        """Every way through the WAN, and how far apart the regions are."""
        shape = self.topology
        return Plan(
            control_port=control_port,
            token=token,
            links={(a, b): LinkSettings(delay_ms=shape.one_way_ms(a, b)) for a, b in self.ways},
            listeners=self.all_listeners(),
            host=host,
        )

    def _to_balancers(self) -> Iterator[Listener]:
        for source, region in self.ways:
            port, (host, to_port) = self.balancer_way(source, region)
            yield Listener(
                port=port,
                region=region,
                kind=Kind.FIXED,
                to_host=host,
                to_port=to_port,
                source=source,
                name=f"{source} > lb:{region}",
            )
