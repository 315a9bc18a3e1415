"""Several trials of one experiment as one result: all of them together, and how far they spread.

What is claimed of the database is judged once more over everything, by a read that came after the
last trial: an order acknowledged in the first trial must have survived the faults of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import pandas as pd

from labkit.history import History
from labkit.trading.audit import ORDER_COLUMNS, FinalRead
from labkit.verdict.checkers import Finding, Verdict, worst
from labkit.verdict.judge import judge
from labkit.verdict.requirements import MEASURES, number_of
from labkit.verdict.result import Measurements, Result, Spread, Trial

STEADY = ("steady_before", "steady_after")


@dataclass(frozen=True, eq=False)
class TrialRun:
    """One trial that was done.

    Attributes:
        result: judged by itself.
        ledger: ids of its acknowledged orders.
        final: its orders as they are after the last trial; None when they could not be read.
    """

    trial: Trial
    result: Result
    ledger: tuple[str, ...]
    final: FinalRead | None


def trial_of(result: Result, *, number: int, inject_after_s: float, folder: str) -> Trial:
    """The line of a trial in the summary of all."""
    summary, faults = result.summary, result.history.faults
    return Trial(
        number=number,
        fault=", ".join(dict.fromkeys(fault.label for fault in faults)) or None,
        inject_after_s=inject_after_s,
        folder=folder,
        **{name: getattr(summary, name) for name in _SHARED},
    )


_SHARED = tuple(Measurements.model_fields)
"""What a trial and a whole run both have."""


def together(runs: Sequence[TrialRun], *, planned: int, ended: str = "") -> Result:
    """One result of all trials that were done.

    Args:
        runs: at least one.
        planned: how many there should have been.
        ended: why there were no more, where there are fewer.
    """
    summaries = [run.result.summary for run in runs]
    first, last = summaries[0], summaries[-1]
    finals = [run.final for run in runs if run.final is not None]
    whole = judge(
        scenario=first.scenario,
        backend=first.backend,
        topology=last.topology,
        history=_history(runs),
        ledger=[order_id for run in runs for order_id in run.ledger],
        final=_final(finals) if len(finals) == len(runs) else None,
        started_at=first.started_at,
        finished_at=last.finished_at,
        parameters=first.parameters,
        workload=first.workload,
        versions=first.versions,
        healthy=first.healthy,
    )
    trials = tuple(run.trial for run in runs)
    steady = [found for name in STEADY if (found := _worst_finding(name, trials)) is not None]
    rpos_s = [trial.rpo_s for trial in trials]
    known_s = [rpo_s for rpo_s in rpos_s if rpo_s is not None]
    summary = whole.summary.model_copy(
        update={
            "findings": (_completed(len(runs), planned, ended), *steady, *whole.findings),
            "recovery": tuple(row for trial in trials for row in trial.recovery),
            "waterfalls": tuple(one for trial in trials for one in trial.waterfalls),
            "rpo_s": max(known_s) if len(known_s) == len(rpos_s) else None,
            "trials": trials,
            "spread": spread(trials),
        }
    )
    return Result(summary, whole.history, trials=tuple(run.result for run in runs))


def spread(trials: Sequence[Trial]) -> tuple[Spread, ...]:
    """Median and worst of each measure, a trial counting with its worst region."""
    rows = []
    for name in MEASURES:
        values = [number_of(name, trial) for trial in trials]
        known = sorted(float("inf") if value is None else value for value in values)
        middle = median(known)
        rows.append(
            Spread(
                measure=name,
                median=None if middle == float("inf") else middle,
                worst=None if None in values else known[-1],
                trials=len(values),
            )
        )
    return tuple(rows)


def _completed(done: int, planned: int, ended: str) -> Finding:
    if done == planned and not ended:
        return Finding("trials", Verdict.PASS, f"all {planned} trials were done")
    because = f": {ended}" if ended else ""
    return Finding("trials", Verdict.UNKNOWN, f"{done} of {planned} trials were begun{because}")


def _worst_finding(checker: str, trials: Sequence[Trial]) -> Finding | None:
    """What a checker found in each trial, as one finding; None where it never looked."""
    found = [(t.number, f) for t in trials if (f := t.finding(checker)) is not None]
    if not found:
        return None
    verdict = worst(finding.verdict for _, finding in found)
    number, decisive = next((n, f) for n, f in found if f.verdict is verdict)
    broken = [
        f"trial {number}: {line}"
        for number, finding in found
        if finding.verdict is not Verdict.PASS
        for line in finding.offenders or (finding.summary,)
    ]
    if verdict is Verdict.PASS:
        summary = f"in each of {len(found)} trials {decisive.summary}"
    else:
        summary = f"trial {number}: {decisive.summary}"
    return Finding(checker, verdict, summary, tuple(broken[:10]), len(broken))


def _history(runs: Sequence[TrialRun]) -> History:
    histories = [run.result.history for run in runs]
    return History.from_frame(
        pd.concat([history.ops for history in histories], ignore_index=True),
        [fault for history in histories for fault in history.faults],
        anchor_s=histories[0].anchor_s,
        regions=histories[0].regions,
    ).with_events(event for history in histories for event in history.events)


def _final(reads: Sequence[FinalRead]) -> FinalRead:
    """The last read, with the orders of every run."""
    orders = pd.concat([read.orders for read in reads], ignore_index=True).astype(ORDER_COLUMNS)
    return replace(reads[-1], orders=orders)
