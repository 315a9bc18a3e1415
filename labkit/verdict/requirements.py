"""What the author of a scenario requires of its numbers: `result.require(rto_s=15)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from labkit.errors import BadInput
from labkit.measurement.latency import Latency
from labkit.measurement.percentiles import least
from labkit.measurement.phases import Phase
from labkit.measurement.recovery import Recovery, largest
from labkit.measurement.rounding import rounded
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import OpKind
from labkit.verdict.checkers import Finding, Verdict, worst
from labkit.verdict.summary import Measurements, Summary

PREFIX = "require_"
"""What the finding of a requirement is called: this and the requirement's name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One number that a limit is held against.

    Attributes:
        value: None when it is not known.
        where: whose number it is, or why there is none.
        beyond: what `value` is at least, where it is not known exactly.
        error: how far off `value` may be.
    """

    value: float | None
    where: str
    beyond: float = 0.0
    error: float = 0.0

    def verdict(self, limit: float) -> Verdict:
        """Say whether it is at most `limit`: unknown where its error leaves that open."""
        if self.value is None:
            return Verdict.FAIL if self.beyond > limit else Verdict.UNKNOWN
        if self.value + self.error <= limit:
            return Verdict.PASS
        return Verdict.FAIL if self.value - self.error > limit else Verdict.UNKNOWN


Measure = Callable[[Measurements], Iterable[Measured]]


def requirements(
    summary: Summary, limits: Mapping[str, float], *, elsewhere: bool = False
) -> tuple[Finding, ...]:
    """Return a finding for each limit, worst region and fault first.

    Args:
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
        replace(_finding(name, limit, measured(name, summary)), elsewhere=elsewhere)
        for name, limit in limits.items()
    )


AnyMeasurements = TypeVar("AnyMeasurements", bound=Measurements)


def _elsewhere(measurements: AnyMeasurements) -> AnyMeasurements:
    """Leave out the outages of regions that their fault was aimed at."""
    rows = [row for row in measurements.recovery if not row.aimed_at]
    return measurements.model_copy(update={"recovery": tuple(rows)})


def number_of(name: str, measurements: Measurements) -> float | None:
    """One of `MEASURES` as a single number: the worst region's; None when one is not known."""
    found = with_error(name, measurements)
    return None if found is None else found[0]


def with_error(name: str, measurements: Measurements) -> tuple[float, float] | None:
    """Return `number_of`, and how far off it may be; None when a region's is not known."""
    numbers = list(MEASURES[name](measurements))
    known = [(number.value, number.error) for number in numbers if number.value is not None]
    return largest(known) if len(known) == len(numbers) else None


def worst_recovery(summary: Measurements) -> Recovery | None:
    """Return the region that took longest to recover, unrecovered first; None without a fault."""
    rows = [row for row in summary.recovery if row.region != ALL_REGIONS]
    return max(rows, key=_gone_s, default=None)


def _gone_s(row: Recovery) -> tuple[float, float]:
    """Rank by RTO, and without an outage by how long one may have been unseen."""
    return (float("inf") if row.rto_s is None else row.rto_s), row.rto_error_s


def worst_write_gap(summary: Measurements) -> Recovery | None:
    """Return the region whose write gap was longest; None when no gap could be measured."""
    rows = [row for row in summary.recovery if row.region != ALL_REGIONS]
    known = [row for row in rows if row.write_gap_s is not None]
    return max(known, key=lambda row: row.write_gap_s or 0.0, default=None)


def measured(name: str, summary: Summary) -> list[Measured]:
    """Return the numbers that a limit is held against: every trial's, where there are trials."""
    measure = MEASURES[name]
    if not summary.trials or name in COUNTS:
        return list(measure(summary))
    return [
        replace(number, where=f"trial {trial.number}: {number.where}")
        for trial in summary.trials
        for number in measure(trial)
    ]


def decisive(numbers: Sequence[Measured], limit: float) -> Measured:
    """Choose the number that decides whether a limit holds: the worst with the verdict of all."""
    verdict = worst(number.verdict(limit) for number in numbers)
    alike = [number for number in numbers if number.verdict(limit) is verdict]
    return max(alike, key=lambda n: n.beyond if n.value is None else n.value)


def _finding(name: str, limit: float, numbers: Sequence[Measured]) -> Finding:
    verdict = worst(number.verdict(limit) for number in numbers)
    number = decisive(numbers, limit)
    broken = [number for number in numbers if number.verdict(limit) is not Verdict.PASS]
    value = "not known" if number.value is None else rounded(number.value, number.error)
    if number.value is None and number.beyond > limit:
        value = f"more than {number.beyond:.4g}"
    open_still = number.value is not None and verdict is Verdict.UNKNOWN
    closely = ", which its error leaves open" if open_still else ""
    return Finding(
        PREFIX + name,
        verdict,
        f"{name} is {value} ({number.where}), required at most {limit:g}{closely}",
        tuple(number.where for number in broken[:10]),
        len(broken),
        limit=limit,
    )


def _of_regions(value: Callable[[Recovery], Measured]) -> Measure:
    def measure(summary: Measurements) -> Iterable[Measured]:
        rows = [row for row in summary.recovery if row.region != ALL_REGIONS]
        return [value(row) for row in rows] or [Measured(None, "no fault was injected")]

    return measure


def _rto(row: Recovery) -> Measured:
    where = f"{row.region}, {row.fault}"
    if row.rto_s is None:
        return Measured(None, f"{where}: {row.no_rto}", beyond=row.at_least_s)
    return Measured(row.rto_s, where, error=row.rto_error_s)


def _unavailable(row: Recovery) -> Measured:
    where = f"{row.region}, {row.fault}"
    if row.unavailable_s is None:
        return Measured(None, f"{where}: {row.no_rto}")
    return Measured(row.unavailable_s, where, error=row.unavailable_error_s)


def _of_checker(checker: str) -> Measure:
    def measure(summary: Measurements) -> Iterable[Measured]:
        finding = summary.finding(checker)
        if finding is None:
            return [Measured(None, "nobody looked")]
        known = finding.verdict is not Verdict.UNKNOWN
        return [Measured(finding.count if known else None, finding.summary)]

    return measure


def _rpo(summary: Measurements) -> Iterable[Measured]:
    if summary.rpo_s is not None:
        return [Measured(summary.rpo_s, "first lost ack to the fault")]
    lost = summary.finding("lost_acks")
    if lost is not None and lost.verdict is Verdict.FAIL:
        return [Measured(None, "the ledger alone knows of a lost ack, so its time is not known")]
    return [Measured(None, "nobody could look")]


def _p99(summary: Measurements) -> Iterable[Measured]:
    settled = (Phase.AFTER, Phase.WHOLE)
    rows = [
        row
        for row in summary.latency
        if row.kind == OpKind.ORDER and row.phase in settled and row.region != ALL_REGIONS
    ]
    measured = [Measured(row.p99_ms, _where_p99(row)) for row in rows]
    return measured or [Measured(None, "the fault was never healed")]


def _where_p99(row: Latency) -> str:
    where = f"{row.region}, {row.phase}"
    few = f"{where}: {row.ok:,} acknowledged orders, p99 takes {least(99)}"
    return where if row.p99_ms is not None else few


def _staleness(summary: Measurements) -> Iterable[Measured]:
    measured = [Measured(row.max_s, row.region) for row in summary.staleness]
    return measured or [Measured(None, "no replica read was answered")]


MEASURES: dict[str, Measure] = {
    "rto_s": _of_regions(_rto),
    "write_gap_s": _of_regions(lambda r: Measured(r.write_gap_s, f"{r.region}, {r.fault}")),
    "unavailable_s": _of_regions(_unavailable),
    "lost_acks": _of_checker("lost_acks"),
    "rpo_s": _rpo,
    "duplicates": _of_checker("duplicates"),
    "p99_ms": _p99,
    "staleness_s": _staleness,
}
"""What can be required; every number is that of the worst region, fault and trial.

`p99_ms` is that of orders over the whole run, or of the time after the fault where there was one.
`staleness_s` is how far behind a replica read was at most (`labkit.measurement.staleness`).
"""

COUNTS = ("lost_acks", "duplicates", "rpo_s")
"""Numbers over all trials together: one lost order is one too many, whichever read lacks it."""
