"""What everything of a lab is called and where it listens, computed from its settings.

On 127.0.0.1, unless a port base is given, the ports of the demo this lab is built around:

    26257..  SQL of the nodes            port base +0..
    26276..  the balancers               port base +200..
     8080..  DB Consoles of the nodes    port base +100..
     8404..  statistics of the balancers port base +220..
     8403    the WAN's control           port base +299
    26300..  balancers, as clients of    port base +300.., one a pair of regions
             another region dial them

Inside, every region is a network of its own, and the WAN's container stands in all of them:

    us-west-2 ─┐                 a node or balancer that dials another region dials the WAN, on a
    us-east-1 ─┼─ wan            port of its own for each (dialling region, node); there is no
    eu-west-1 ─┘                 other way, as names and addresses of other networks lead nowhere
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from labkit.cluster.cockroach.program import HTTP_PORT, SQL_PORT
from labkit.topology import Node, Topology

HOST = "127.0.0.1"
WAN = "wan"
INIT = "init"
CERTIFICATES = "certificates"
WAN_CONTROL = 9000
"""Inside its container."""
STATISTICS = 8404
"""Inside a balancer's container."""
LAB_LABEL = "labkit.lab"
"""The label by which containers are known to belong to one lab."""


def node_service(node: Node) -> str:
    """`crdb1-us-west-2`."""
    return f"crdb{node.index}-{node.region}"


def balancer_service(region: str) -> str:
    """`haproxy-us-west-2`."""
    return f"haproxy-{region}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and ports of one lab."""

    topology: Topology
    wan: bool
    secure: bool
    port_base: int | None = None

    # on this machine

    def _at(self, offset: int, usual: int) -> int:
        return usual if self.port_base is None else self.port_base + offset

    def _number(self, node: Node) -> int:
        return self.topology.nodes.index(node)

    def _region(self, region: str) -> int:
        return self.topology.region_names.index(region)

    def sql(self, node: Node) -> int:
        """A node's own SQL port: the operator's, past balancer and WAN."""
        return self._at(0, 26257) + self._number(node)

    def console(self, node: Node) -> int:
        """A node's DB Console, health and metrics."""
        return self._at(100, 8080) + self._number(node)

    def balancer(self, region: str) -> int:
        """A region's balancer: the application's."""
        # more nodes than 19 take the ports where the balancers usually are
        first = self._at(200, max(26276, 26257 + len(self.topology.nodes)))
        return first + self._region(region)

    def balancer_from(self, source: str, region: str) -> int:
        """Where clients in `source` dial another region's balancer, through the WAN."""
        if source == region or not self.wan:
            return self.balancer(region)
        first = self._at(300, max(26300, self.balancer(self.topology.region_names[-1]) + 1))
        return first + len(self.topology.regions) * self._region(source) + self._region(region)

    def statistics(self, region: str) -> int:
        """A balancer's statistics, for looking only."""
        return self._at(220, 8404) + self._region(region)

    @property
    def wan_control(self) -> int:
        """The WAN's control port."""
        return self._at(299, 8403)

    def ports(self) -> dict[int, str]:
        """Every port on this machine, and what it is for."""
        wanted = {self.sql(node): f"{node} SQL" for node in self.topology.nodes}
        wanted |= {self.console(node): f"{node} DB Console" for node in self.topology.nodes}
        for region in self.topology.region_names:
            wanted[self.balancer(region)] = f"lb:{region}"
            wanted[self.statistics(region)] = f"lb:{region} statistics"
        if self.wan:
            wanted[self.wan_control] = "WAN control"
            for source, region in self.ways:
                wanted[self.balancer_from(source, region)] = f"lb:{region} from {source}"
        return wanted

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Every pair of regions: from, to."""
        return tuple(permutations(self.topology.region_names, 2))

    # inside

    def network(self, region: str) -> str:
        """The network that a region's containers are in."""
        return region if self.wan else "lab"

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network."""
        return tuple(dict.fromkeys(self.network(region) for region in self.topology.region_names))

    def _through_wan(self, source: str, node: Node) -> int:
        return 100 * self._region(source) + self._number(node)

    def sql_from(self, source: str, node: Node) -> tuple[str, int]:
        """Host and port where `source` dials a node for SQL and node-to-node traffic."""
        if source == node.region or not self.wan:
            return node_service(node), SQL_PORT
        return WAN, 27000 + self._through_wan(source, node)

    def health_from(self, source: str, node: Node) -> tuple[str, int]:
        """Host and port where `source` dials a node for its health."""
        if source == node.region or not self.wan:
            return node_service(node), HTTP_PORT
        return WAN, 28000 + self._through_wan(source, node)

    def balancer_inside(self, source: str, region: str) -> int:
        """The port of the WAN's container behind `balancer_from`."""
        return 29000 + 10 * self._region(source) + self._region(region)

    # services

    def targets(self, region: str) -> list[str]:
        """The services that stand in a region."""
        nodes = [node_service(node) for node in self.topology.nodes_of(region)]
        return [*nodes, balancer_service(region)]

    @property
    def services(self) -> tuple[str, ...]:
        """Every service that stays up."""
        in_regions = [
            name for region in self.topology.region_names for name in self.targets(region)
        ]
        return (*in_regions, *([WAN] if self.wan else []))
