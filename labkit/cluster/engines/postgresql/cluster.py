"""The embedded cluster behind the protocol of labkit.cluster.base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from labkit import privileges
from labkit.cluster import folder
from labkit.cluster.base import Gather, OnStage, Rejoin, quiet
from labkit.cluster.engines.postgresql import config, scaling
from labkit.cluster.engines.postgresql.commands import command
from labkit.cluster.engines.postgresql.evidence import failover_evidence
from labkit.cluster.engines.postgresql.layout import Layout, balancer_name, etcd_name, member_name
from labkit.cluster.engines.postgresql.rejoin import rejoins
from labkit.cluster.engines.postgresql.settings import Secrets, Settings
from labkit.cluster.engines.postgresql.stages import start_everything, stop_everything
from labkit.cluster.engines.postgresql.starting import Starter, service_timeout_s
from labkit.cluster.engines.postgresql.status import cluster_status
from labkit.cluster.lab import LocalLab
from labkit.cluster.layout import WAN
from labkit.cluster.machines import programs, reach
from labkit.cluster.machines.base import running
from labkit.cluster.machines.processes import Processes
from labkit.cluster.ports import HOST
from labkit.cluster.processes import ProcessTable, uninterrupted
from labkit.cluster.status import ClusterStatus
from labkit.errors import BadInput, ClusterError, LabBusy, LabError
from labkit.topology import Node, SurvivalGoal, Target, Topology
from labkit.wan.client import WanClient

STOP_S = 30.0
"""How long a part may take to end when it is shut down."""


class EmbeddedCluster(LocalLab[Settings, Layout]):
    """PostgreSQL under Patroni, etcd, HAProxy and a WAN, as processes of this machine.

    Everything is kept in the state folder `home`.
    """

    settings_type = Settings

    backend = "embedded"
    single_primary = True
    survival_goals = (SurvivalGoal.NONE, SurvivalGoal.ZONE, SurvivalGoal.REGION)

    @classmethod
    def create(
        cls,
        home: Path,
        *,
        topology: Topology | None = None,
        survive: SurvivalGoal | None = None,
        wan: bool | None = None,
        port_base: int | None = None,
        secure: bool | None = None,
    ) -> EmbeddedCluster:
        """Return the lab in `home`, made when there is none; nothing is started.

        What is None is as the lab has it, or the default for a new one. A survival goal that
        differs is taken over: it is the one setting that can change.

        Raises:
            LabMismatch: there is a lab with another topology, WAN or ports.
            TopologyError: the topology cannot give the survival goal, or has more parts than there
                are ports.
            BadInput: it is to be secured.
        """
        if secure:
            raise BadInput(
                "the embedded backend always has passwords and a certificate: "
                "--secure goes with `--backend cockroachdb` and `cockroach-binary`"
            )
        if problem := privileges.obstacle():
            raise ClusterError(problem)
        return cls._made(
            home,
            topology=topology,
            survive=survive,
            asked={"wan": wan, "port_base": port_base},
        )

    @classmethod
    def _layout_of(cls, home: Path, settings: Settings) -> Layout:
        return Layout(
            home,
            settings.topology,
            settings.port_base,
            settings.wan,
            settings.servers_at,
        )

    @classmethod
    def _settled(cls, home: Path, settings: Settings) -> Settings:
        return reach.settled(home, settings)

    @cached_property
    def secrets(self) -> Secrets:
        """Its passwords."""
        return Secrets.load(self.home)

    @cached_property
    def table(self) -> ProcessTable:
        """Its processes."""
        processes, logs = self.layout.processes, self.layout.logs
        user = reach.identity(self.home, self.settings)
        return ProcessTable(processes, logs, self.settings.lab_id, user)

    @cached_property
    def _wan(self) -> WanClient | None:
        if not self.settings.wan:
            return None
        return WanClient(self.layout.wan_control, self.secrets.wan)

    @property
    def machine(self) -> Processes:
        """Its processes, by service."""
        return self._machine_of(self.layout)

    def _machine_of(self, layout: Layout) -> Processes:
        data = {member_name(node): layout.data(node) for node in layout.topology.nodes}
        return Processes(self.table, partial(command, layout, self.table.identity), data)

    @property
    def _starter(self) -> Starter:
        return self._starter_of(self.settings)

    def _starter_of(self, settings: Settings) -> Starter:
        layout = self._layout_of(self.home, settings)
        return Starter(settings, self.secrets, layout, self._machine_of(layout), self._wan)

    # life

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent.

        Frozen processes are thawed and the WAN's links reset: a lab that `start` returned from
        has no fault in it. When it fails or is interrupted, what this call started is stopped.

        Raises:
            ClusterError: a part cannot be started; names it and its last log lines.
            NotReady: it was not in service in time.
        """
        with folder.locked(self.home):
            if not self.layout.served.exists():
                # what a first start left that was killed: the next one begins afresh
                self.machine.kill_all_but(())
            self._start(on_stage)

    def _start(self, on_stage: OnStage) -> None:
        with self._all_or_nothing(on_stage):
            self._undo_faults()
            start_everything(self._starter, on_stage)

    def _is_there(self) -> bool:
        return bool(running(self.machine))

    def _was_started(self) -> bool:
        return self.layout.processes.exists()

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything; data stays. Idempotent; leaves no process, also none that strayed."""
        self._end_runs(on_stage)
        with folder.locked(self.home), uninterrupted():
            if self._was_started():
                stop_everything(self._starter, on_stage)

    def purge(self) -> tuple[str, ...]:
        """Remove the state folder of a stopped lab, data and all.

        Returns:
            The names in the state folder that are not labkit's and were left.

        Raises:
            LabBusy: it runs.
        """
        if running(self.machine):
            raise LabBusy(f"the lab in {self.home} runs: `labkit down` first")
        reach.remove_servers_folder(self.settings)
        return self._remove_folder()

    @contextmanager
    def _all_or_nothing(self, on_stage: OnStage) -> Iterator[None]:
        """Stop what the block started when it fails or is interrupted.

        Before it begins, what an earlier one left that could not do so itself (its process was
        killed) is ended: it would hold ports, and nobody knows in what state it is.
        """
        before = running(self.machine)
        self.machine.kill_all_but(before)
        try:
            yield
        except BaseException:
            with uninterrupted():
                if running(self.machine) != before:
                    on_stage("stopping what was started")
                self.machine.kill_all_but(before)
            raise

    # questions

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """Return a libpq URL of a region's balancer. The password is in the file that it names.

        Raises:
            UnknownTarget: no such region.
        """
        name = self.topology.region(region).name
        return self._url(self.layout.read_only(name) if read_only else self.layout.read_write(name))

    def _url(self, *ports: int) -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        return (
            f"postgresql://{config.TRADER}@{hosts}/{config.DATABASE}"
            # TLS and Kerberos on loopback would cost two round trips a connection
            f"?sslmode=disable&gssencmode=disable&passfile={quote(str(self.layout.passfile))}"
        )

    def password(self) -> str:
        """Return the password that belongs to `dsn`, for clients that are not libpq."""
        return self.secrets.trader

    def status(self) -> ClusterStatus:
        """Ask every part, past the WAN. A second or so at most, whatever is broken."""
        return cluster_status(self._starter)

    def rejoins(self, since: datetime) -> tuple[Rejoin, ...]:
        """List the nodes that came back after a moment, and how, from what their Patroni logged."""
        return rejoins(self.layout, since)

    def pids(self) -> list[int]:
        """Every live process of the lab."""
        return self.machine.processes(self.layout.services)

    def versions(self) -> dict[str, str]:
        """Name and version of each server program, as the next start will use them."""
        found = (programs.postgres(), programs.etcd(), programs.haproxy())
        return {
            **{program.name: program.release for program in found},
            "patroni": version("patroni"),
        }

    def leader(self, region: str | None = None) -> Node:
        """Return the primary. This engine has one, so `region` makes no difference.

        Raises:
            UnknownTarget: no such region.
            NotReady: there is no primary right now.
        """
        if region is not None:
            self.topology.region(region)
        return self._starter.primary()

    def failover_evidence(self) -> AbstractContextManager[Gather]:
        """Gather what etcd, Patroni and the balancers notice (see `evidence`)."""
        return failover_evidence(self.layout, self.secrets.rest_api)

    # faults

    def kill(self, target: Target) -> None:
        """SIGKILL every process of the target at once: a power cut.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a process did not die.
        """
        self.machine.kill(self.layout.of(target))

    def shut_down(self, target: Target) -> None:
        """SIGTERM: Patroni stops its PostgreSQL and hands over, HAProxy and etcd leave in order.

        What has not ended after 30 s is killed.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.machine.stop(self.layout.of(target), timeout_s=STOP_S)

    def pause(self, target: Target) -> None:
        """SIGSTOP every process of the target: alive, but not answering.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a process of it does not stand still.
        """
        self.machine.pause(self.layout.of(target))

    def resume(self, target: Target) -> None:
        """SIGCONT every process of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.machine.resume(self.layout.of(target))

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is not running of the target and wait until it is in service. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it did not come back in time.
        """
        services = self.layout.of(target)
        with folder.locked(self.home), self._all_or_nothing(on_stage):
            starter = self._starter
            nodes = [node for node in self.topology.nodes if member_name(node) in services]
            missing = [node for node in nodes if self.table.pid(member_name(node)) is None]
            starter.prepare(len(missing))
            regions = [r for r in self.topology.region_names if balancer_name(r) in services]
            starter.check_ports(missing, regions)
            on_stage(f"starting {target}")
            starter.start_etcd(r for r in self.topology.region_names if etcd_name(r) in services)
            starter.start_balancers(regions)
            with starter.forker() as forker:
                forker.start(missing)
            on_stage(f"{target} in service")
            timeout_s = service_timeout_s(self.topology)
            starter.await_replication(nodes, timeout_s)
            starter.await_balancers(regions, timeout_s)

    def _undo_faults(self) -> None:
        """Thaw everything and reset the links; what is dead is for the caller to start."""
        self.machine.resume(self.layout.services)
        if self._wan and self.table.pid(WAN) is not None:
            self._wan.reset()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Return the goal in force, as the lab's settings have it."""
        return self.settings.survive

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change what commits wait for, and wait until they do.

        Raises:
            TopologyError: this shape cannot give it.
            NotReady: there is no primary, or it did not take effect in time.
        """
        self._check_survives(self.topology, goal)
        if running(self.machine):
            scaling.obey(self._starter, self.topology, goal)
        self._save(self.settings.model_copy(update={"survive": goal}))

    # maintenance and shape

    def hand_over(self, node: Node) -> Node:
        """Let another node lead by a switchover of Patroni's, one of its region where possible.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: there is no other node that could, or it did not in time.
        """
        return scaling.hand_over(self._starter, self.topology.node(node.name))

    def _add(self, node: Node, on_stage: OnStage) -> None:
        with self._all_or_nothing(on_stage):
            scaling.add(self._starter, node, on_stage)

    def _withdraw(self, node: Node, before: Settings) -> None:
        scaling.forget(self._starter, node)
        self._save(before)
        self._settle()

    def _remove(self, node: Node, after: Settings, on_stage: OnStage) -> None:
        starter, rest = self._starter, self._starter_of(after)
        try:
            scaling.remove(starter, rest, node, on_stage)
        except BaseException:
            with uninterrupted():
                self._settle()
            raise
        self._save(after)
        scaling.forget(starter, node)
        rest.prepare(0)
        with suppress(LabError):  # a WAN that does not run starts with the nodes there are
            rest.tell_wan()
        on_stage(f"the primary forgets {node}")
        scaling.release_log(rest, node)

    def _settle(self) -> None:
        """Let commits and balancers be as the shape is, after a change of it went wrong."""
        starter = self._starter
        starter.prepare(0)
        with suppress(LabError):  # `labkit heal` does it again
            scaling.obey(starter, self.topology, self.settings.survive)
            starter.tell_balancers()
            starter.tell_wan()
