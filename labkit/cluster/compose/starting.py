"""The stages between nothing and a lab in service. A failure names the stage."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from labkit.clock import wait_until
from labkit.cluster.base import OnStage, State
from labkit.cluster.cockroach import database, monitoring
from labkit.cluster.cockroach.database import Operator
from labkit.cluster.compose import render
from labkit.cluster.compose.engine import Container, Engine
from labkit.cluster.compose.layout import (
    CERTIFICATES,
    INIT,
    WAN,
    Layout,
    balancer_service,
    node_service,
)
from labkit.cluster.compose.project import Compose, pull
from labkit.cluster.compose.settings import Secrets, Settings
from labkit.cluster.embedded.ports import require_free
from labkit.cluster.folder import write_whole
from labkit.errors import ClusterError, LabError, LabMismatch, NotReady
from labkit.topology import Node
from labkit.wan.client import WanClient

MIB = 1 << 20
NODE_MIB = 400
"""What a node takes at the least: cache, SQL memory and the program itself. An estimate."""
INIT_TIMEOUT_S = 120.0
SERVICE_TIMEOUT_S = 180.0
"""How long nodes may take to be in service; nine of them on two cores are slow to begin."""
CERTIFICATE_FILES = ("ca.crt", "client.root.crt", "client.root.key")


@dataclass(frozen=True)
class Starter:
    """Starts the parts of one lab."""

    home: Path
    settings: Settings
    secrets: Secrets
    engine: Engine
    compose: Compose
    operator: Operator
    wan: WanClient | None
    dsn: Callable[[str], str]
    tls: Callable[[], ssl.SSLContext | None]

    @property
    def layout(self) -> Layout:
        """Names and ports."""
        return self.settings.layout

    def containers(self) -> dict[str, Container]:
        """By service."""
        return self.engine.containers(self.settings.project)

    def running(self) -> set[str]:
        """The services that run or are paused."""
        found = self.containers().items()
        return {name for name, container in found if container.state is not State.DOWN}

    # before anything is started

    def check(self, served: bool) -> None:
        """Refuse what cannot work, before anything is changed.

        Args:
            served: whether the lab was in service before, so that its data counts.

        Raises:
            LabMismatch: a Compose project of this name belongs to somebody else.
            PortInUse: a port is taken.
            ClusterError: too little memory, or a part of the data is gone.
        """
        containers, volumes = self.containers(), self.engine.volumes(self.settings.project)
        self._check_owner({c.lab for c in containers.values()} | set(volumes.values()))
        self._check_data(served, set(volumes))
        if any(container.state is not State.DOWN for container in containers.values()):
            return  # ports are its own; a part that is missing is found out by Docker
        memory, nodes = self.engine.facts().memory_bytes // MIB, len(self.layout.topology.nodes)
        if memory < nodes * NODE_MIB:
            raise ClusterError(
                f"Docker has {memory} MiB of memory and {nodes} CockroachDB nodes need about "
                f"{nodes * NODE_MIB}: give Docker more, make a smaller --topology, or use "
                "`labkit up --backend embedded`"
            )
        require_free(self.layout.ports())

    def _check_owner(self, labs: set[str]) -> None:
        others = labs - {self.settings.lab_id}
        if others:
            name = self.settings.project
            whose = "another lab" if others - {""} else "something that labkit did not make"
            raise LabMismatch(
                f"there is a Compose project {name!r} of {whose}: remove it with `docker compose "
                f"-p {name} down --volumes` (its data goes with it), or set LABKIT_HOME to another "
                "folder and give --port-base"
            )

    def _check_data(self, served: bool, volumes: set[str]) -> None:
        wanted = {node_service(node) for node in self.layout.topology.nodes}
        lost = sorted(wanted - volumes)
        if served and lost:
            raise ClusterError(
                f"the data of {', '.join(lost)} is gone (the volume was removed): `labkit down "
                "--purge` removes the rest, and `labkit up` begins afresh"
            )

    def render(self) -> None:
        """Write what Compose reads. Nothing in it is secret; containers read it as other users."""
        folder = self.compose.file.parent
        folder.mkdir(mode=0o755, exist_ok=True)
        package = str(Path(__file__).parents[2])
        project = render.Project(self.layout, self.settings.project, self.settings.lab_id, package)
        for name, text in render.files(project).items():
            write_whole(folder / name, text, mode=0o644)
        if self.layout.secure:
            from labkit.cluster.cockroach.statements import USER

            write_whole(self.home / "pgpass", f"127.0.0.1:*:*:{USER}:{self.secrets.trader}\n")

    # stages

    def images(self, on_stage: OnStage) -> None:
        """Fetch the images that are not there."""
        for image in self.settings.image_names:
            if not self.engine.has_image(image):
                on_stage(f"fetching the image {image}")
                pull(image)

    def nodes(self) -> None:
        """Create and start WAN, certificates and nodes."""
        services = [node_service(node) for node in self.layout.topology.nodes]
        self.compose.up([*([WAN] if self.layout.wan else []), *services])
        if self.layout.secure:
            self._fetch_certificates()

    def _fetch_certificates(self) -> None:
        """Copy what clients on this machine need out of the certificates' volume."""
        folder = self.home / "certs"
        folder.mkdir(mode=0o700, exist_ok=True)
        first = node_service(self.layout.topology.nodes[0])
        # through a node, which has the volume mounted: an archive of a container contains those
        found = self.engine.read_files(self.containers()[first], render.CERTS)
        for name in CERTIFICATE_FILES:
            if name not in found:
                raise ClusterError(
                    f"no {name} among the certificates: {self._last_words(CERTIFICATES)}"
                )
            write_whole(folder / name, found[name].decode())

    def init(self) -> None:
        """Make the nodes one cluster. Repeating it does no harm."""
        self.compose.up([INIT], with_needed=False)

        def over() -> bool:
            container = self.containers().get(INIT)
            code = self.engine.exit_code(container) if container else None
            if code:
                raise ClusterError(f"`cockroach init` failed: {self._last_words(INIT)}")
            return code == 0

        nodes = [node_service(node) for node in self.layout.topology.nodes]
        self._await("init", over, INIT_TIMEOUT_S, parts=nodes)

    def balancers(self) -> None:
        """Create and start the balancers."""
        regions = self.layout.topology.region_names
        self.compose.up([balancer_service(region) for region in regions], with_needed=False)

    def database(self) -> None:
        """Wait until every region has joined, and make the application's database."""
        regions = set(self.layout.topology.region_names)
        node = self.layout.topology.nodes[0]
        missing: set[str] = set()

        def joined() -> bool:
            nonlocal missing
            with self.operator.connect(node) as connection:
                missing = regions - database.regions_known(connection)
            return not missing

        def hint() -> str:
            return f"not joined: {', '.join(sorted(missing))}"

        self._await("regions", joined, SERVICE_TIMEOUT_S, parts=[], hint=hint)
        licence = os.environ.get("COCKROACH_LICENSE")
        organization = os.environ.get("COCKROACH_ORGANIZATION", "")
        if licence and not organization:
            raise ClusterError(
                "COCKROACH_LICENSE is set and COCKROACH_ORGANIZATION is not: the key goes with "
                "the name it was made out to"
            )
        with self.operator.connect(node, timeout_ms=120_000) as connection:
            database.create(
                connection,
                self.layout.topology,
                self.settings.survive,
                self.secrets.trader if self.layout.secure else None,
                (organization, licence) if licence else None,
            )
            if database.survival_goal(connection) is not self.settings.survive:
                database.set_survival_goal(connection, self.settings.survive)

    # being in service

    def await_nodes(self, nodes: Sequence[Node], timeout_s: float = SERVICE_TIMEOUT_S) -> None:
        """Wait until nodes take SQL clients."""
        seen = ""

        def ready() -> bool:
            nonlocal seen
            tls, layout = self.tls(), self.layout
            with ThreadPoolExecutor(max(1, len(nodes))) as pool:
                said = list(pool.map(lambda n: monitoring.ready(layout.console(n), tls), nodes))
            unwell = [
                f"{node}: {answer.detail}"
                for node, answer in zip(nodes, said, strict=True)
                if not answer.ready
            ]
            seen = "; ".join(unwell[:3])
            return not unwell

        parts = [node_service(node) for node in nodes]
        self._await("quorum", ready, timeout_s, parts=parts, hint=lambda: seen)

    def await_balancers(self, regions: Sequence[str], timeout_s: float = 60) -> None:
        """Wait until a query goes through the balancers of regions."""
        seen = ""

        def ready() -> bool:
            nonlocal seen
            with ThreadPoolExecutor(max(1, len(regions))) as pool:
                seen = "; ".join(filter(None, pool.map(self._unreachable, regions)))
            return not seen

        parts = [balancer_service(region) for region in regions]
        self._await("balancers", ready, timeout_s, parts=parts, hint=lambda: seen)

    def _unreachable(self, region: str) -> str:
        """Why a region's balancer does not lead to the database, or an empty text."""
        try:
            with psycopg.connect(self.dsn(region), connect_timeout=3) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as error:
            return f"lb:{region}: {' '.join(str(error).split())[:160]}"
        return ""

    def _await(
        self,
        stage: str,
        ready: Callable[[], bool],
        timeout_s: float,
        *,
        parts: Iterable[str],
        hint: Callable[[], str] | None = None,
    ) -> None:
        """Wait; give up at once when one of the containers that it depends on has ended."""
        parts = list(parts)

        def check() -> bool:
            if ready():
                return True
            containers = self.containers()
            for part in parts:
                container = containers.get(part)
                if container is None or container.raw_state in ("exited", "dead"):
                    raise ClusterError(f"{stage}: {part} ended: {self._last_words(part)}")
            return False

        try:
            wait_until(check, what=stage, timeout_s=timeout_s, poll_s=0.3, hint=hint)
        except NotReady as error:
            raise NotReady(f"{error}; {self._advice()}") from None

    def _last_words(self, service: str) -> str:
        container = self.containers().get(service)
        return self.engine.last_words(container) if container else "its container was removed"

    def _advice(self) -> str:
        simpler = "`labkit up --backend cockroachdb --wan off`" if self.layout.wan else "--topology"
        return (
            f"logs are in {self.home / 'log'}; simpler to try after `labkit down --purge`: "
            f"{simpler}, or another COCKROACH_VERSION (this is {self.settings.version})"
        )

    def save_logs(self) -> None:
        """Keep what the containers said, before they are removed."""
        with suppress(LabError, OSError):
            folder = self.home / "log"
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(folder / "compose.log", self.compose.logs())


def start_everything(starter: Starter, on_stage: OnStage, *, served: bool) -> None:
    """Start what does not run of a whole lab and wait until it is in service.

    Raises:
        ClusterError: a part cannot be started; names the stage and its last log lines.
        NotReady: a stage took too long.
    """
    topology = starter.layout.topology
    starter.check(served)
    starter.render()
    starter.images(on_stage)
    running = starter.running()
    missing = set(starter.layout.services) - running
    # repeated at every cold start: it changes nothing, and mends a first start that was cut short
    cold = not running & {node_service(node) for node in topology.nodes}
    balancers = {balancer_service(region) for region in topology.region_names}
    if missing - balancers:
        on_stage("containers")
        starter.nodes()
    if cold or not served:
        on_stage("init")
        starter.init()
    on_stage("quorum: every node ready")
    starter.await_nodes(topology.nodes)
    if cold or not served:
        on_stage("regions and database")
        starter.database()
    if missing & balancers:
        on_stage("load balancers")
        starter.balancers()
    on_stage("a query through every balancer")
    starter.await_balancers(topology.region_names)
