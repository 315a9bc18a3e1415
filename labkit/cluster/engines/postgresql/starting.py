"""The parts of a lab: each started when it does not run, and awaited by evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from labkit import libpq
from labkit.cluster import haproxy
from labkit.cluster.base import OnStage
from labkit.cluster.engines.postgresql import config, first_data, patroni, room, serving
from labkit.cluster.engines.postgresql.etcd import EtcdClient
from labkit.cluster.engines.postgresql.forker import MemberForker
from labkit.cluster.engines.postgresql.layout import Layout, balancer_name, etcd_name, member_name
from labkit.cluster.engines.postgresql.settings import Secrets, Settings
from labkit.cluster.engines.postgresql.ways import wan_plan
from labkit.cluster.folder import write_whole
from labkit.cluster.layout import WAN
from labkit.cluster.machines import programs, reach
from labkit.cluster.machines.processes import Processes
from labkit.cluster.ports import HOST, require_free
from labkit.cluster.processes import ProcessTable
from labkit.cluster.waiting import await_parts
from labkit.errors import NotReady
from labkit.topology import Node, Topology
from labkit.wan.client import WanClient

SERVICE_TIMEOUT_S = 90.0
"""How long nine nodes may take to be in service: a few seconds, but slow disks take longer."""
SERVICE_TIMEOUT_PER_NODE_S = 10.0
ETCD_TIMEOUT_S = 30.0
ETCD_TIMEOUT_PER_REGION_S = 10.0
"""Each member shakes hands with every other one, through the WAN."""


def service_timeout_s(topology: Topology) -> float:
    """Say how long the lab, or a part of it, may take to be in service."""
    return max(SERVICE_TIMEOUT_S, SERVICE_TIMEOUT_PER_NODE_S * len(topology.nodes))


@dataclass(frozen=True)
class Starter:
    """Starts the parts of one lab."""

    settings: Settings
    secrets: Secrets
    layout: Layout
    machine: Processes
    wan: WanClient | None

    @property
    def table(self) -> ProcessTable:
        """The lab's processes, by name."""
        return self.machine.table

    # preparation

    def prepare(self, starting: int) -> None:
        """Make the folders and render every configuration anew.

        Args:
            starting: how many nodes are about to be started.

        Raises:
            ClusterError: the disk is nearly full; nothing was made.
        """
        layout = self.layout
        room.require_disk(layout, starting)
        reach.make_servers_folder(layout.home, self.settings, self.table.identity)
        layout.processes.mkdir(mode=0o700, exist_ok=True)
        for folder in (layout.logs, layout.conf):
            self.table.identity.make_folder(folder, written=False)
        for folder in (layout.run, layout.all_data, layout.all_etcd):
            self.table.identity.make_folder(folder, written=True)
        goal, bin_dir = self.settings.survive, self._placed(programs.postgres()).path.parent
        for node in layout.topology.nodes:
            text = config.patroni(layout, self.secrets, node, goal, bin_dir)
            self._configure(layout.member_config(node), text)
        for region in layout.topology.region_names:
            text = config.haproxy(layout, self.secrets, region)
            self._configure(layout.conf / f"{balancer_name(region)}.cfg", text)
        self._configure(layout.certificate, self.secrets.etcd.certificate)
        self._configure(layout.certificate_key, self.secrets.etcd.key)
        line = f"{HOST}:*:*:{config.TRADER}:{self.secrets.trader}\n"
        _write(layout.passfile, line)

    def _configure(self, path: Path, text: str) -> None:
        """Write what a server reads."""
        _write(path, text)
        self.table.identity.own(path)

    def _placed(self, program: programs.Program) -> programs.Program:
        """Return a program where servers may execute it."""
        return reach.placed(program, self.layout.place, self.table.identity)

    def check_ports(self, nodes: Iterable[Node], regions: Iterable[str]) -> None:
        """Refuse to start when another process has a port that is about to be used.

        Args:
            nodes: those that are about to be started.
            regions: those whose balancer and etcd may have to be started.

        Raises:
            PortInUse: names the port, what it is for, and who has it when that can be seen.
        """
        layout = self.layout
        wanted: dict[int, str] = {}
        for region in regions:
            if self.table.pid(balancer_name(region)) is None:
                wanted[layout.read_write(region)] = f"lb:{region} read-write"
                wanted[layout.read_only(region)] = f"lb:{region} read-only"
                wanted[layout.balancer_stats(region)] = f"lb:{region} statistics"
            if self.table.pid(etcd_name(region)) is None:
                wanted[layout.etcd_client(region)] = f"etcd {region} clients"
                wanted[layout.etcd_peer(region)] = f"etcd {region} peers"
        for node in nodes:
            wanted[layout.postgres(node)] = f"{node} PostgreSQL"
            wanted[layout.rest(node)] = f"{node} Patroni"
        if self.wan and self.table.pid(WAN) is None:
            plan = wan_plan(layout, self.secrets)
            wanted[plan.control_port] = "WAN control"
            wanted.update({one.port: f"WAN {one.name}" for one in plan.listeners})
        require_free(wanted)

    # parts

    def start_wan(self) -> None:
        """Start the delay line; tell one that runs which nodes there are.

        It may not know them all: a command that added or removed one may have been killed.
        """
        if self.wan is None:
            return
        if self.table.pid(WAN) is not None:
            self.tell_wan()
            return
        plan = self.layout.conf / "wan.json"
        wan_plan(self.layout, self.secrets).save(plan)
        self.table.identity.own(plan)
        self.machine.start([WAN])
        self._await("the WAN", self.wan.answers, 15, parts=[WAN])

    def tell_wan(self) -> None:
        """Let the WAN that runs serve the nodes there are, and no others."""
        if self.wan is not None:
            plan = wan_plan(self.layout, self.secrets)
            self.wan.serve(plan.listeners, plan.names)

    def start_etcd(self, regions: Iterable[str]) -> None:
        """Start the etcd members that do not run."""
        self.machine.start([etcd_name(region) for region in regions])

    def await_etcd(self) -> None:
        """Wait until etcd can be used by Patroni."""
        regions = self.layout.topology.region_names
        timeout_s = max(ETCD_TIMEOUT_S, ETCD_TIMEOUT_PER_REGION_S * len(regions))
        members = [EtcdClient.of(self.layout, region) for region in regions]

        def ready() -> bool:
            return all(member.serves() and member.version_decided() for member in members)

        names = [etcd_name(region) for region in regions]
        self._await("etcd", ready, timeout_s, parts=names, poll_s=0.05)

    def start_balancers(self, regions: Iterable[str]) -> None:
        """Start the HAProxies that do not run."""
        self.machine.start([balancer_name(region) for region in regions])

    def tell_balancers(self) -> None:
        """Let every balancer that runs have the nodes there are, and no others."""
        regions = [
            region
            for region in self.layout.topology.region_names
            if self.table.pid(balancer_name(region)) is not None
        ]

        def tell(region: str) -> None:
            servers = config.balancer_servers(self.layout, region)
            haproxy.give(self.layout.balancer_socket(region), servers)

        with ThreadPoolExecutor(max(1, len(regions))) as pool:
            list(pool.map(tell, regions))

    def await_primary(self, node: Node, timeout_s: float = 60) -> None:
        """Wait until a node takes writes."""

        def ready() -> bool:
            said = self._member(node)
            return said is not None and said.primary

        self._await(f"{node} as primary", ready, timeout_s, parts=[member_name(node)], poll_s=0.05)

    def forker(self) -> MemberForker:
        """Return what starts database nodes, to be used in a `with` block."""
        return MemberForker(self.layout, self.table)

    def start_last_primary(
        self, forker: MemberForker, nodes: Sequence[Node], on_stage: OnStage
    ) -> Node | None:
        """Start the node of a stopped lab that was its primary, and wait until it is again.

        Started together with it, the others would find the old leader key, call its node crashed
        and elect another; the old primary then has to be rewound, which takes ten seconds.
        Patroni lets the last primary lead without anybody's vote.

        Returns:
            The node that was started, whether or not it has become primary in time: with the
            others there will be one. None when etcd names none of `nodes`.
        """
        name = EtcdClient.of(self.layout, self.layout.topology.region_names[0]).last_primary()
        node = next((node for node in nodes if member_name(node) == name), None)
        if node is not None:
            on_stage(f"last primary {node}")
            forker.start([node])
            with suppress(NotReady):
                self.await_primary(node, timeout_s=10)
        return node

    def make_first_data(self) -> None:
        """Make what Patroni's initdb cannot make as a user without a name."""
        user = self.table.identity
        if user.dropped:
            bin_dir = self._placed(programs.postgres()).path.parent
            first_data.make(self.layout, bin_dir, self.secrets.superuser, user)

    def create_database(self, primary: Node) -> None:
        """Create the application's role and database on a fresh primary."""
        role, database = sql.Identifier(config.TRADER), sql.Identifier(config.DATABASE)
        password = sql.Literal(self.secrets.trader)
        with self.superuser(primary) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def members(self, timeout_s: float = 0.5) -> dict[Node, patroni.Member | None]:
        """Return what every node's Patroni says about itself, asked at the same time."""
        nodes = self.layout.topology.nodes
        with ThreadPoolExecutor(len(nodes)) as pool:
            said = pool.map(lambda node: self._member(node, timeout_s), nodes)
            return dict(zip(nodes, said, strict=True))

    def _member(self, node: Node, timeout_s: float = 0.5) -> patroni.Member | None:
        return patroni.member(self.layout.rest(node), self.secrets.rest_api, timeout_s)

    def etcd(self) -> EtcdClient:
        """Find an etcd that can reach a majority.

        Raises:
            NotReady: there is none right now.
        """
        for region in self.layout.topology.region_names:
            member = EtcdClient.of(self.layout, region)
            if member.serves():
                return member
        raise NotReady("no etcd reaches a majority right now (`labkit status`)")

    def primary(self) -> Node:
        """Return the node that takes writes; the one of the latest timeline while two say so.

        Raises:
            NotReady: there is none right now.
        """
        for timeout_s in (0.5, 3.0):  # on a busy machine the primary may answer late
            primaries = {
                node: member.timeline
                for node, member in self.members(timeout_s).items()
                if member and member.primary
            }
            if primaries:
                return max(primaries, key=lambda node: primaries[node])
        raise NotReady("no primary right now: a failover takes a few seconds (`labkit status`)")

    def has_primary(self) -> bool:
        """Say whether a node takes writes."""
        with suppress(NotReady):
            return bool(self.primary())
        return False

    def superuser(self, node: Node, database: str = "postgres") -> psycopg.Connection:
        """Open the operator's connection to one node, past balancer and WAN."""
        return libpq.connect(
            host=HOST,
            port=self.layout.postgres(node),
            user=config.SUPERUSER,
            password=self.secrets.superuser,
            dbname=database,
            sslmode="disable",
            gssencmode="disable",
            require_auth="scram-sha-256",  # whoever else has the port gets no password
            connect_timeout=5,
            autocommit=True,
        )

    # being in service

    def await_replication(self, nodes: Sequence[Node], timeout_s: float) -> None:
        """Wait until every one of the nodes is the primary or streams from it."""
        seen = ""

        def ready() -> bool:
            nonlocal seen
            seen = serving.not_in_service(self.members(), nodes, self.settings.survive)
            return not seen

        names = [member_name(node) for node in nodes]
        # asking costs each node a query, while they need the processor to come up
        self._await(
            "the database nodes", ready, timeout_s, parts=names, hint=lambda: seen, poll_s=0.5
        )

    def await_balancers(self, regions: Sequence[str], timeout_s: float) -> None:
        """Wait until the balancers of regions lead to the primary and to a replica."""
        seen = ""

        def ready() -> bool:
            nonlocal seen
            with ThreadPoolExecutor(max(1, len(regions))) as pool:
                said = pool.map(partial(serving.unreachable, self.layout, self.secrets), regions)
                seen = "; ".join(filter(None, said))
            return not seen

        names = [balancer_name(region) for region in regions]
        self._await("the balancers", ready, timeout_s, parts=names, hint=lambda: seen, poll_s=0.3)

    def _await(
        self,
        what: str,
        ready: Callable[[], bool],
        timeout_s: float,
        *,
        parts: Sequence[str],
        poll_s: float = 0.1,
        hint: Callable[[], str] | None = None,
    ) -> None:
        """See `await_parts`."""
        await_parts(
            what,
            ready,
            timeout_s,
            parts=parts,
            ended=lambda part: self.table.pid(part) is None,
            last_words=self.table.last_words,
            advice=f"logs are in {self.layout.logs}",
            poll_s=poll_s,
            hint=hint,
        )


def _write(path: Path, text: str) -> None:
    """Write a file unless it says this already: a fault is healed on a full disk as well."""
    try:
        same = path.read_text(encoding="utf-8") == text
    except FileNotFoundError:
        same = False
    if not same:
        write_whole(path, text)
