"""Several trials of one experiment as one result: all of them together, and how far they spread.

What is claimed of the database is judged once more over everything, by a read that came after the
last trial: an order acknowledged in the first trial must have survived the faults of all others.
What was found in a trial counts as well: a trial that failed fails the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from statistics import median

import pandas as pd

from labkit.history import History
from labkit.measurement.chance import median_interval
from labkit.measurement.recovery import largest
from labkit.trading.audit import ORDER_COLUMNS, FinalRead
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, worst
from labkit.verdict.judge import judge
from labkit.verdict.limits import with_error
from labkit.verdict.measures import MEASURES
from labkit.verdict.result import Result
from labkit.verdict.run import About, RunRecord
from labkit.verdict.summary import Measurements, Spread, Trial

STEADY = ("steady_before", "steady_after")


@dataclass(frozen=True, eq=False)
class TrialRun:
    """One trial that was done.

    Attributes:
        result: judged by itself.
        ledger: ids of its acknowledged orders.
    """

    trial: Trial
    result: Result
    ledger: tuple[str, ...]


def trial_of(result: Result, *, number: int, inject_after_s: float, folder: str) -> Trial:
    """Return the line of a trial in the summary of all."""
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


def together(
    runs: Sequence[TrialRun],
    *,
    planned: int,
    ended: str = "",
    final: FinalRead | None = None,
    opening: FinalRead | None = None,
) -> Result:
    """One result of all trials that were done.

    Args:
        runs: at least one.
        final: the orders of all trials as they are after the last one (`read_of_all`).
        opening: the read before the first trial's load.
        planned: how many there should have been.
        ended: why there were no more, where there are fewer.
    """
    summaries = [run.result.summary for run in runs]
    first, last = summaries[0], summaries[-1]
    trials = tuple(run.trial for run in runs)
    whole = judge(
        RunRecord(
            replace(About.of(first), topology=last.topology),
            _history(runs),
            started_at=first.started_at,
            finished_at=last.finished_at,
            ledger=[order_id for run in runs for order_id in run.ledger],
            final=final,
            opening=opening,
            steady_before=_of_trials("steady_before", trials),
            steady_after=_of_trials("steady_after", trials),
            pauses=_pauses(runs),
            healthy=first.healthy,
        )
    )
    summary = whole.summary.model_copy(
        update={
            "findings": (_completed(len(runs), planned, ended), *_findings(trials, whole)),
            "recovery": tuple(row for trial in trials for row in trial.recovery),
            "waterfalls": tuple(one for trial in trials for one in trial.waterfalls),
            "rpo_s": _highest([*(trial.rpo_s for trial in trials), whole.summary.rpo_s]),
            "trials": trials,
            "trials_planned": planned,
            "trials_ended": ended,
            "spread": spread(trials, whole.summary),
        }
    )
    return Result(summary, whole.history, trials=tuple(run.result for run in runs))


def spread(trials: Sequence[Trial], whole: Measurements) -> tuple[Spread, ...]:
    """Measure how each number spreads over the trials, each counting with its worst region.

    Args:
        whole: of all trials together. What is counted over all of them is not less at worst.
    """
    rows = []
    for name, measure in MEASURES.items():
        found = [with_error(name, trial) for trial in trials]
        at_worst = [*found, with_error(name, whole)] if measure.of_all_trials else found
        known = [number for number in at_worst if number is not None]
        worst_of, worst_error = largest(known)
        endless = (float("inf"), 0.0)
        numbers = [endless if number is None else number for number in found]
        # each order statistic of what the trials measured lies between those of their bounds
        middle, least, most = (
            median(value + sign * error for value, error in numbers) for sign in (0, -1, 1)
        )
        low, high = (
            median_interval([max(0.0, value + sign * error) for value, error in numbers])
            for sign in (-1, 1)
        )
        rows.append(
            Spread(
                measure=name,
                median=_finite(middle),
                worst=worst_of if len(known) == len(at_worst) else None,
                trials=len(found),
                low=_finite(low.low),
                high=_finite(high.high),
                level=low.level,
                median_error=max(most - middle, middle - least) if isfinite(middle) else 0.0,
                worst_error=worst_error if len(known) == len(at_worst) else 0.0,
            )
        )
    return tuple(rows)


def _finite(value: float) -> float | None:
    return None if value == float("inf") else value


def _highest(values: Sequence[float | None]) -> float | None:
    """Return the highest value; None if one is not known."""
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) else None


def _completed(done: int, planned: int, ended: str) -> Finding:
    if done == planned and not ended:
        return Finding("trials", Verdict.PASS, f"all {planned} trials were done")
    because = f": {ended}" if ended else ""
    return Finding("trials", Verdict.UNKNOWN, f"{done} of {planned} trials were begun{because}")


def _findings(trials: Sequence[Trial], whole: Result) -> list[Finding]:
    """Every finding of a trial or of the whole, once each, with the worst verdict of all of them.

    What was found wrong in a trial stays wrong, whatever the read after the last trial shows.
    """
    names = dict.fromkeys(
        finding.checker
        for findings in (*(trial.findings for trial in trials), whole.findings)
        for finding in findings
    )
    return [
        _worst_finding(name, trials, None if name in STEADY else whole.summary.finding(name))
        for name in names
    ]


def _of_trials(name: str, trials: Sequence[Trial]) -> Finding | None:
    """Return what a checker found in single trials; None where it looked at none."""
    made = any(trial.finding(name) is not None for trial in trials)
    return _worst_finding(name, trials, None) if made else None


def _worst_finding(name: str, trials: Sequence[Trial], whole: Finding | None) -> Finding:
    """Return what a checker found in each trial and over all of them, as one finding.

    Args:
        whole: over all trials; None where the checker looks at single trials only.

    Returns:
        Offenders of a trial are named with its number. `count` is the larger one of what the
        trials found together and what was found over all of them: they may be the same things.
    """
    found = [(t.number, finding) for t in trials if (finding := t.finding(name)) is not None]
    verdicts = [finding.verdict for _, finding in found]
    verdict = worst(verdicts if whole is None else [*verdicts, whole.verdict])
    broken = [
        f"trial {number}: {line}"
        for number, finding in found
        if finding.verdict is not Verdict.PASS
        for line in finding.offenders or (finding.summary,)
    ]
    count = sum(finding.count or 1 for _, finding in found if finding.verdict is not Verdict.PASS)
    if whole is not None:
        broken = [*whole.offenders, *broken]
        count = max(count, whole.count)
    if whole is not None and whole.verdict is verdict:
        summary = whole.summary
    else:
        number, decisive = next((n, f) for n, f in found if f.verdict is verdict)
        every = f"in each of {len(found)} trials {decisive.summary}"
        summary = every if verdict is Verdict.PASS else f"trial {number}: {decisive.summary}"
    return Finding(name, verdict, summary, tuple(broken[:OFFENDERS_SHOWN]), count)


def _history(runs: Sequence[TrialRun]) -> History:
    histories = [run.result.history for run in runs]
    history = History.from_frame(
        pd.concat([history.ops for history in histories], ignore_index=True),
        [fault for history in histories for fault in history.faults],
        anchor_s=histories[0].anchor_s,
        regions=histories[0].regions,
    ).with_events(event for history in histories for event in history.events)
    return replace(history, terms=histories[-1].terms)


def _pauses(runs: Sequence[TrialRun]) -> list[tuple[float, float]]:
    """From the end of the watch of each trial to the next trial's first order."""
    histories = [run.result.history for run in runs]
    return [
        (one.watched_until_s, float(after.ops["scheduled_s"].iloc[0]))
        for one, after in pairwise(histories)
        if len(after.ops)
    ]


def read_of_all(reads: Sequence[FinalRead | None]) -> FinalRead | None:
    """Make one read of those of each trial's orders: the last one, with the orders of all.

    Returns:
        None when one of them could not be made, or there is none.
    """
    made = [read for read in reads if read is not None]
    if not made or len(made) < len(reads):
        return None
    orders = pd.concat([read.orders for read in made], ignore_index=True).astype(ORDER_COLUMNS)
    return replace(made[-1], orders=orders)
