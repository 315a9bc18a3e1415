"""Makes the result of a run from what it recorded."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import ParamSpec, TypeVar

import numpy as np

from labkit.history import History
from labkit.measurement.latency import latency_table
from labkit.measurement.possible import every_row, without
from labkit.measurement.recovery import recovery, rpo_s
from labkit.measurement.service import failures, service
from labkit.measurement.staleness import staleness
from labkit.measurement.waterfall import waterfalls
from labkit.measurement.windows import due_within
from labkit.record import FaultWindow
from labkit.verdict.checkers import CHECKERS, Checker
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, guarded, in_one_line
from labkit.verdict.recording import RECORDING, impossible, recording
from labkit.verdict.result import Result
from labkit.verdict.run import RunRecord
from labkit.verdict.sound import nobody_looked
from labkit.verdict.summary import Machine, Summary

P = ParamSpec("P")
T = TypeVar("T")
Nothing = TypeVar("Nothing")

MEASUREMENT = "measurement"
"""The finding that says which measurement broke down; there is none where none did."""


def judge(run: RunRecord, checkers: Sequence[Checker] = CHECKERS) -> Result:
    """Measure and judge a run.

    Args:
        checkers: by default all that a trading run is judged by.

    Returns:
        The result; its verdict is the worst of the findings. A fault without effect makes it
        UNKNOWN at best, because such a run shows a healthy system and nothing else. Rows of the
        history that cannot be are left out of what is measured, and make it UNKNOWN at best. What
        was due after the watch ended is checked, and not measured. A checker or a measurement that
        breaks down makes its own finding UNKNOWN; the rest is judged all the same.
    """
    about, healthy = run.about, run.healthy
    measure = _Measuring()
    recorded = measure("evidence", None, _evidence, run)
    wrong = measure("rows that cannot be", {}, _impossible, recorded)
    rows = every_row(wrong)
    evidence = measure("evidence without them", None, _without, recorded, rows)
    watched = measure("what was watched", run.history, _watched, run, rows)
    summary = Summary(
        scenario=about.scenario,
        backend=about.backend,
        topology=about.topology,
        parameters=dict(about.parameters),
        workload=dict(about.workload),
        started_at=run.started_at,
        finished_at=run.finished_at,
        findings=(),
        healthy=healthy,
        recovery=measure("recovery", (), recovery, watched, healthy, open_loop=about.open_loop),
        rpo_s=measure("RPO", None, _rpo_s, watched, evidence),
        latency=measure("latency", (), latency_table, watched, healthy, run.pauses),
        staleness=measure("staleness", (), staleness, watched),
        waterfalls=measure("waterfall", (), waterfalls, watched),
        # who waits for a reply does not ask for service meanwhile, so what was lost is not known
        service=(
            measure("service", (), service, watched, healthy, run.pauses) if about.open_loop else ()
        ),
        failures=measure("failures", (), failures, watched, healthy, run.pauses),
        versions={
            "labkit": version("labkit"),
            "python": platform.python_version(),
            **about.versions,
        },
        machine=Machine.here(),
    )
    found = (
        run.steady_before,
        guarded("fault_took_effect", fault_took_effect, run.history.faults),
        run.steady_after,
        guarded(RECORDING, _recording, recorded, wrong),
        *(guarded(checker.name, _check, checker, evidence) for checker in checkers),
        measure.finding,
    )
    result = Result(summary, run.history).with_findings(one for one in found if one is not None)
    return result.with_findings(nobody_looked(result.summary))


class _Measuring:
    """Measures one thing after another, and remembers what broke down."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def __call__(
        self,
        what: str,
        nothing: Nothing,
        measure: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T | Nothing:
        """Measure; return `nothing` where that breaks down."""
        try:
            return measure(*args, **kwargs)
        except Exception as error:
            self.broken.append(f"{what}: {in_one_line(error)}")
            return nothing

    @property
    def finding(self) -> Finding | None:
        """Name what broke down; None where nothing did."""
        if not self.broken:
            return None
        return Finding(
            MEASUREMENT,
            Verdict.UNKNOWN,
            f"a measurement broke down: {self.broken[0]}",
            tuple(self.broken[:OFFENDERS_SHOWN]),
            len(self.broken),
        )


def _evidence(run: RunRecord) -> Evidence:
    return Evidence.of(run.ledger, run.history, run.final, run.opening)


def _impossible(evidence: Evidence | None) -> dict[str, np.ndarray]:
    return {} if evidence is None else impossible(evidence)


def _without(evidence: Evidence | None, rows: np.ndarray) -> Evidence | None:
    return evidence.sound(rows) if evidence is not None and rows.size else evidence


def _watched(run: RunRecord, rows: np.ndarray) -> History:
    return without(run.history, np.union1d(rows, due_within(run.history, run.pauses)))


def _rpo_s(watched: History, evidence: Evidence | None) -> float | None:
    if evidence is None or evidence.final is None:
        return None
    return rpo_s(watched, evidence.lost)


def _recording(evidence: Evidence | None, wrong: dict[str, np.ndarray]) -> Finding:
    return recording(evidence, wrong) if evidence is not None else _no_evidence(RECORDING)


def _check(checker: Checker, evidence: Evidence | None) -> Finding | None:
    return checker.check(evidence) if evidence is not None else _no_evidence(checker.name)


def _no_evidence(checker: str) -> Finding:
    return Finding(checker, Verdict.UNKNOWN, "the evidence broke down, so there is none to look at")


def fault_took_effect(faults: Sequence[FaultWindow]) -> Finding | None:
    """Tell whether a probe saw the effect of every fault; None when there was no fault.

    Proves: something was broken, so that what held, held under it.
    Cannot: tell that nothing else broke at the same time.
    """
    if not faults:
        return None
    missed = [fault for fault in faults if fault.took_effect_s is None]
    if missed:
        return Finding(
            "fault_took_effect",
            Verdict.UNKNOWN,
            f"void: {missed[0].label} was injected and took no effect",
            tuple(f"{fault.label}: {fault.detail or 'no effect seen'}" for fault in missed[:10]),
            len(missed),
        )
    labels = ", ".join(dict.fromkeys(fault.label for fault in faults))
    return Finding("fault_took_effect", Verdict.PASS, f"{labels} took effect")
