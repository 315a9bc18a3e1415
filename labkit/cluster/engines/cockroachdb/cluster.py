"""CockroachDB behind the protocol of labkit.cluster.base, whatever runs it."""

from __future__ import annotations

import ssl
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from labkit.clock import wait_until
from labkit.cluster.base import Gather, OnStage
from labkit.cluster.engines.cockroachdb import access, database, scaling, statements
from labkit.cluster.engines.cockroachdb.database import Operator
from labkit.cluster.engines.cockroachdb.engine import CockroachDB
from labkit.cluster.engines.cockroachdb.evidence import failover_evidence
from labkit.cluster.engines.cockroachdb.layout import Layout
from labkit.cluster.engines.cockroachdb.settings import CockroachSettings
from labkit.cluster.engines.cockroachdb.starting import Starter
from labkit.cluster.engines.cockroachdb.status import Seen, cluster_status, look
from labkit.cluster.engines.cockroachdb.view import View, Watch
from labkit.cluster.lab import Lab
from labkit.cluster.settings import LabSecrets
from labkit.cluster.status import ClusterStatus
from labkit.errors import ClusterError, LabError, NotReady, TopologyError
from labkit.topology import Node, SurvivalGoal, Topology

GOAL_TIMEOUT_S = 300.0
"""Replicas are moved in the background, at the pace of the cluster."""

S = TypeVar("S", bound=CockroachSettings)
L = TypeVar("L", bound=Layout)


class CockroachCluster(Lab[S, L]):
    """CockroachDB nodes, a HAProxy a region and a WAN, run by a `Machine`.

    Settings and secrets are kept in the state folder `home`.
    """

    single_primary = False
    survival_goals = tuple(statements.GOALS)

    def __init__(self, home: Path) -> None:
        """Read the lab in `home`; use `create` or `attach`."""
        super().__init__(home)
        self._watch = Watch(self._ask)

    # what runs it

    @abstractmethod
    def _starter_of(self, settings: S) -> Starter:
        """Return what starts the parts of a lab with these settings."""

    @property
    def _engine(self) -> CockroachDB:
        return CockroachDB(self._starter)

    @property
    def _starter(self) -> Starter:
        return self._starter_of(self.settings)

    @cached_property
    def secrets(self) -> LabSecrets:
        """Its passwords."""
        return LabSecrets.load(self.home)

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

    def _changed(self) -> None:
        self._watch.forget()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Return the goal in force: the database's, or that of the settings while it is down."""
        try:
            view = self._look().view
        except LabError:
            view = None
        return view.goal if view and view.goal else self.settings.survive

    def _obey(self, goal: SurvivalGoal) -> None:
        ready = self._look().ready if self._was_started() else ()
        if ready:

            def in_force() -> bool:
                try:
                    view = self._ask(ready[0])
                except ClusterError:  # a look that failed is no reason to give up
                    return False
                return view.goal is goal and database.obeys(view.leases, goal, self.topology)

            with self._operator.connect(ready[0], timeout_ms=120_000) as connection:
                database.set_survival_goal(connection, goal)
            wait_until(in_force, what=f"survival goal {goal}", timeout_s=GOAL_TIMEOUT_S, poll_s=1)

    @classmethod
    def _check_survives(cls, topology: Topology, goal: SurvivalGoal) -> None:
        super()._check_survives(topology, goal)
        if goal not in cls.survival_goals:
            raise TopologyError(statements.NO_WEAKER_GOAL)
        few = [region.name for region in topology.regions if region.nodes < database.ZONE_VOTERS]
        if goal is SurvivalGoal.ZONE and few:
            raise TopologyError(
                f"survive: CockroachDB keeps {database.ZONE_VOTERS} voters of a range in its home "
                f"region, so 'zone' takes as many nodes in each: {few[0]} has fewer"
            )

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
