"""The stages that containers need between nothing and a lab in service."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labkit.cluster.base import OnStage
from labkit.cluster.engines.cockroachdb import monitoring
from labkit.cluster.engines.cockroachdb.containers import render
from labkit.cluster.engines.cockroachdb.containers.layout import CERTIFICATES, INIT
from labkit.cluster.engines.cockroachdb.containers.settings import Settings
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.engines.cockroachdb.starting import (
    BALANCER_TIMEOUT_S,
    DOWN_S,
    INIT_TIMEOUT_S,
    Starter,
)
from labkit.cluster.folder import write_whole
from labkit.cluster.layout import WAN
from labkit.cluster.machines.compose import Compose, pull
from labkit.cluster.machines.containers import Containers
from labkit.cluster.machines.docker import Engine
from labkit.cluster.ports import require_free
from labkit.cluster.status import State
from labkit.errors import ClusterError, LabError
from labkit.topology import MAX_NODES, Node

MIB = 1 << 20
NODE_MIB = 400
"""What a node takes at the least: cache, SQL memory and the program itself. An estimate."""
CERTIFICATE_FILES = ("ca.crt", "client.root.crt", "client.root.key")


@dataclass(frozen=True)
class ComposeStarter(Starter):
    """Starts the containers of one lab."""

    parts = "containers"

    settings: Settings
    machine: Containers

    @property
    def _engine(self) -> Engine:
        return self.machine.engine

    @property
    def _compose(self) -> Compose:
        return self.machine.compose

    @property
    def binary(self) -> str:
        """The path of the `cockroach` program in its image."""
        return render.COCKROACH

    @property
    def certs(self) -> str | None:
        """The folder with certificates, in a node's container."""
        return render.CERTS if self.layout.secure else None

    # before anything is started

    def check(self, served: bool) -> None:
        """Refuse what cannot work, before anything is changed.

        Raises:
            LabMismatch: a Compose project of this name belongs to somebody else.
            PortInUse: a port is taken.
            ClusterError: too little memory, or a part of the data is gone.
        """
        self.machine.require_own(self.settings.lab_id)
        self._check_data(served, set(self._engine.volumes(self.settings.project)))
        if self.running():
            return  # ports are its own; a part that is missing is found out by Docker
        memory, nodes = self._engine.facts().memory_bytes // MIB, len(self.layout.topology.nodes)
        if memory < nodes * NODE_MIB:
            raise ClusterError(
                f"Docker has {memory} MiB of memory and {nodes} CockroachDB nodes need about "
                f"{nodes * NODE_MIB}: give Docker more, make a smaller --topology, or use "
                "`labkit up --backend embedded`"
            )
        require_free(self.layout.ports())

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
        folder = self._compose.file.parent
        folder.mkdir(mode=0o755, exist_ok=True)
        _copy_program(folder / "labkit")
        project = render.Project(
            self.settings.layout,
            self.settings.project,
            self.settings.lab_id,
            "./labkit",
            self._absent(),
        )
        for name, text in render.files(project).items():
            path = folder / name
            if path.exists() and name.endswith(".cfg"):
                # a file that is mounted into a container is seen there as long as it is the same
                if path.read_text(encoding="utf-8") != text:
                    path.write_text(text, encoding="utf-8")
            else:
                write_whole(path, text, mode=0o644)
        self.write_passfile()

    def _absent(self) -> tuple[Node, ...]:
        """Nodes that the override file speaks of and that are not there, yet or any more."""
        named = self._compose.overridden()
        shape = self.layout.topology
        nodes = (
            Node(region=region, index=index)
            for region in shape.region_names
            for index in range(1, MAX_NODES + 1)
        )
        return tuple(n for n in nodes if n not in shape.nodes and node_service(n) in named)

    # stages

    def fetch(self, on_stage: OnStage) -> None:
        """Stage images: fetch those that are not there."""
        for image in self.settings.image_names:
            if not self._engine.has_image(image):
                on_stage(f"images: fetching {image}")
                pull(image)

    def nodes(self) -> None:
        """Stage containers: create and start WAN, certificates and nodes."""
        services = [node_service(node) for node in self.layout.topology.nodes]
        self._compose.up([*([WAN] if self.layout.wan else []), *services])
        if self.layout.secure:
            self._fetch_certificates()

    def _fetch_certificates(self) -> None:
        """Copy what clients on this machine need out of the certificates' volume."""
        folder = self.home / "certs"
        folder.mkdir(mode=0o700, exist_ok=True)
        first = node_service(self.layout.topology.nodes[0])
        # through a node, which has the volume mounted: an archive of a container contains those
        found = self._engine.read_files(self.machine.all()[first], render.CERTS)
        for name in CERTIFICATE_FILES:
            if name not in found:
                raise ClusterError(
                    f"no {name} among the certificates: {self.machine.last_words(CERTIFICATES)}"
                )
            write_whole(folder / name, found[name].decode())

    def init(self) -> None:
        """Stage init: make the nodes one cluster. Repeating it does no harm."""
        self._compose.up([INIT], with_needed=False)

        def over() -> bool:
            container = self.machine.all().get(INIT)
            code = self._engine.exit_code(container) if container else None
            if code:
                raise ClusterError(f"init: `cockroach init`: {self.machine.last_words(INIT)}")
            return code == 0

        nodes = [node_service(node) for node in self.layout.topology.nodes]
        self.wait("init", over, INIT_TIMEOUT_S, parts=nodes)

    def tell_balancers(self) -> None:
        """Let the balancers that run read their configuration again, if it is another.

        SIGHUP is how the image reloads; sessions through a balancer that does are closed
        (https://hub.docker.com/_/haproxy, "Reloading config"; hard-stop-after).
        """
        states = self.machine.states()
        for region in self.layout.topology.region_names:
            if states.get(balancer_service(region)) is State.RUNNING:
                self._tell(region)

    def _tell(self, region: str) -> None:
        service = balancer_service(region)
        servers = self.layout.servers(region)
        wanted = {proxy: {one.name for one in found} for proxy, found in servers.items()}
        signalled = False

        def told() -> bool:
            nonlocal signalled
            there = monitoring.servers(self.layout.statistics(region))
            if there is not None and there != wanted and not signalled:
                signalled = True  # not before it answers: it would end
                self.machine.signal(service, "SIGHUP")
            return there == wanted

        self.wait("balancers", told, BALANCER_TIMEOUT_S, parts=[service])

    def _advice(self) -> str:
        simpler = "`labkit up --backend cockroachdb --wan off`" if self.layout.wan else "--topology"
        return (
            f"logs are in {self.home / 'log'}; simpler to try after `labkit down --purge`: "
            f"{simpler}, or another COCKROACH_VERSION (this is {self.settings.version})"
        )

    def stop_everything(self, on_stage: OnStage) -> None:
        """Remove the containers and networks; data stays in its volumes."""
        containers = self.machine.all()
        if containers:
            on_stage(f"{len(containers)} containers")
            self._engine.unpause(containers.values())
            self._compose.down(timeout_s=DOWN_S)

    def save_logs(self) -> None:
        """Keep what the containers said, before they are removed."""
        with suppress(LabError, OSError):
            folder = self.home / "log"
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(folder / "compose.log", self._compose.logs())


def _copy_program(folder: Path) -> None:
    """Have the WAN's program beside the Compose file, where Docker can mount it from.

    Docker Desktop mounts what is under the home folder and little else, colima nothing else; an
    installed package may lie anywhere.
    """
    package = Path(__file__).parents[4]
    parts = [package / name for name in render.PROGRAM]
    files = [path for part in parts for path in ([part] if part.suffix else part.glob("*.py"))]
    for path in files:
        copy = folder / path.relative_to(package)
        copy.parent.mkdir(exist_ok=True)
        copy.parent.chmod(0o755)  # the container's user is another, whatever this one's umask is
        write_whole(copy, path.read_text(encoding="utf-8"), mode=0o644)
