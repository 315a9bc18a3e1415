"""Limits that a run is held to: what a notebook requires, and gates from outside it.

A notebook requires by `result.require(rto_s=15)`; a gate is an option of `labkit run`, for
somebody else's CI. Both hold the same numbers to a limit: those of `labkit.verdict.measures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from labkit.errors import BadInput
from labkit.measurement.recovery import largest
from labkit.measurement.rounding import rounded
from labkit.verdict.finding import Finding, Verdict, worst
from labkit.verdict.measures import MEASURES, Measure, Measured
from labkit.verdict.summary import Measurements, Summary

REQUIRE = "require_"
"""What the finding of a requirement is called: this and the measure's name."""
GATE = "gate_"
"""What the finding of a gate is called: this and the measure's name."""


def requirements(
    summary: Summary, limits: Mapping[str, float], *, elsewhere: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for each limit, worst region and fault first.

    Args:
        limits: by the name of a measure.
        elsewhere: outages count only in regions that the fault was not aimed at.

    Raises:
        BadInput: no such requirement, or a limit that is not a number of 0 or more.
    """
    for name, limit in limits.items():
        if name not in MEASURES:
            raise BadInput(f"no requirement {name!r}: there are {', '.join(MEASURES)}")
        if not limit >= 0:
            raise BadInput(f"{name} must be 0 or more, not {limit!r}")
    if elsewhere:
        summary = _elsewhere(summary).model_copy(
            update={"trials": tuple(map(_elsewhere, summary.trials))}
        )
    return tuple(
        replace(_requirement(MEASURES[name], limit, summary), elsewhere=elsewhere)
        for name, limit in limits.items()
    )


AnyMeasurements = TypeVar("AnyMeasurements", bound=Measurements)


def _elsewhere(measurements: AnyMeasurements) -> AnyMeasurements:
    """Leave out the outages of regions that their fault was aimed at."""
    rows = [row for row in measurements.recovery if not row.aimed_at]
    return measurements.model_copy(update={"recovery": tuple(rows)})


def gates(summaries: Sequence[Summary], limits: Mapping[str, float]) -> list[list[Finding]]:
    """Hold experiments to limits from outside; each finding says how far off it is.

    An experiment without a fault has no RTO; such a gate then looks at the others, and is not
    proven when there are none.

    Args:
        limits: by the name of a measure that has an option.

    Returns:
        For each experiment its findings.
    """
    return [
        [
            _gate(MEASURES[name], limit, summary)
            for name, limit in limits.items()
            if _applies(MEASURES[name], summary, summaries)
        ]
        for summary in summaries
    ]


def _applies(measure: Measure, summary: Summary, summaries: Sequence[Summary]) -> bool:
    if not measure.of_a_fault or summary.recovery:
        return True
    return not any(other.recovery for other in summaries)


def number_of(name: str, measurements: Measurements) -> float | None:
    """Return the worst region's value of one of `MEASURES`; None when a region's is not known."""
    found = with_error(name, measurements)
    return None if found is None else found[0]


def with_error(name: str, measurements: Measurements) -> tuple[float, float] | None:
    """Return `number_of`, and how far off it may be; None when a region's is not known."""
    numbers = MEASURES[name].values(measurements)
    known = [(number.value, number.error) for number in numbers if number.value is not None]
    return largest(known) if len(known) == len(numbers) else None


def measured(measure: Measure, summary: Summary) -> list[Measured]:
    """Return the numbers that a limit is held against: every trial's, where there are trials."""
    if not summary.trials or measure.of_all_trials:
        return measure.values(summary)
    return [
        replace(number, where=f"trial {trial.number}: {number.where}")
        for trial in summary.trials
        for number in measure.values(trial)
    ]


def _decisive(numbers: Sequence[Measured], limit: float) -> Measured:
    """Choose the number that decides whether a limit holds: the worst with the verdict of all."""
    verdict = worst(number.verdict(limit) for number in numbers)
    alike = [number for number in numbers if number.verdict(limit) is verdict]
    return max(alike, key=lambda n: n.beyond if n.value is None else n.value)


def _requirement(measure: Measure, limit: float, summary: Summary) -> Finding:
    numbers = measured(measure, summary)
    number = _decisive(numbers, limit)
    verdict = number.verdict(limit)
    broken = [number for number in numbers if number.verdict(limit) is not Verdict.PASS]
    value = "not known" if number.value is None else rounded(number.value, number.error)
    if number.value is None and number.beyond > limit:
        value = f"more than {number.beyond:.4g}"
    open_still = number.value is not None and verdict is Verdict.UNKNOWN
    closely = ", which its error leaves open" if open_still else ""
    return Finding(
        REQUIRE + measure.name,
        verdict,
        f"{measure.name} is {value} ({number.where}), required at most {limit:g}{closely}",
        tuple(number.where for number in broken[:10]),
        len(broken),
        limit=limit,
    )


def _gate(measure: Measure, limit: float, summary: Summary) -> Finding:
    numbers = measured(measure, summary)
    number = _decisive(numbers, limit)
    held = f"{measure.option} {limit:g}"
    return Finding(
        GATE + measure.name,
        number.verdict(limit),
        f"{measure.label} is {_outcome(measure, number, limit)} ({held}; {number.where})",
        count=sum(number.verdict(limit) is not Verdict.PASS for number in numbers),
        limit=limit,
    )


def _outcome(measure: Measure, number: Measured, limit: float) -> str:
    verdict = number.verdict(limit)
    if number.value is None and verdict is Verdict.FAIL:
        over = measure.text(number.beyond - limit)
        return f"more than {measure.text(number.beyond)}, at least {over} above the limit"
    if number.value is None:
        return "not known"
    value = measure.text(number.value, number.error)
    if verdict is Verdict.UNKNOWN:
        return f"{value}, which leaves open whether it is at most the limit"
    if verdict is Verdict.FAIL:
        return f"{value}, {measure.text(number.value - limit, number.error)} above the limit"
    return value
