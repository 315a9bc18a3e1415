"""Addresses at which processes find each other; names and ports are those of every layout.

port base +300.. SQL of nodes in other regions, through the WAN      usually 28000..
port base +610.. their health, for balancers of other regions        usually 28310..
port base +920.. balancers, as clients of another region dial them   usually 28620..

With more than five regions the last two begin later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.cluster.engines.cockroachdb.layout import Layout, Place, node_service
from labkit.cluster.ports import HOST
from labkit.topology import MAX_NODES, Node

ELSEWHERE = 310
"""How many ports lead from regions to nodes elsewhere, for each of two purposes; more with more
than five regions, of nine nodes each."""


@dataclass(frozen=True, slots=True)
class ProcessLayout(Layout):
    """Names, ports and folders of one lab of processes."""

    home: Path = Path()
    servers_at: Path | None = None
    """Where what servers read and write is, when it is not in the state folder."""

    @property
    def _pairs(self) -> int:
        """Tell how many pairs of a dialling region and a node there can be, with nodes to come."""
        return max(ELSEWHERE, MAX_NODES * len(self.topology.regions) ** 2)

    def _through_wan(self, source: str, node: Node) -> int:
        return self._region(source) * (self._pairs // len(self.topology.regions)) + self._number(
            node
        )

    def sql_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for SQL and node-to-node traffic."""
        if source == node.region or not self.wan:
            return HOST, self.sql(node)
        return HOST, self._at(300, 28000) + self._through_wan(source, node)

    def health_from(self, source: str, node: Node) -> Place:
        """Tell where `source` dials a node for its health."""
        if source == node.region or not self.wan:
            return HOST, self.console(node)
        return HOST, self._at(300, 28000) + self._pairs + self._through_wan(source, node)

    @property
    def _first_way(self) -> int:
        return self._at(300, 28000) + 2 * self._pairs

    def balancer_way(self, source: str, region: str) -> tuple[int, Place]:
        """`balancer_from` itself, and the balancer."""
        return self.balancer_from(source, region), (HOST, self.balancer(region))

    def parts(self) -> Iterator[tuple[int, str]]:
        """Every port on this machine, and what it is for; the WAN's to the nodes too."""
        yield from Layout.parts(self)
        if self.wan:
            for node in self.topology.nodes:
                for way in self.listeners(node):
                    yield way.port, f"WAN {way.name}"

    # folders and files

    @property
    def place(self) -> Path:
        """The folder that holds all that servers read and write."""
        return self.servers_at or self.home

    @property
    def all_data(self) -> Path:
        """Every node's data."""
        return self.place / "data"

    @property
    def conf(self) -> Path:
        """Rendered configuration, made anew at every start."""
        return self.place / "conf"

    @property
    def certs(self) -> str | None:
        """The folder with certificates of the nodes; None without."""
        return str(self.place / "node-certs") if self.secure else None

    def store(self, node: Node) -> Path:
        """Return a node's data."""
        return self.all_data / node_service(node)

    def balancer_socket(self, region: str) -> Path:
        """Tell where a balancer's servers can be changed while it runs."""
        return self.place / "run" / f"{region}.sock"
