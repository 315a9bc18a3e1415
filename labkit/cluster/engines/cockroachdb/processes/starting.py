"""The stages that processes need between nothing and a lab in service."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from labkit.cluster import haproxy as running_haproxy
from labkit.cluster.base import OnStage
from labkit.cluster.engines.cockroachdb import haproxy, program
from labkit.cluster.engines.cockroachdb.layout import address, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.processes.commands import find_cockroach, placed_cockroach
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.engines.cockroachdb.starting import DOWN_S, INIT_TIMEOUT_S, Starter
from labkit.cluster.folder import remove_data, write_whole
from labkit.cluster.layout import WAN
from labkit.cluster.machines import reach
from labkit.cluster.machines.processes import Processes
from labkit.cluster.ports import HOST, require_free
from labkit.cluster.status import State
from labkit.errors import ClusterError

WAN_TIMEOUT_S = 15.0
CLIENT_FILES = ("ca.crt", "client.root.crt", "client.root.key")


@dataclass(frozen=True)
class ProcessStarter(Starter):
    """Starts the processes of one lab."""

    parts = "processes"

    layout: ProcessLayout
    machine: Processes

    @property
    def binary(self) -> str:
        """The path of the `cockroach` program, where servers may execute it."""
        return str(placed_cockroach(self.layout, self.machine.table.identity))

    @property
    def certs(self) -> str | None:
        """The folder with certificates; None without."""
        return self.layout.certs

    # before anything is started

    def check(self, served: bool) -> None:
        """Refuse what cannot work, before anything is changed.

        Raises:
            MissingBinary: there is no `cockroach` on PATH.
            PortInUse: a port is taken.
            ClusterError: a part of the data is gone.
        """
        find_cockroach()
        cold = not self.running()
        nodes = self.layout.topology.nodes
        lost = [node_service(node) for node in nodes if not self.layout.store(node).exists()]
        if served and lost:
            raise ClusterError(
                f"the data of {', '.join(lost)} is gone: `labkit down --purge` removes the rest, "
                "and `labkit up` begins afresh"
            )
        if cold:
            require_free(self.layout.ports())
            if not served:
                remove_data(self.layout.place, self.layout.topology.region_names)

    def render(self) -> None:
        """Write the configuration of balancers and WAN; folders that the processes write to."""
        layout, table = self.layout, self.machine.table
        user = table.identity
        reach.make_servers_folder(self.home, self.settings, user)
        table.folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (table.logs, layout.conf):
            user.make_folder(folder, written=False)
        stores = [layout.store(node) for node in layout.topology.nodes]
        for folder in (layout.place / "run", layout.all_data, *stores):
            user.make_folder(folder, written=True)
        for region in layout.topology.region_names:
            socket = layout.balancer_socket(region).relative_to(layout.place)
            text = haproxy.configuration(
                layout.servers(region),
                sql_bind=f"{HOST}:{layout.balancer(region)}",
                statistics_bind=f"{HOST}:{layout.statistics(region)}",
                resolver=None,
                secure=layout.secure,
                # relative to the folder that it is started in: its path must be short
                socket=f"unix@{socket}",
            )
            file = layout.conf / f"{balancer_service(region)}.cfg"
            write_whole(file, text)
            user.own(file)
        if layout.wan:
            plan = layout.wan_plan(self.secrets.wan, control_port=layout.wan_control, host=HOST)
            plan.save(layout.conf / "wan.json")
            user.own(layout.conf / "wan.json")
        self.write_passfile()

    # stages

    def fetch(self, on_stage: OnStage) -> None:
        """There is nothing to fetch: `check` has found the program."""

    def nodes(self) -> None:
        """Run the stage "processes": start the WAN, make certificates, start the nodes."""
        if self.wan is not None:
            self.machine.start([WAN])
            self.wait("WAN", self.wan.answers, WAN_TIMEOUT_S, parts=[WAN])
        if self.layout.certs is not None:
            self._make_certificates(self.layout.certs)
        self.machine.start([node_service(node) for node in self.layout.topology.nodes])

    def _make_certificates(self, certs: str) -> None:
        """Make them once, as the user that the nodes run as; clients have copies of their own."""
        table, authority = self.machine.table, self.layout.place / "authority"
        for folder in (Path(certs), authority):
            table.identity.make_folder(folder, written=True)
        script = program.certificates_script(
            self.binary, certs, str(authority), ["localhost", HOST]
        )
        done = subprocess.run(
            [*table.identity.prefix, "sh", "-c", script],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=table.environment(),
        )
        if done.returncode != 0:
            said = " ".join(done.stderr.split())[-300:]
            raise ClusterError(f"certificates: `cockroach cert` failed: {said}")
        folder = self.home / "certs"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name in CLIENT_FILES:
            write_whole(folder / name, (Path(certs) / name).read_text(encoding="utf-8"))

    def init(self) -> None:
        """Stage init: make the nodes one cluster. Repeating it does no harm."""
        first = self.layout.topology.nodes[0]
        host = address(self.layout.sql_from(first.region, first))
        said = ""

        def made() -> bool:
            nonlocal said
            try:
                self.cockroach(first, program.init(host, self.certs), INIT_TIMEOUT_S)
            except ClusterError as error:
                said = str(error)
            else:
                return True
            return program.ALREADY in said

        nodes = [node_service(node) for node in self.layout.topology.nodes]
        self.wait("init", made, INIT_TIMEOUT_S, parts=nodes, hint=lambda: said)

    def tell_balancers(self) -> None:
        """Let every balancer that runs have the nodes there are; sessions go on."""
        states = self.machine.states()
        regions = [
            region
            for region in self.layout.topology.region_names
            if states.get(balancer_service(region)) is State.RUNNING
        ]

        def tell(region: str) -> None:
            lines = haproxy.server_lines(self.layout.servers(region), secure=self.layout.secure)
            socket = self.layout.balancer_socket(region)
            parts = [balancer_service(region)]
            self.wait("balancers", lambda: running_haproxy.answers(socket), 30, parts=parts)
            running_haproxy.give(socket, lines)

        with ThreadPoolExecutor(max(1, len(regions))) as pool:
            list(pool.map(tell, regions))

    def _advice(self) -> str:
        simpler = "`labkit up --backend cockroach-binary --wan off`"
        tried = f"simpler to try after `labkit down --purge`: {simpler}, or " * self.layout.wan
        return f"logs are in {self.machine.table.logs}; {tried}a smaller --topology"

    def stop_everything(self, on_stage: OnStage) -> None:
        """Stop everything in order, and kill what does not stop."""
        machine, shape = self.machine, self.layout.topology
        on_stage("load balancers")
        machine.stop([balancer_service(region) for region in shape.region_names], timeout_s=3)
        on_stage("database nodes")
        machine.stop([node_service(node) for node in shape.nodes], timeout_s=DOWN_S)
        machine.stop([WAN], timeout_s=3)
        machine.kill_all_but(())
