"""The embedded cluster behind the protocol of labkit.cluster.base."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from labkit import privileges
from labkit.cluster.base import Gather, OnStage, Rejoin
from labkit.cluster.engines.postgresql import config, scaling
from labkit.cluster.engines.postgresql.commands import command
from labkit.cluster.engines.postgresql.engine import PostgreSQL
from labkit.cluster.engines.postgresql.evidence import failover_evidence
from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.cluster.engines.postgresql.rejoin import rejoins
from labkit.cluster.engines.postgresql.settings import Secrets, Settings
from labkit.cluster.engines.postgresql.starting import Starter
from labkit.cluster.engines.postgresql.status import cluster_status
from labkit.cluster.machines import programs
from labkit.cluster.machines.base import running
from labkit.cluster.machines.lab import LabOfProcesses
from labkit.cluster.machines.processes import Processes
from labkit.cluster.ports import HOST
from labkit.cluster.processes import uninterrupted
from labkit.cluster.status import ClusterStatus
from labkit.errors import BadInput, ClusterError, LabError
from labkit.topology import Node, SurvivalGoal


class EmbeddedCluster(LabOfProcesses[Settings, Layout]):
    """PostgreSQL under Patroni, etcd, HAProxy and a WAN, as processes of this machine.

    Everything is kept in the state folder `home`.
    """

    settings_type = Settings

    backend = "embedded"
    single_primary = True
    survival_goals = (SurvivalGoal.NONE, SurvivalGoal.ZONE, SurvivalGoal.REGION)

    @classmethod
    def _asked_for(cls, secure: bool | None) -> dict[str, object]:
        if secure:
            raise BadInput(
                "the embedded backend always has passwords and a certificate: "
                "--secure goes with `--backend cockroachdb` and `cockroach-binary`"
            )
        if problem := privileges.obstacle():
            raise ClusterError(problem)
        return {}

    @classmethod
    def _layout_of(cls, home: Path, settings: Settings) -> Layout:
        return Layout(
            home,
            settings.topology,
            settings.port_base,
            settings.wan,
            settings.servers_at,
        )

    @cached_property
    def secrets(self) -> Secrets:
        """Its passwords."""
        return Secrets.load(self.home)

    @property
    def machine(self) -> Processes:
        """Return what starts and ends the processes of this lab."""
        return self._machine_of(self.layout)

    def _machine_of(self, layout: Layout) -> Processes:
        data = {member_name(node): layout.data(node) for node in layout.topology.nodes}
        return Processes(self.table, partial(command, layout, self.table.identity), data)

    @property
    def _engine(self) -> PostgreSQL:
        return PostgreSQL(self._starter)

    @property
    def _starter(self) -> Starter:
        return self._starter_of(self.settings)

    def _starter_of(self, settings: Settings) -> Starter:
        layout = self._layout_of(self.home, settings)
        return Starter(settings, self.secrets, layout, self._machine_of(layout), self._wan)

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

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Return the goal in force, as the lab's settings have it."""
        return self.settings.survive

    def _obey(self, goal: SurvivalGoal) -> None:
        if running(self.machine):
            scaling.obey(self._starter, self.topology, goal)

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
