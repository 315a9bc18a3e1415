"""The stages between nothing and a lab in service. A failure names the stage."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import psycopg

from labkit import libpq
from labkit.cluster.base import OnStage
from labkit.cluster.engines.cockroachdb import database, monitoring, program
from labkit.cluster.engines.cockroachdb.database import Operator
from labkit.cluster.engines.cockroachdb.layout import Layout, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.settings import CockroachSettings, licence
from labkit.cluster.engines.cockroachdb.statements import USER
from labkit.cluster.folder import write_whole
from labkit.cluster.layout import WAN
from labkit.cluster.machines.base import Machine, running
from labkit.cluster.ports import HOST
from labkit.cluster.settings import LabSecrets
from labkit.cluster.status import State
from labkit.cluster.waiting import await_parts
from labkit.errors import ClusterError, NotReady
from labkit.topology import Node
from labkit.wan.client import WanClient

T = TypeVar("T")

DOWN_S = 8
"""How long everything may take when all of it goes: nobody is left to hand leases to."""
INIT_TIMEOUT_S = 120.0
SERVICE_TIMEOUT_S = 180.0
"""How long nodes may take to be in service; nine of them on two cores are slow to begin."""
BALANCER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Starter(ABC):
    """Starts the parts of one lab; what runs them, containers or processes, has the rest.

    Attributes:
        parts: what people call its services, "containers" or "processes".
    """

    parts: ClassVar[str]

    home: Path
    settings: CockroachSettings
    layout: Layout
    secrets: LabSecrets
    machine: Machine
    operator: Operator
    wan: WanClient | None
    dsn: Callable[[str], str]
    tls: Callable[[], ssl.SSLContext | None]

    def running(self) -> set[str]:
        """Return the services that run or are paused."""
        return running(self.machine)

    def cockroach(self, node: Node, arguments: Sequence[str], timeout_s: float) -> str:
        """Run the `cockroach` program where a node runs, and return what it printed.

        Raises:
            ClusterError: it failed; says why.
            NotReady: it took longer than `timeout_s`.
        """
        done = self.machine.run(node_service(node), [self.binary, *arguments], timeout_s)
        if done.returncode != 0:
            said = program.complaint(done.stderr or done.stdout)
            raise ClusterError(f"`cockroach {' '.join(arguments)}` at {node} failed: {said}")
        return done.stdout

    # stages that differ

    @property
    @abstractmethod
    def binary(self) -> str:
        """The path of the `cockroach` program where nodes run."""

    @property
    @abstractmethod
    def certs(self) -> str | None:
        """The folder with certificates, as the `cockroach` program sees it; None without."""

    @abstractmethod
    def check(self, served: bool) -> None:
        """Refuse what cannot work, before anything is changed.

        Args:
            served: whether the lab was in service before, so that its data counts.

        Raises:
            LabMismatch: what it would use belongs to somebody else.
            PortInUse: a port is taken.
            ClusterError: it cannot work here, or a part of the data is gone.
        """

    @abstractmethod
    def render(self) -> None:
        """Write the configuration of every part, as it is to be from now on."""

    @abstractmethod
    def fetch(self, on_stage: OnStage) -> None:
        """Stage images: have the programs here."""

    @abstractmethod
    def nodes(self) -> None:
        """Stage containers: start WAN, certificates and nodes."""

    @abstractmethod
    def init(self) -> None:
        """Stage init: make the nodes one cluster. Repeating it does no harm."""

    @abstractmethod
    def tell_balancers(self) -> None:
        """Let every balancer that runs have the nodes there are, and no others."""

    @abstractmethod
    def stop_everything(self, on_stage: OnStage) -> None:
        """Stop everything in order, and kill what does not stop."""

    @abstractmethod
    def _advice(self) -> str:
        """Return what to look at and what simpler form to try when a stage took too long."""

    # stages that do not

    def tell_wan(self) -> None:
        """Let the WAN that runs serve the nodes there are, and no others."""
        if self.wan is not None:
            self.wan.serve(self.layout.all_listeners(), {})

    def write_passfile(self) -> None:
        """Write the password file that `dsn` names, in a secure lab."""
        if self.layout.secure:
            write_whole(self.home / "pgpass", f"{HOST}:*:*:{USER}:{self.secrets.trader}\n")

    def balancers(self) -> None:
        """Start the balancers."""
        regions = self.layout.topology.region_names
        self.machine.start([balancer_service(region) for region in regions])

    def join(self) -> None:
        """Stage join: wait until the cluster knows every node. Each has a zone of its own."""
        first, *_ = nodes = self.layout.topology.nodes

        def strangers() -> dict[str, str]:
            try:
                with self.operator.connect(first) as connection:
                    known = database.zones_known(connection)
            except ClusterError as error:
                return {node_service(first): str(error)}
            return {node_service(n): f"{n} has not joined" for n in nodes if n.zone not in known}

        parts = [node_service(node) for node in nodes]
        self._await_none("join", strangers, parts, SERVICE_TIMEOUT_S)

    def database(self) -> None:
        """Stage regions: make the application's database."""
        node = self.layout.topology.nodes[0]
        with self.operator.connect(node, timeout_ms=120_000) as connection:
            database.create(
                connection,
                self.layout.topology,
                self.settings.survive,
                self.secrets.trader if self.layout.secure else None,
                licence(),
            )
            if database.survival_goal(connection) is not self.settings.survive:
                database.set_survival_goal(connection, self.settings.survive)

    # being in service

    def await_nodes(self, nodes: Sequence[Node], timeout_s: float = SERVICE_TIMEOUT_S) -> None:
        """Stage quorum: wait until nodes take SQL clients."""
        tls = self.tls()

        def unready(node: Node) -> str:
            said = monitoring.ready(self.layout.console(node), tls)
            return "" if said.ready else f"{node}: {said.detail}"

        self._await_all("quorum", {node_service(node): node for node in nodes}, unready, timeout_s)

    def await_balancers(self, regions: Sequence[str]) -> None:
        """Run the stage "balancers": wait until a query succeeds through each region's balancer."""
        services = {balancer_service(region): region for region in regions}
        self._await_all("balancers", services, self._unreachable, BALANCER_TIMEOUT_S)

    def await_behind_balancers(self, node: Node) -> None:
        """Run the stage "balancers": wait until every running balancer sends sessions to a node."""
        running = self.running()
        regions = self.layout.topology.region_names
        services = {name: r for r in regions if (name := balancer_service(r)) in running}

        def unused(region: str) -> str:
            up = monitoring.servers_up(self.layout.statistics(region)) or {}
            return "" if node_service(node) in up.get(node.region, []) else f"not of lb:{region}"

        self._await_all("balancers", services, unused, BALANCER_TIMEOUT_S)

    def _unreachable(self, region: str) -> str:
        """Why a region's balancer does not lead to the database, or an empty text."""
        try:
            with libpq.connect(self.dsn(region), connect_timeout=3) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as error:
            return f"lb:{region}: {' '.join(str(error).split())[:160]}"
        return ""

    def _await_all(
        self, stage: str, things: Mapping[str, T], unwell: Callable[[T], str], timeout_s: float
    ) -> None:
        """Wait until nothing is wrong with any of some things; all are asked at the same time.

        Args:
            things: by the service that is to blame.
        """

        def wrong() -> dict[str, str]:
            with ThreadPoolExecutor(max(1, len(things))) as pool:
                said = zip(things, pool.map(unwell, things.values()), strict=True)
            return {service: text for service, text in said if text}

        self._await_none(stage, wrong, things, timeout_s)

    def _await_none(
        self,
        stage: str,
        wrong: Callable[[], dict[str, str]],
        parts: Iterable[str],
        timeout_s: float,
    ) -> None:
        """Wait until nothing is wrong.

        Args:
            wrong: what is, by the service that is to blame.
        """
        seen: dict[str, str] = {}

        def well() -> bool:
            nonlocal seen
            seen = wrong()
            return not seen

        def hint() -> str:
            texts, blamed = "; ".join([*seen.values()][:3]), next(iter(seen))
            return f"{texts}; {blamed} said last: {self.machine.last_words(blamed)}"

        self.wait(stage, well, timeout_s, parts=parts, hint=hint)

    def wait(
        self,
        stage: str,
        ready: Callable[[], bool],
        timeout_s: float,
        *,
        parts: Iterable[str],
        hint: Callable[[], str] | None = None,
    ) -> None:
        """See `await_parts`."""
        await_parts(
            stage,
            ready,
            timeout_s,
            parts=parts,
            ended=lambda part: self.machine.states().get(part, State.DOWN) is State.DOWN,
            last_words=self.machine.last_words,
            advice=self._advice(),
            poll_s=0.3,
            hint=hint,
        )


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Name the stage in an error that does not do so itself."""
    try:
        yield
    except (ClusterError, NotReady) as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error


def start_everything(starter: Starter, on_stage: OnStage, *, served: bool) -> None:
    """Start what does not run of a whole lab and wait until it is in service.

    Raises:
        ClusterError: a part cannot be started; names the stage and its last log lines.
        NotReady: a stage took too long.
    """
    topology = starter.layout.topology
    starter.check(served)
    with _stage("images"):
        starter.fetch(on_stage)
    starter.render()
    running = starter.running()
    missing = set(starter.layout.services) - running
    if WAN in running:  # a command that added or removed a node may have been killed
        starter.tell_wan()
    # repeated at every cold start: it changes nothing, and mends a first start that was cut short
    cold = not running & {node_service(node) for node in topology.nodes}
    balancers = {balancer_service(region) for region in topology.region_names}
    if missing - balancers:
        on_stage(starter.parts)
        with _stage(starter.parts):
            starter.nodes()
    if cold or not served:
        on_stage("init")
        with _stage("init"):
            starter.init()
        on_stage("join: every node known")
        with _stage("join"):
            starter.join()
    on_stage("quorum: every node ready")
    with _stage("quorum"):
        starter.await_nodes(topology.nodes)
    if cold or not served:
        on_stage("regions and database")
        with _stage("regions"):
            starter.database()
    with _stage("balancers"):
        if missing & balancers:
            on_stage("load balancers")
            starter.balancers()
        starter.tell_balancers()
        on_stage("a query through every balancer")
        starter.await_balancers(topology.region_names)
