"""Folders and ports of a lab, computed from its settings.

All ports lie in one block from `port_base` up, on 127.0.0.1. It has 1000 ports with up to four
regions:

    +000..  balancers            10 a region: read-write, read-only, statistics
    +099    the WAN's control
    +100..  PostgreSQL           10 a region
    +200..  PostgreSQL as other members dial it (through the WAN)
    +300..  Patroni's REST API   10 a region
    +400..  Patroni's REST API as other members dial it (through the WAN)
    +500..  etcd: clients, +510 peers, +520 peers through the WAN
    +530..  etcd clients of another region (through the WAN), 10 a dialling region
    +620..  a region's clients to balancers elsewhere (through the WAN), one per pair of regions
    +700..  a region's balancer to PostgreSQL elsewhere (through the WAN)
    +850..  a region's balancer to health checks elsewhere (through the WAN)

With more regions the last two begin at +1000 and have a port for each pair of a region and a node
that there may ever be: 2 x 9 x regions x regions.

With the WAN off nothing stands in between and the direct ports are used everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.cluster.engines.postgresql.members import FIRST_DATA
from labkit.cluster.layout import Services
from labkit.topology import MAX_NODES, Node, Topology

SCOPE = "lab"
"""Patroni's name for the cluster: the prefix of its keys in etcd."""


ELSEWHERE = 150
"""How many ports lead from regions to nodes elsewhere, for each of two purposes, in a lab whose
regions can have nine nodes each in so many: up to four."""
BLOCK = 1000
"""How many ports a lab of up to four regions has."""


def member_name(node: Node) -> str:
    """`us-west-2-1`: the node's name where a slash cannot stand."""
    return f"{node.region}-{node.index}"


def etcd_name(region: str) -> str:
    """Return the process name of a region's etcd."""
    return f"etcd.{region}"


def balancer_name(region: str) -> str:
    """Return the process name of a region's HAProxy."""
    return f"haproxy.{region}"


@dataclass(frozen=True)
class Layout(Services):
    """Folders and ports of one lab."""

    home: Path
    topology: Topology
    port_base: int
    wan: bool
    servers_at: Path | None = None
    """Where what servers read and write is, when it is not in the state folder."""

    node_service = staticmethod(member_name)
    balancer_service = staticmethod(balancer_name)

    def others_of(self, region: str) -> list[str]:
        """Return the services that a region has besides nodes and balancer: its etcd."""
        return [etcd_name(region)]

    # folders and files

    @property
    def place(self) -> Path:
        """The folder that holds all that servers read and write."""
        return self.servers_at or self.home

    @property
    def processes(self) -> Path:
        """One file a process: pid, start time, argv."""
        return self.home / "processes"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.place / "log"

    @property
    def conf(self) -> Path:
        """Rendered configuration, made anew at every start."""
        return self.place / "conf"

    @property
    def run(self) -> Path:
        """Return what servers make while they run: sockets, and Patroni's password files."""
        return self.place / "run"

    @property
    def all_data(self) -> Path:
        """Every node's data directory."""
        return self.place / "data"

    @property
    def first_data(self) -> Path:
        """A data directory that was made for the first node, before its Patroni takes it."""
        return self.all_data / FIRST_DATA

    @property
    def all_etcd(self) -> Path:
        """Every etcd's data directory."""
        return self.place / "etcd"

    def member_pgpass(self, node: Node) -> Path:
        """Return the password file that a node's Patroni writes for the programs it starts."""
        return self.run / f"{member_name(node)}.pgpass"

    def balancer_socket(self, region: str) -> Path:
        """Tell where a balancer's servers can be changed while it runs."""
        return self.run / f"{region}.sock"

    def member_config(self, node: Node) -> Path:
        """Return a node's Patroni configuration."""
        return self.conf / f"{member_name(node)}.yml"

    @property
    def certificate(self) -> Path:
        """Return what etcd, its peers and its clients show each other."""
        return self.conf / "etcd.crt"

    @property
    def certificate_key(self) -> Path:
        """The key that belongs to it."""
        return self.conf / "etcd.key"

    @property
    def passfile(self) -> Path:
        """The password file that `dsn` names: libpq reads it, nobody else can."""
        return self.home / "pgpass"

    @property
    def served(self) -> Path:
        """There since the lab was in service for the first time: from then on its data counts."""
        return self.home / "served"

    def data(self, node: Node) -> Path:
        """Return a node's PostgreSQL data directory."""
        return self.all_data / member_name(node)

    def etcd_data(self, region: str) -> Path:
        """Return a region's etcd data directory."""
        return self.all_etcd / region

    # ports

    def _region(self, region: str) -> int:
        return self.topology.region_names.index(region)

    def _node(self, node: Node) -> int:
        return 10 * self._region(node.region) + node.index - 1

    @property
    def _most_nodes(self) -> int:
        """Tell how many nodes there can be after any number of additions."""
        return MAX_NODES * len(self.topology.regions)

    @property
    def _pairs(self) -> int:
        """Tell how many pairs of a dialling region and a node there can be."""
        return self._most_nodes * len(self.topology.regions)

    def _elsewhere(self, source: str, node: Node, purpose: int) -> int:
        """Return a port for a pair of a dialling region and a node, for each of two purposes."""
        # by the node's name alone: a WAN that runs still listens for nodes that were removed
        number = MAX_NODES * self._region(node.region) + node.index - 1
        pair = self._region(source) * self._most_nodes + number
        if self._pairs <= ELSEWHERE:
            return self.port_base + 700 + purpose * ELSEWHERE + pair
        return self.port_base + BLOCK + purpose * self._pairs + pair

    @property
    def block(self) -> range:
        """The ports that the lab has, or may come to have."""
        more = 0 if self._pairs <= ELSEWHERE else 2 * self._pairs
        return range(self.port_base, self.port_base + BLOCK + more)

    def read_write(self, region: str) -> int:
        """Return the balancer's port that reaches the primary."""
        return self.port_base + 10 * self._region(region)

    def balancer_from(self, source: str, region: str) -> int:
        """Tell where clients in `source` dial another region's balancer to reach the primary."""
        if source == region or not self.wan:
            return self.read_write(region)
        pair = len(self.topology.regions) * self._region(source) + self._region(region)
        return self.port_base + 620 + pair

    def read_only(self, region: str) -> int:
        """Return the balancer's port that reaches a replica, in the region where there is one."""
        return self.port_base + 10 * self._region(region) + 1

    def balancer_stats(self, region: str) -> int:
        """Return the balancer's statistics (password in secrets.json)."""
        return self.port_base + 10 * self._region(region) + 2

    @property
    def wan_control(self) -> int:
        """The WAN's control port (token in secrets.json)."""
        return self.port_base + 99

    def postgres(self, node: Node) -> int:
        """Tell where a node's PostgreSQL listens."""
        return self.port_base + 100 + self._node(node)

    def postgres_advertised(self, node: Node) -> int:
        """Tell where other members dial a node's PostgreSQL."""
        return self.postgres(node) + (100 if self.wan else 0)

    def rest(self, node: Node) -> int:
        """Tell where a node's Patroni answers."""
        return self.port_base + 300 + self._node(node)

    def rest_advertised(self, node: Node) -> int:
        """Tell where other members dial a node's Patroni."""
        return self.rest(node) + (100 if self.wan else 0)

    def etcd_client(self, region: str, source: str | None = None) -> int:
        """Tell where clients in `source` (default: the same region) dial a region's etcd."""
        if source is None or source == region or not self.wan:
            return self.port_base + 500 + self._region(region)
        return self.port_base + 530 + 10 * self._region(source) + self._region(region)

    def etcd_peer(self, region: str) -> int:
        """Tell where a region's etcd listens for its peers."""
        return self.port_base + 510 + self._region(region)

    def etcd_peer_advertised(self, region: str) -> int:
        """Tell where its peers dial a region's etcd."""
        return self.etcd_peer(region) + (10 if self.wan else 0)

    def postgres_from(self, source: str, node: Node) -> int:
        """Tell where a balancer in `source` dials a node's PostgreSQL."""
        if source == node.region or not self.wan:
            return self.postgres(node)
        return self._elsewhere(source, node, 0)

    def rest_from(self, source: str, node: Node) -> int:
        """Tell where a balancer in `source` dials a node's health check."""
        if source == node.region or not self.wan:
            return self.rest(node)
        return self._elsewhere(source, node, 1)

    def parts(self) -> Iterator[tuple[int, str]]:
        """Every port, and what it is for."""
        regions, nodes = self.topology.region_names, self.topology.nodes
        for region in regions:
            yield self.read_write(region), f"lb:{region} read-write"
            yield self.read_only(region), f"lb:{region} read-only"
            yield self.balancer_stats(region), f"lb:{region} statistics"
            yield self.etcd_client(region), f"etcd {region} clients"
            yield self.etcd_peer(region), f"etcd {region} peers"
        for node in nodes:
            yield self.postgres(node), f"{node} PostgreSQL"
            yield self.rest(node), f"{node} Patroni"
        if not self.wan:
            return
        yield self.wan_control, "WAN control"
        for region in regions:
            yield self.etcd_peer_advertised(region), f"etcd {region} peers through the WAN"
            for source in (source for source in regions if source != region):
                yield self.etcd_client(region, source), f"etcd {region} from {source}"
                yield self.balancer_from(source, region), f"lb:{region} from {source}"
        for node in nodes:
            yield self.postgres_advertised(node), f"{node} PostgreSQL through the WAN"
            yield self.rest_advertised(node), f"{node} Patroni through the WAN"
            for source in (source for source in regions if source != node.region):
                yield self.postgres_from(source, node), f"{node} PostgreSQL from {source}"
                yield self.rest_from(source, node), f"{node} Patroni from {source}"
