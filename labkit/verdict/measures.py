"""The table of measures, used by limits, gates, the comparison and the docs.

The command line reads it whenever it starts, so this module imports nothing that takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.measurement.rounding import written
from labkit.verdict.finding import Verdict

if TYPE_CHECKING:
    from labkit.measurement.recovery import Recovery
    from labkit.verdict.summary import Measurements


@dataclass(frozen=True, slots=True)
class Measured:
    """A number that a limit is held against.

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


@dataclass(frozen=True, slots=True)
class Measure:
    """A number by which a run is judged; less is better.

    Attributes:
        name: what a requirement and `result.json` call it.
        label: what people call it.
        unit: "s", "ms", or empty for a count.
        meaning: what it is, in one sentence.
        read: its values in a run or a trial, one per region and fault, or one for all.
        nothing: why there are no values, where there are none.
        option: the gate of `labkit run`, such as "--max-rto"; empty where there is none.
        of_a_fault: an experiment without a fault has none.
        of_all_trials: counted over all trials together: one lost order is one too many, whichever
            read lacks it.
    """

    name: str
    label: str
    unit: str
    meaning: str
    read: Callable[[Measurements], Iterable[Measured]]
    nothing: str
    option: str = ""
    of_a_fault: bool = False
    of_all_trials: bool = False

    def values(self, run: Measurements) -> list[Measured]:
        """Read its values in a run or a trial; one that is not known where there are none."""
        return list(self.read(run)) or [Measured(None, self.nothing)]

    def text(self, value: float | None, error: float = 0.0) -> str:
        """Write a value with its unit, no finer than it is known: `6.9 s ± 0.1 s`."""
        return written(value, self.unit, error)


def _rto(run: Measurements) -> Iterator[Measured]:
    for row in run.outages:
        if row.rto_s is None:
            yield Measured(None, f"{_where(row)}: {row.no_rto}", beyond=row.at_least_s)
        else:
            yield Measured(row.rto_s, _where(row), error=row.rto_error_s)


def _write_gap(run: Measurements) -> Iterator[Measured]:
    return (Measured(row.write_gap_s, _where(row)) for row in run.outages)


def _unavailable(run: Measurements) -> Iterator[Measured]:
    for row in run.outages:
        if row.unavailable_s is None:
            yield Measured(None, f"{_where(row)}: {row.no_rto}")
        else:
            yield Measured(row.unavailable_s, _where(row), error=row.unavailable_error_s)


def _where(row: Recovery) -> str:
    return f"{row.region}, {row.fault}"


def _of_checker(checker: str) -> Callable[[Measurements], Iterator[Measured]]:
    def read(run: Measurements) -> Iterator[Measured]:
        finding = run.finding(checker)
        if finding is not None:
            known = finding.verdict is not Verdict.UNKNOWN
            yield Measured(finding.count if known else None, finding.summary)

    return read


def _rpo(run: Measurements) -> Iterator[Measured]:
    lost = run.finding("lost_acks")
    if run.rpo_s is not None:
        yield Measured(run.rpo_s, "first lost ack to the fault")
    elif lost is not None and lost.verdict is Verdict.FAIL:
        yield Measured(None, "the ledger alone knows of a lost ack, so its time is not known")


def _p99(run: Measurements) -> Iterator[Measured]:
    for row in run.settled_latency:
        where = f"{row.region}, {row.phase}"
        yield Measured(row.p99_ms, where if row.p99_ms is not None else f"{where}: {row.no_p99}")


def _staleness(run: Measurements) -> Iterator[Measured]:
    return (Measured(row.max_s, row.region) for row in run.staleness)


_TABLE = (
    Measure(
        "rto_s",
        "RTO",
        "s",
        "how long service was gone in the worst region",
        _rto,
        nothing="no fault was injected",
        option="--max-rto",
        of_a_fault=True,
    ),
    Measure(
        "write_gap_s",
        "write gap",
        "s",
        "the longest time without an acknowledgement in a region",
        _write_gap,
        nothing="no fault was injected",
        option="--max-write-gap",
        of_a_fault=True,
    ),
    Measure(
        "unavailable_s",
        "availability lost",
        "s",
        "the availability that the worst region lost, in order-seconds",
        _unavailable,
        nothing="no fault was injected",
        option="--max-unavailable",
        of_a_fault=True,
    ),
    Measure(
        "lost_acks",
        "lost acks",
        "",
        "the number of acknowledged orders that are lost",
        _of_checker("lost_acks"),
        nothing="nobody looked",
        option="--max-lost",
        of_all_trials=True,
    ),
    Measure(
        "rpo_s",
        "RPO",
        "s",
        "the time from the first lost order to the fault",
        _rpo,
        nothing="nobody could look",
        of_all_trials=True,
    ),
    Measure(
        "duplicates",
        "duplicates",
        "",
        "the number of orders that are there twice",
        _of_checker("duplicates"),
        nothing="nobody looked",
        of_all_trials=True,
    ),
    Measure(
        "p99_ms",
        "p99",
        "ms",
        "the worst region's p99 of orders after the fault, or of a run without one",
        _p99,
        nothing="the fault was never healed",
        option="--max-p99",
    ),
    Measure(
        "staleness_s",
        "staleness",
        "s",
        "how far behind a read from a replica was at most",
        _staleness,
        nothing="no replica read was answered",
    ),
)
MEASURES = {measure.name: measure for measure in _TABLE}
"""What can be required; every number is that of the worst region, fault and trial."""
