"""The record of a run: everything that it is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from labkit.history import History
from labkit.measurement.outages import Healthy
from labkit.topology import Topology
from labkit.trading.audit import FinalRead
from labkit.verdict.finding import Finding
from labkit.verdict.summary import Summary


@dataclass(frozen=True)
class About:
    """The description of a run before it has measured anything.

    Attributes:
        scenario: its name, such as "node-loss".
        parameters: of the notebook.
        workload: what the clients did, for people and for comparing runs.
        versions: of the servers.
    """

    scenario: str
    backend: str
    topology: Topology
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    workload: Mapping[str, JsonValue] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, summary: Summary) -> About:
        """Read back what a judged run was about."""
        return cls(
            summary.scenario,
            summary.backend,
            summary.topology,
            summary.parameters,
            summary.workload,
            summary.versions,
        )

    @property
    def open_loop(self) -> bool:
        """Whether orders were sent by schedule, so that clients ask for service all the time."""
        return self.workload.get("concurrency") is None


@dataclass(frozen=True, eq=False)
class RunRecord:
    """The record of a run.

    Attributes:
        started_at: with a time zone; so is `finished_at`.
        ledger: ids of acknowledged orders, recorded outside the database.
        final: the read of the database after healing; None makes every checker UNKNOWN.
        opening: the read of the database before the load.
        steady_before: what was found of the steady state before the fault, None when nobody looked.
        steady_after: the same after it was healed.
        pauses: from when until when nobody watched, between trials: nothing is measured of what
            was due then, and each trial has phases of its own.
        healthy: what counts as service.
    """

    about: About
    history: History
    started_at: datetime
    finished_at: datetime
    ledger: Iterable[str] = ()
    final: FinalRead | None = None
    opening: FinalRead | None = None
    steady_before: Finding | None = None
    steady_after: Finding | None = None
    pauses: Sequence[tuple[float, float]] = ()
    healthy: Healthy = field(default_factory=Healthy)
