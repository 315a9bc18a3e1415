"""CockroachDB behind the protocol of labkit.cluster.base, whatever runs it."""

from __future__ import annotations

import ssl
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from labkit.clock import wait_until
from labkit.cluster import folder
from labkit.cluster.base import Gather, OnStage, quiet
from labkit.cluster.engines.cockroachdb import access, database, scaling, statements
from labkit.cluster.engines.cockroachdb.database import Operator
from labkit.cluster.engines.cockroachdb.evidence import failover_evidence
from labkit.cluster.engines.cockroachdb.layout import Layout, balancer_service, node_service
from labkit.cluster.engines.cockroachdb.settings import CockroachSettings
from labkit.cluster.engines.cockroachdb.starting import Starter, start_everything
from labkit.cluster.engines.cockroachdb.status import Seen, cluster_status, look
from labkit.cluster.engines.cockroachdb.view import View, Watch
from labkit.cluster.lab import LocalLab
from labkit.cluster.layout import WAN
from labkit.cluster.machines.base import Machine
from labkit.cluster.processes import uninterrupted
from labkit.cluster.settings import LabSecrets
from labkit.cluster.status import ClusterStatus, State
from labkit.errors import LabError, NotReady, TopologyError
from labkit.topology import Node, SurvivalGoal, Target, Topology
from labkit.wan.client import WanClient

DOWN_S = 8
"""How long everything may take when all of it goes: nobody is left to hand leases to."""
GOAL_TIMEOUT_S = 300.0
"""Replicas are moved in the background, at the pace of the cluster."""

S = TypeVar("S", bound=CockroachSettings)
L = TypeVar("L", bound=Layout)


class CockroachCluster(LocalLab[S, L]):
    """CockroachDB nodes, a HAProxy a region and a WAN, run by a `Machine`.

    Settings and secrets are kept in the state folder `home`.
    """

    backend: ClassVar[str]
    single_primary = False
    survival_goals = tuple(statements.GOALS)

    def __init__(self, home: Path) -> None:
        """Read the lab in `home`; use `create` or `attach`."""
        super().__init__(home)
        self._watch = Watch(self._ask)

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
    ) -> Self:
        """Return the lab in `home`, made when there is none; nothing is started.

        What is None is as the lab has it, or the default for a new one. A survival goal that
        differs is taken over.

        Raises:
            LabMismatch: there is a lab with other settings.
            TopologyError: the topology or the engine cannot give the survival goal, or there
                are more parts than ports.
        """
        return cls._made(
            home,
            topology=topology,
            survive=survive,
            asked={"wan": wan, "port_base": port_base, "secure": secure, **cls._asked_for()},
            more=cls._made_with(home),
        )

    @classmethod
    def _asked_for(cls) -> dict[str, object]:
        """Further settings that the environment asks for; None asks for nothing."""
        return {}

    @classmethod
    def _made_with(cls, _home: Path) -> dict[str, object]:
        """Further settings of a new lab."""
        return {}

    # what runs it

    @property
    @abstractmethod
    def machine(self) -> Machine:
        """Return what runs its services.

        Raises:
            MissingBinary: there is no such thing here.
        """

    @abstractmethod
    def _starter_of(self, settings: S) -> Starter:
        """Return what starts the parts of a lab with these settings."""

    @abstractmethod
    def _take_back(self, starter: Starter, before: set[str]) -> None:
        """Stop what runs and is not among `before`."""

    @abstractmethod
    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything; data stays. Idempotent."""

    @property
    def _starter(self) -> Starter:
        return self._starter_of(self.settings)

    @cached_property
    def secrets(self) -> LabSecrets:
        """Its passwords."""
        return LabSecrets.load(self.home)

    @cached_property
    def _wan(self) -> WanClient | None:
        if not self.settings.wan:
            return None
        return WanClient(self.layout.wan_control, self.secrets.wan, timeout_s=2)

    @property
    def _operator(self) -> Operator:
        return access.operator(self.home, self.layout)

    def _tls(self) -> ssl.SSLContext | None:
        return access.tls(self.home, secure=self.settings.secure)

    def _parts_of(self, settings: S) -> dict[str, Any]:
        """Return what every `Starter` is made of."""
        layout = self._layout_of(self.home, settings)
        return {
            "home": self.home,
            "settings": settings,
            "layout": layout,
            "secrets": self.secrets,
            "machine": self.machine,
            "operator": access.operator(self.home, layout),
            "wan": self._wan,
            "dsn": self.dsn,
            "tls": self._tls,
        }

    @property
    def _served(self) -> Path:
        """There since the lab was in service for the first time: from then on its data counts."""
        return self.home / "served"

    # life

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent.

        What is frozen is thawed and the WAN's links reset: a lab that `start` returned from has no
        fault in it. When it fails or is interrupted, what this call started is stopped.

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

    def _is_there(self) -> bool:
        """Tell whether anything of it runs, or died and was not taken down."""
        return bool(self.machine.states())

    @contextmanager
    def _all_or_nothing(self, starter: Starter, on_stage: OnStage) -> Iterator[None]:
        """Stop what the block started when it fails or is interrupted."""
        before = starter.running()
        try:
            yield
        except BaseException:
            with uninterrupted():
                if self._was_started() and starter.running() - before:
                    on_stage("stopping what was started")
                self._take_back(starter, before)
            raise
        finally:
            self._watch.forget()

    # questions

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """Return a URL of a region's balancer; read-only sessions read a local, older replica.

        Follower reads are at least 4.2 s old (follower-reads.md). In a secure lab the password is
        in the file that the URL names.

        Raises:
            UnknownTarget: no such region.
        """
        name = self.topology.region(region).name
        return self._url(self.layout.balancer(name), read_only=read_only)

    def _url(self, *ports: int, read_only: bool = False) -> str:
        return access.url(self.home, *ports, secure=self.settings.secure, read_only=read_only)

    def status(self) -> ClusterStatus:
        """Ask every part, past the WAN. A second or so at most, whatever is broken."""
        return cluster_status(
            self.backend, self._look(), self.machine, self.layout, self._wan, self._tls()
        )

    def leader(self, region: str | None = None) -> Node:
        """Return the node with most leases of the trading tables: of the region, where it has one.

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

    def _version(self) -> str | None:
        """Return what CockroachDB says it is; whole, as a stand-in says here that it is one."""
        ready = self._look().ready
        if not ready:
            return None
        with self._operator.connect(ready[0], timeout_ms=2000) as connection:
            row = connection.execute(statements.VERSION).fetchone()
        return str(row[0]) if row else None

    def _look(self) -> Seen:
        return look(self.machine, self.layout, self._watch, self._tls())

    def _ask(self, node: Node) -> View:
        with self._operator.connect(node, timeout_ms=5000) as connection:
            if not database.exists(connection):
                return View(database.Leases({}), None)
            goal = database.survival_goal(connection)
            return View(database.leases(connection, self.topology), goal)

    def failover_evidence(self) -> AbstractContextManager[Gather]:
        """Gather what the balancers and the database notice (see `evidence`)."""

        def leases(node: Node) -> Mapping[Node, int]:
            with self._operator.connect(node, timeout_ms=2000) as connection:
                return database.leases(connection, self.topology).held

        return failover_evidence(self.machine, self.layout, leases)

    # faults

    def kill(self, target: Target) -> None:
        """SIGKILL every part of the target at once: a power cut.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a part did not die.
        """
        services = self.layout.of(target)
        self.machine.kill(services)
        self._await_down(services, target)

    def shut_down(self, target: Target) -> None:
        """SIGTERM: a node drains and hands its leases over, HAProxy leaves.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it has not ended in time.
        """
        services = self.layout.of(target)
        self.machine.stop(services, timeout_s=scaling.STOP_S)
        self._await_down(services, target)

    def _await_down(self, services: Sequence[str], target: Target) -> None:
        def down() -> bool:
            states = self.machine.states()
            return all(states.get(name, State.DOWN) is State.DOWN for name in services)

        self.machine.wait_until(down, f"end of {target}", timeout_s=15)
        self._watch.forget()

    def pause(self, target: Target) -> None:
        """Freeze every part of the target: alive, but not answering.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.machine.pause(self.layout.of(target))
        self._watch.forget()

    def resume(self, target: Target) -> None:
        """Thaw every part of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.machine.resume(self.layout.of(target))
        self._watch.forget()

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is not running of the target and wait until it is in service. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it did not come back in time.
        """
        services = self.layout.of(target)
        with folder.locked(self.home):
            starter = self._starter
            with self._all_or_nothing(starter, on_stage):
                on_stage(f"starting {target}")
                starter.render()
                self.machine.start(services)
                on_stage(f"{target} in service")
                regions = [r for r in self.topology.region_names if balancer_service(r) in services]
                starter.await_nodes([n for n in self.topology.nodes if node_service(n) in services])
                starter.tell_balancers()
                starter.await_balancers(regions)

    def _undo_faults(self) -> None:
        """Thaw everything and reset the links; what is dead is for the caller to start."""
        states = self.machine.states()
        self.machine.resume(list(states))
        if self._wan and states.get(WAN, State.DOWN) is not State.DOWN:
            self._wan.reset()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Return the goal in force: the database's, or that of the settings while it is down."""
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
        self._check_survives(self.topology, goal)
        ready = self._look().ready if self._was_started() else ()
        if ready:

            def in_force() -> bool:
                view = self._ask(ready[0])
                return view.goal is goal and database.obeys(view.leases, goal, self.topology)

            with self._operator.connect(ready[0], timeout_ms=120_000) as connection:
                database.set_survival_goal(connection, goal)
            wait_until(in_force, what=f"survival goal {goal}", timeout_s=GOAL_TIMEOUT_S, poll_s=1)
        self._save(self.settings.model_copy(update={"survive": goal}))

    @classmethod
    def _check_survives(cls, topology: Topology, goal: SurvivalGoal) -> None:
        super()._check_survives(topology, goal)
        if goal not in cls.survival_goals:
            raise TopologyError(statements.NO_WEAKER_GOAL)

    # shape

    def _save(self, settings: S) -> None:
        super()._save(settings)
        self._watch.forget()  # what was seen was of another shape, or goal

    def _add(self, node: Node, on_stage: OnStage) -> None:
        scaling.add(self._starter, node, on_stage)

    def _withdraw(self, node: Node, before: S) -> None:
        scaling.withdraw(self._starter, self._starter_of(before), node)
        self._save(before)

    def _remove(self, node: Node, after: S, on_stage: OnStage) -> None:
        starter, rest = self._starter, self._starter_of(after)
        scaling.decommission(starter, rest, node, on_stage)
        self._save(after)
        scaling.take_out(starter, rest, node)
