"""CockroachDB in containers, behind the protocol of labkit.cluster.base."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Unpack
from urllib.parse import quote

from labkit.clock import wait_until
from labkit.cluster import folder, watchdogs
from labkit.cluster.base import ClusterStatus, Gather, LinkChange, OnStage, State, quiet
from labkit.cluster.cockroach import database, statements
from labkit.cluster.cockroach.database import Operator
from labkit.cluster.cockroach.view import View, Watch
from labkit.cluster.compose.engine import Container, Engine
from labkit.cluster.compose.evidence import failover_evidence
from labkit.cluster.compose.layout import HOST, WAN, Layout, balancer_service, node_service
from labkit.cluster.compose.making import make
from labkit.cluster.compose.project import Compose, find_compose
from labkit.cluster.compose.render import COMPOSE_FILE
from labkit.cluster.compose.settings import Secrets, Settings
from labkit.cluster.compose.starting import Starter, start_everything
from labkit.cluster.compose.status import Seen, cluster_status, look
from labkit.cluster.embedded.processes import uninterrupted
from labkit.errors import FaultUnavailable, LabBusy, LabError, NotReady, NotRunning, TopologyError
from labkit.topology import Balancer, Node, Region, SurvivalGoal, Target, Topology
from labkit.wan.client import WanClient

STOP_S = 60
"""How long a node may drain when it is shut down (node-shutdown.md)."""
DOWN_S = 8
"""How long everything may take when all of it goes: nobody is left to hand leases to."""
GOAL_TIMEOUT_S = 300.0
"""Replicas are moved in the background, at the pace of the cluster."""


class ComposeCluster:
    """CockroachDB nodes, a HAProxy a region and a WAN, in containers of one Compose project.

    Settings and secrets are kept in the state folder `home`, data in Docker's volumes; any number
    of ComposeCluster objects, in any process, may stand for the same lab.
    """

    backend = "cockroachdb"
    single_primary = False
    survival_goals = tuple(statements.GOALS)

    def __init__(self, home: Path) -> None:
        """The lab in `home`; use `create` or `attach`."""
        self.home = home
        self.settings = Settings.load(home)
        self._watch = Watch(self._ask)

    @classmethod
    def attach(cls, home: Path) -> ComposeCluster:
        """The lab that is in `home`, running or not.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
        """
        return cls(home)

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
    ) -> ComposeCluster:
        """The lab in `home`, made when there is none; nothing is started.

        What is None is as the lab has it, or the default for a new one. A survival goal that
        differs is taken over: it is the one setting that can change.

        Raises:
            LabMismatch: there is a lab with other settings.
            TopologyError: the topology or the engine cannot give the survival goal.
        """
        make(
            home,
            topology=topology,
            survive=survive,
            wan=wan,
            port_base=port_base,
            secure=secure,
        )
        lab = cls(home)
        if survive is not None and survive is not lab.settings.survive:
            lab.set_survival_goal(survive)
        return lab

    @property
    def topology(self) -> Topology:
        """Its shape."""
        return self.settings.topology

    @property
    def layout(self) -> Layout:
        """Its names and ports."""
        return self.settings.layout

    @cached_property
    def secrets(self) -> Secrets:
        """Its passwords."""
        return Secrets.load(self.home)

    @cached_property
    def engine(self) -> Engine:
        """The Docker engine.

        Raises:
            NoEngine: it cannot be used.
        """
        return Engine.connect()

    @cached_property
    def _compose(self) -> Compose:
        command, _ = find_compose()
        environment = {**self.settings.environment, "LABKIT_WAN_TOKEN": self.secrets.wan}
        file = self.home / "compose" / COMPOSE_FILE
        return Compose(command, self.settings.project, file, environment)

    @cached_property
    def _wan(self) -> WanClient | None:
        if not self.settings.wan:
            return None
        return WanClient(self.layout.wan_control, self.secrets.wan, timeout_s=2)

    @cached_property
    def _operator(self) -> Operator:
        parameters = {"sslmode": "disable", "gssencmode": "disable"}
        if self.settings.secure:
            certs = self.home / "certs"
            parameters |= {
                "sslmode": "verify-full",
                "sslrootcert": str(certs / "ca.crt"),
                "sslcert": str(certs / "client.root.crt"),
                "sslkey": str(certs / "client.root.key"),
            }
        ports = {node: self.layout.sql(node) for node in self.topology.nodes}
        return Operator(ports, parameters)

    def _tls(self) -> ssl.SSLContext | None:
        authority = self.home / "certs" / "ca.crt"
        if not self.settings.secure or not authority.exists():
            return None
        return ssl.create_default_context(cafile=str(authority))

    @property
    def _starter(self) -> Starter:
        return Starter(
            home=self.home,
            settings=self.settings,
            secrets=self.secrets,
            engine=self.engine,
            compose=self._compose,
            operator=self._operator,
            wan=self._wan,
            dsn=self.dsn,
            tls=self._tls,
        )

    @property
    def _served(self) -> Path:
        """There since the lab was in service for the first time: from then on its data counts."""
        return self.home / "served"

    # life

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent.

        Frozen containers are thawed and the WAN's links reset: a lab that `start` returned from
        has no fault in it. When it fails or is interrupted, what this call started is stopped.

        Raises:
            ClusterError: a part cannot be started; names it and its last log lines.
            NotReady: it was not in service in time.
        """
        with folder.locked(self.home):
            starter = self._starter
            with self._all_or_nothing(starter, on_stage):
                self._undo_faults()
                start_everything(starter, on_stage, served=self._served.exists())
                self._served.touch()

    def heal(self, on_stage: OnStage = quiet) -> None:
        """Undo every fault, whoever injected it, and wait until all is in service. Idempotent.

        Raises:
            NotRunning: the lab is stopped.
            NotReady: something did not come back in time.
        """
        if not self._containers():
            raise NotRunning("the lab is stopped: `labkit up` starts it")
        self.start(on_stage)

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Remove its containers and networks; data stays in its volumes. Idempotent."""
        watchdogs.end(self.home)  # they would start it again
        if not self._compose.file.exists():
            return  # it was never started
        with folder.locked(self.home), uninterrupted():
            containers = self._containers()
            if containers:
                on_stage(f"{len(containers)} containers")
                self.engine.unpause(containers.values())
                self._compose.down(timeout_s=DOWN_S)
            self._watch.forget()

    def purge(self) -> None:
        """Remove a stopped lab: its volumes and its state folder.

        Raises:
            LabBusy: it runs.
        """
        if self._compose.file.exists():
            if any(c.state is not State.DOWN for c in self._containers().values()):
                raise LabBusy(f"the lab in {self.home} runs: `labkit down` first")
            self._compose.down(timeout_s=DOWN_S, volumes=True)
        folder.remove(self.home)

    @contextmanager
    def _all_or_nothing(self, starter: Starter, on_stage: OnStage) -> Iterator[None]:
        """Stop what the block started when it fails or is interrupted."""
        before = starter.running()
        try:
            yield
        except BaseException:
            with uninterrupted():
                on_stage("stopping what was started")
                self._take_back(starter, before)
            raise
        finally:
            self._watch.forget()

    def _take_back(self, starter: Starter, before: set[str]) -> None:
        if not self._compose.file.exists() or self._foreign():
            return
        starter.save_logs()
        if before:
            started = [c for name, c in starter.containers().items() if name not in before]
            self.engine.stop(started, timeout_s=DOWN_S)
        else:
            # what never was in service holds nothing worth keeping
            self._compose.down(timeout_s=DOWN_S, volumes=not self._served.exists())

    def _foreign(self) -> bool:
        """Whether the project has containers or volumes that are not this lab's."""
        labs = {container.lab for container in self._containers().values()}
        labs |= set(self.engine.volumes(self.settings.project).values())
        return bool(labs - {self.settings.lab_id})

    # questions

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """A libpq URL of a region's balancer; read-only sessions read a local, older replica.

        Follower reads are at least 4.2 s old (follower-reads.md). In a secure lab the password is
        in the file that the URL names.

        Raises:
            UnknownTarget: no such region.
        """
        name = self.topology.region(region).name
        return self._url(self.layout.balancer(name), read_only=read_only)

    def failover_dsn(self, region: str) -> str:
        """A libpq URL of every balancer, as a client in `region` dials them: the nearest first.

        Raises:
            UnknownTarget: no such region.
        """
        name = self.topology.region(region).name
        nearest = self.topology.nearest_first(name)
        return self._url(*(self.layout.balancer_from(name, to) for to in nearest))

    def _url(self, *ports: int, read_only: bool = False) -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        query = ["sslmode=disable", "gssencmode=disable"]
        if self.settings.secure:
            authority, passfile = self.home / "certs" / "ca.crt", self.home / "pgpass"
            query = [
                "sslmode=verify-full",
                f"sslrootcert={quote(str(authority))}",
                f"passfile={quote(str(passfile))}",
            ]
        if read_only:
            query.append(f"options={quote('-c default_transaction_use_follower_reads=on')}")
        return f"postgresql://{statements.USER}@{hosts}/{statements.DATABASE}?{'&'.join(query)}"

    def status(self) -> ClusterStatus:
        """Ask every part, past the WAN. A second or so at most, whatever is broken."""
        return cluster_status(self._look(), self.engine, self.layout, self._wan)

    def leader(self, region: str | None = None) -> Node:
        """The node with most leases of the trading tables: of the region, where it has one.

        Without a region: of the database's primary region, else of all.

        Raises:
            UnknownTarget: no such region.
            NotReady: no node can say who holds leases.
        """
        place = None if region is None else self.topology.region(region).name
        found = self._look().leader(place, self.topology.region_names[0])
        if found is None:
            raise NotReady("no node is in service that could say who leads: see `labkit status`")
        return found

    def versions(self) -> dict[str, str]:
        """Name and version of each server program; CockroachDB's as it says itself when it runs."""
        images = self.settings.images
        found = {
            "cockroachdb": self.settings.version,
            "haproxy": images["HAPROXY_IMAGE"],
            "docker": self.engine.facts().version,
            "compose": find_compose()[1],
        }
        ready = self._look().ready
        if ready:
            with self._operator.connect(ready[0], timeout_ms=2000) as connection:
                row = connection.execute(statements.VERSION).fetchone()
            if row:
                found["cockroachdb"] = str(row[0])  # whole: a stand-in says here that it is one
        return found

    def _look(self) -> Seen:
        return look(self.engine, self.settings.project, self.layout, self._watch, self._tls())

    def _ask(self, node: Node) -> View:
        with self._operator.connect(node, timeout_ms=5000) as connection:
            if not database.exists(connection):
                return View(database.Leases({}), None)
            goal = database.survival_goal(connection)
            return View(database.leases(connection, self.topology), goal)

    def failover_evidence(self) -> AbstractContextManager[Gather]:
        """What the balancers and the database notice; `compose.evidence` says how exactly."""

        def leases(node: Node) -> Mapping[Node, int]:
            with self._operator.connect(node, timeout_ms=2000) as connection:
                return database.leases(connection, self.topology).held

        return failover_evidence(self.engine, self.settings.project, self.layout, leases)

    def _containers(self) -> dict[str, Container]:
        return self.engine.containers(self.settings.project)

    # faults

    def _of(self, target: Target) -> list[str]:
        """The services that a target stands for.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        region = self.topology.region(target.name if isinstance(target, Region) else target.region)
        if isinstance(target, Node):
            return [node_service(self.topology.node(target.name))]
        if isinstance(target, Balancer):
            return [balancer_service(region.name)]
        return self.layout.targets(region.name)

    def _targeted(self, target: Target) -> list[Container]:
        services, containers = self._of(target), self._containers()
        return [containers[name] for name in services if name in containers]

    def kill(self, target: Target) -> None:
        """SIGKILL every container of the target at once: a power cut.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a container did not die.
        """
        self.engine.kill(self._targeted(target))
        self._await_down(target, timeout_s=15)

    def shut_down(self, target: Target) -> None:
        """`docker stop`: a node drains and hands its leases over, HAProxy leaves.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it has not ended in time.
        """
        self.engine.stop(self._targeted(target), timeout_s=STOP_S)
        self._await_down(target, timeout_s=15)

    def _await_down(self, target: Target, timeout_s: float) -> None:
        wait_until(
            lambda: all(one.state is State.DOWN for one in self._targeted(target)),
            what=f"end of {target}",
            timeout_s=timeout_s,
            poll_s=0.02,
        )
        self._watch.forget()

    def pause(self, target: Target) -> None:
        """Freeze every container of the target: alive, but not answering.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.engine.pause(self._targeted(target))
        self._watch.forget()

    def resume(self, target: Target) -> None:
        """Thaw every container of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.engine.unpause(self._targeted(target))
        self._watch.forget()

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is not running of the target and wait until it is in service. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it did not come back in time.
        """
        services = self._of(target)
        with folder.locked(self.home):
            starter = self._starter
            with self._all_or_nothing(starter, on_stage):
                on_stage(f"starting {target}")
                there = self._targeted(target)
                self.engine.start(there)
                gone = set(services) - {container.service for container in there}
                if gone:  # somebody removed the container; its data is in a volume
                    self._compose.up(sorted(gone), with_needed=False)
                on_stage(f"{target} in service")
                regions = [r for r in self.topology.region_names if balancer_service(r) in services]
                nodes = [n for n in self.topology.nodes if node_service(n) in services]
                starter.await_nodes(nodes)
                starter.await_balancers(regions)

    def _undo_faults(self) -> None:
        """Thaw everything and reset the links; what is dead is for the caller to start."""
        containers = self._containers()
        self.engine.unpause(containers.values())
        if self._wan and WAN in containers and containers[WAN].state is not State.DOWN:
            self._wan.reset()

    # WAN

    def _require_wan(self) -> WanClient:
        if self._wan is None:
            raise FaultUnavailable(
                "this lab was made with --wan off: `labkit down --purge`, then `labkit up --wan on`"
            )
        return self._wan

    def set_link(self, source: str, target: str, **change: Unpack[LinkChange]) -> None:
        """Change one direction between two regions.

        Raises:
            FaultUnavailable: this lab has no WAN.
            UnknownTarget: no such region.
            BadInput: twice the same region, or a value out of range.
        """
        ends = self.topology.region(source).name, self.topology.region(target).name
        self._require_wan().change([{"source": ends[0], "target": ends[1], **change}])

    def reset_links(self) -> None:
        """Give every link the delay of the topology again. Idempotent.

        Raises:
            FaultUnavailable: this lab has no WAN.
        """
        self._require_wan().reset()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """The goal in force, as the database says; as the settings have it while it is down."""
        try:
            view = self._look().view
        except LabError:
            view = None
        return view.goal if view and view.goal else self.settings.survive

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change what commits wait for, and wait until replicas have been moved accordingly.

        Raises:
            TopologyError: this shape, or this engine, cannot give it.
            NotReady: it did not take effect in 300 s.
        """
        self.topology.check_survives(goal)
        if goal not in statements.GOALS:
            raise TopologyError(statements.NO_WEAKER_GOAL)
        ready = self._look().ready if self._compose.file.exists() else ()
        if ready:

            def in_force() -> bool:
                view = self._ask(ready[0])
                return view.goal is goal and database.obeys(view.leases, goal, self.topology)

            with self._operator.connect(ready[0], timeout_ms=120_000) as connection:
                database.set_survival_goal(connection, goal)
            wait_until(in_force, what=f"survival goal {goal}", timeout_s=GOAL_TIMEOUT_S, poll_s=1)
            self._watch.forget()
        self.settings = self.settings.model_copy(update={"survive": goal})
        self.settings.save(self.home)
