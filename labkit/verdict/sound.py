"""The rules that every result keeps, by which an edited or damaged one is detected.

A result that labkit wrote has every finding that `mandatory` names, whatever became of the run: a
checker that could not look says UNKNOWN. So a finding that is not there was taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

from labkit.record import OpKind
from labkit.verdict.finding import Finding, Verdict, worst
from labkit.verdict.summary import Measurements, Summary, Trial

ALWAYS = (
    "steady_before",
    "recording",
    "lost_acks",
    "duplicates",
    "phantoms",
    "money",
    "prices",
    "opening",
    "real_time",
    "executions",
)
"""Findings of every run; the others depend on what was done in it."""

COMPLETED = "completed"
"""The finding of a run that was broken off."""
_OF_READS = {str(OpKind.FRESH_READ): "sessions", str(OpKind.REPLICA_READ): "replicas"}
_OF_A_FAULT = ("fault_took_effect", "steady_after")
_COUNTED = ("findings", "recovery", "latency", "service", "failures", "staleness", "spread")
"""Parts of a result in which no number is below 0: all are counts or durations."""


def mandatory(measurements: Measurements) -> tuple[str, ...]:
    """Name the findings that this result must have.

    A run with a fault says whether it took effect and whether service came back; a run with reads
    judges them; a run of several trials says whether all were done.
    """
    kinds = {row.kind for row in measurements.latency}
    return (
        *ALWAYS,
        *(name for kind, name in _OF_READS.items() if kind in kinds),
        *(_OF_A_FAULT if measurements.recovery else ()),
        *(("trials",) if getattr(measurements, "trials", ()) else ()),
    )


def missing(measurements: Measurements) -> tuple[str, ...]:
    """Name those of the mandatory findings that are not there."""
    there = {finding.checker for finding in measurements.findings}
    return tuple(name for name in mandatory(measurements) if name not in there)


def nobody_looked(measurements: Measurements) -> tuple[Finding, ...]:
    """Make the mandatory findings that nobody made: each is UNKNOWN."""
    return tuple(Finding(name, Verdict.UNKNOWN, "nobody looked") for name in missing(measurements))


def impossible_numbers(data: object) -> Iterator[str]:
    """Name each number of a `result.json` that cannot be: NaN, an infinity, a negative count.

    Args:
        data: the file as `json.loads` gives it.
    """
    yield from (f"{where} is {value}" for where, value in _numbers(data) if not isfinite(value))
    if not isinstance(data, Mapping):
        return
    trials = data.get("trials")
    parts = [("", data)]
    parts += [
        (f"trial {number}: ", trial)
        for number, trial in enumerate(trials if isinstance(trials, list) else (), start=1)
        if isinstance(trial, Mapping)
    ]
    for about, part in parts:
        for section in (*_COUNTED, "rpo_s", "inject_after_s", "number"):
            for where, value in _numbers(part.get(section), section):
                if value < 0:
                    yield f"{about}{where} is {value:g}"


def contradictions(summary: Summary, stated: object) -> Iterator[str]:
    """Say where a result that was read contradicts itself.

    Args:
        stated: the verdict that the file gives beside the findings.
    """
    yield from _of_one(summary, stated)
    said, done = summary.finding("trials"), len(summary.trials)
    if said is not None and said.verdict is Verdict.PASS and done != summary.trials_planned:
        yield f"all trials were done, and {done} of {summary.trials_planned} are there"
    for number, trial in enumerate(summary.trials, start=1):
        yield from (f"trial {number}: {wrong}" for wrong in _of_one(trial, str(trial.verdict)))
        yield from _of_trial(number, trial, summary)


def _of_one(measurements: Measurements, stated: object) -> Iterator[str]:
    names = [finding.checker for finding in measurements.findings]
    for name in missing(measurements):
        yield f"no finding {name!r}"
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"more than one finding {name!r}"
    for finding in measurements.findings:
        if finding.verdict is Verdict.PASS and (finding.count or finding.offenders):
            yield f"finding {finding.checker!r} passed and names what breaks it"
    if measurements.verdict is Verdict.PASS and stated != str(Verdict.PASS):
        yield f"its verdict is {stated!r} and every finding passed"
    if measurements.finished_at < measurements.started_at:
        yield "it ended before it began"


def _of_trial(number: int, trial: Trial, whole: Summary) -> Iterator[str]:
    if (trial.number, trial.folder) != (number, f"trials/{number}"):
        yield f"trial {number} is not there"
    for finding in trial.findings:
        of_all = whole.finding(finding.checker)
        if of_all is None or worst([of_all.verdict, finding.verdict]) is not of_all.verdict:
            yield f"trial {number}: {finding.checker} is worse than in the whole"


def _numbers(data: object, where: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(data, bool):
        return
    if isinstance(data, int | float):
        # an integer may be larger than any float
        yield where, data if isinstance(data, float) else max(-1e300, min(data, 1e300))
    elif isinstance(data, Mapping):
        for name, value in data.items():
            yield from _numbers(value, f"{where}.{name}" if where else str(name))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from _numbers(value, f"{where}[{place}]")
