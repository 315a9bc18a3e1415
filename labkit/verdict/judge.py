"""From what a run recorded to its result."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version

import numpy as np
from pydantic import JsonValue

from labkit.history import History
from labkit.measurement.latency import latency_table
from labkit.measurement.outages import Healthy
from labkit.measurement.possible import every_row, without
from labkit.measurement.recovery import recovery, rpo_s
from labkit.measurement.service import failures, service
from labkit.measurement.staleness import staleness
from labkit.measurement.waterfall import waterfalls
from labkit.measurement.windows import due_within
from labkit.record import FaultWindow
from labkit.topology import Topology
from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import CHECKERS, Checker
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.recording import impossible, recording
from labkit.verdict.result import Result
from labkit.verdict.sound import nobody_looked
from labkit.verdict.summary import Machine, Summary


def judge(
    *,
    scenario: str,
    backend: str,
    topology: Topology,
    history: History,
    ledger: Iterable[str],
    final: FinalRead | None,
    opening: FinalRead | None = None,
    started_at: datetime,
    finished_at: datetime,
    steady_before: Finding | None = None,
    steady_after: Finding | None = None,
    pauses: Sequence[tuple[float, float]] = (),
    parameters: Mapping[str, JsonValue] | None = None,
    workload: Mapping[str, JsonValue] | None = None,
    versions: Mapping[str, str] | None = None,
    healthy: Healthy | None = None,
    checkers: Sequence[Checker] = CHECKERS,
) -> Result:
    """Measure and judge a run.

    Args:
        scenario: its name, such as "node-loss".
        ledger: ids of acknowledged orders, recorded outside the database.
        final: the read of the database after healing; None makes every checker UNKNOWN.
        opening: the read of the database before the load.
        started_at: with a time zone; so is `finished_at`.
        pauses: from when until when nobody watched, between trials: nothing is measured of what
            was due then, and each trial has phases of its own.
        parameters: of the notebook.
        workload: what the clients did, for people and for comparing runs.
        versions: of the servers; those of labkit and Python are added.
        healthy: what counts as service.
        checkers: by default all that a trading run is judged by.

    Returns:
        The result; its verdict is the worst of the findings. A fault that never bit makes it
        UNKNOWN at best, because such a run shows a healthy system and nothing else. Rows of the
        history that cannot be are left out of what is measured, and make it UNKNOWN at best. What
        was due after the watch ended is checked, and not measured.
    """
    healthy = healthy or Healthy()
    evidence = Evidence.of(ledger, history, final, opening)
    wrong = impossible(evidence)
    rows = every_row(wrong)
    found = recording(evidence, wrong)
    if rows.size:
        evidence = evidence.sound(rows)
    measured = without(history, np.union1d(rows, due_within(history, pauses)))
    open_loop = (workload or {}).get("concurrency") is None
    findings = [
        steady_before,
        fault_bit(history.faults),
        steady_after,
        found,
        *(checked(checker, evidence) for checker in checkers),
    ]
    summary = Summary(
        scenario=scenario,
        backend=backend,
        topology=topology,
        parameters=dict(parameters or {}),
        workload=dict(workload or {}),
        started_at=started_at,
        finished_at=finished_at,
        findings=tuple(finding for finding in findings if finding is not None),
        healthy=healthy,
        recovery=recovery(measured, healthy, open_loop=open_loop),
        rpo_s=None if final is None else rpo_s(measured, evidence.lost),
        latency=latency_table(measured, healthy, pauses),
        staleness=staleness(measured),
        waterfalls=waterfalls(measured),
        # who waits for a reply does not ask for service meanwhile, so what was lost is not known
        service=service(measured, healthy, pauses) if open_loop else (),
        failures=failures(measured, healthy, pauses),
        versions={
            "labkit": version("labkit"),
            "python": platform.python_version(),
            **(versions or {}),
        },
        machine=Machine.here(),
    )
    every = (*summary.findings, *nobody_looked(summary))
    return Result(summary.model_copy(update={"findings": every}), history)


def checked(checker: Checker, evidence: Evidence) -> Finding | None:
    """Let a checker judge; where it breaks down, its finding is UNKNOWN and says so.

    The same as `check-safe` of Jepsen (jepsen/src/jepsen/checker.clj): what one checker cannot
    take says nothing of the others' claims.
    """
    try:
        return checker.check(evidence)
    except Exception as error:
        said = next(iter(str(error).splitlines()), "")
        return Finding(
            checker.name,
            Verdict.UNKNOWN,
            f"the checker broke down: {type(error).__name__}: {said[:200]}",
        )


def fault_bit(faults: Sequence[FaultWindow]) -> Finding | None:
    """Tell whether a probe saw the effect of every fault; None when there was no fault.

    Proves: something was broken, so that what held, held under it.
    Cannot: tell that nothing else broke at the same time.
    """
    if not faults:
        return None
    missed = [fault for fault in faults if fault.bit_s is None]
    if missed:
        return Finding(
            "fault_bit",
            Verdict.UNKNOWN,
            f"void: {missed[0].label} was injected and took no effect",
            tuple(f"{fault.label}: {fault.detail or 'no effect seen'}" for fault in missed[:10]),
            len(missed),
        )
    labels = ", ".join(dict.fromkeys(fault.label for fault in faults))
    return Finding("fault_bit", Verdict.PASS, f"{labels} took effect")
