"""Addresses at which containers find each other; names and ports are those of every layout.

Every region is a network of its own, and the WAN's container stands in all of them:

    us-west-2 ─┐                 a node or balancer that dials another region dials the WAN, on a
    us-east-1 ─┼─ wan            port of its own for each (dialling region, node); there is no
    eu-west-1 ─┘                 other way, as names and addresses of other networks lead nowhere
"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.cluster.engines.cockroachdb.layout import Layout, Place, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.program import HTTP_PORT, SQL_PORT
from labkit.cluster.layout import WAN
from labkit.topology import Node

INIT = "init"
CERTIFICATES = "certificates"
WAN_CONTROL = 9000
"""Inside its container."""
STATISTICS = 8404
"""Inside a balancer's container."""


@dataclass(frozen=True, slots=True)
class ComposeLayout(Layout):
    """Names and ports of one lab in containers."""

    def network(self, region: str) -> str:
        """Return the network that a region's containers are in."""
        return region if self.wan else "lab"

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network."""
        return tuple(dict.fromkeys(self.network(region) for region in self.topology.region_names))

    def _through_wan(self, source: str, node: Node) -> int:
        return 100 * self._region(source) + self._number(node)

    def sql_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for SQL and node-to-node traffic."""
        if source == node.region or not self.wan:
            return node_service(node), SQL_PORT
        return WAN, 27000 + self._through_wan(source, node)

    def health_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for its health."""
        if source == node.region or not self.wan:
            return node_service(node), HTTP_PORT
        return WAN, 28000 + self._through_wan(source, node)

    def balancer_way(self, source: str, region: str) -> tuple[int, Place]:
        """Return the WAN's port inside its container, and where it leads."""
        return 29000 + self.ways.index((source, region)), (balancer_service(region), SQL_PORT)
