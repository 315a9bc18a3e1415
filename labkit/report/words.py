"""A summary in words and small tables, the same for a notebook, a terminal and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

from labkit.measurement.latency import Latency
from labkit.measurement.percentiles import least
from labkit.measurement.recovery import Recovery
from labkit.measurement.rounding import (
    UNKNOWN,
    decimals,
    milliseconds,
    percent,
    seconds,
)
from labkit.measurement.service import Failures, Service
from labkit.measurement.waterfall import RegionWaterfall, Sighting, Stage, Waterfall
from labkit.record import OpKind, Outcome
from labkit.verdict.finding import Verdict
from labkit.verdict.limits import number_of
from labkit.verdict.measures import MEASURES
from labkit.verdict.sound import COMPLETED
from labkit.verdict.summary import Spread, Summary

HEADWORD = {Verdict.PASS: "Passed", Verdict.FAIL: "Failed", Verdict.UNKNOWN: "Not proven"}
KINDS = {
    str(OpKind.ORDER): "orders",
    str(OpKind.FRESH_READ): "fresh reads",
    str(OpKind.REPLICA_READ): "reads from a replica",
}
OUTCOMES = {str(Outcome.FAIL): "not applied", str(Outcome.INFO): "unknown"}
COARSE_S = 0.05
"""A moment that is known less closely is shown with both its ends."""


def plain_words(summary: Summary) -> str:
    """Return the verdict as a sentence or two, without its headword."""
    if summary.verdict is not Verdict.PASS:
        reasons = [f.summary for f in summary.findings if f.verdict is summary.verdict]
        return _sentence("; ".join(reasons) or "nothing was checked")
    lost = summary.finding("lost_acks")
    words = [lost.summary if lost else f"all {len(summary.findings)} checks hold"]
    slowest = summary.worst_recovery
    rto = spread_of(summary, "rto_s")
    if rto and rto.worst and rto.median is not None:
        words.append(
            f"in {rto.trials} trials service was gone for {seconds(rto.worst, rto.worst_error)} "
            f"at worst, {seconds(rto.median, rto.median_error)} in the median"
        )
    elif slowest and slowest.rto_s == 0:
        under = f"in {rto.trials} trials" if rto else f"under {slowest.fault}"
        words.append(f"no outage was seen {under}: {rto_words(slowest)} in each region")
    elif slowest and slowest.rto_s:
        words.append(f"service was gone for {rto_words(slowest)} under {slowest.fault}")
    return " ".join(_sentence(word) for word in words)


def headlines(summary: Summary) -> list[tuple[str, str]]:
    """Return the numbers people ask for first: a name and a text for each."""
    return [
        ("RTO", _rto(summary)),
        ("Write gap", _write_gap(summary)),
        ("Lost acks", _count(summary, "lost_acks")),
        ("Duplicates", _count(summary, "duplicates")),
    ]


def spread_of(summary: Summary, name: str) -> Spread | None:
    """Median and worst of a measure; None without trials."""
    return next((spread for spread in summary.spread if spread.measure == name), None)


TRIAL_HEADINGS = (
    "trial",
    "fault",
    "injected after",
    "RTO",
    "write gap",
    "p99 after",
    "lost acks",
    "verdict",
)
"""Of the table of trials; `injected after` counts from the moment the steady state was seen."""


def trial_cells(summary: Summary) -> list[tuple[str, ...]]:
    """Return one row per trial with its worst region, then the median and the worst of all."""
    rows: list[tuple[str, ...]] = [
        (
            str(trial.number),
            trial.fault or "none injected",
            seconds(trial.inject_after_s),
            rto_words(row) if (row := trial.worst_recovery) else UNKNOWN,
            measure("write_gap_s", number_of("write_gap_s", trial)),
            measure("p99_ms", number_of("p99_ms", trial)),
            measure("lost_acks", number_of("lost_acks", trial)),
            HEADWORD[trial.verdict].lower(),
        )
        for trial in summary.trials
    ]
    spreads = [
        spread
        for wanted in ("rto_s", "write_gap_s", "p99_ms", "lost_acks")
        if (spread := spread_of(summary, wanted)) is not None
    ]
    if not rows or not spreads:
        return rows
    whole = HEADWORD[summary.verdict].lower()
    return [
        *rows,
        (
            *("median", "", ""),
            *(measure(one.measure, one.median, one.median_error) for one in spreads),
            "",
        ),
        (
            *("worst", "", ""),
            *(measure(one.measure, one.worst, one.worst_error) for one in spreads),
            whole,
        ),
    ]


def interval(spread: Spread) -> str:
    """`5.90 to 6.50 s`: between what the median lies.

    Both ends are rounded outwards, to the place to which the median is known.
    """
    if spread.low is not None and spread.high is not None and spread.median_error > 0:
        places = decimals(spread.median_error)
        unit = 10.0**-places
        ends = floor(spread.low / unit + 1e-6) * unit, ceil(spread.high / unit - 1e-6) * unit
        return f"{ends[0]:.{places}f} to {ends[1]:.{places}f} s"
    low, high = (measure(spread.measure, value) for value in (spread.low, spread.high))
    return f"{low.removesuffix(' s').removesuffix(' ms')} to {high}"


def measure(name: str, value: float | None, error: float = 0.0) -> str:
    """Write one of `MEASURES` with its unit, and its error where it has one."""
    return MEASURES[name].text(value, error)


def recovery_cells(row: Recovery) -> tuple[str, ...]:
    """Fault, region, RTO, availability lost and write gap of one row."""
    gap = UNKNOWN if row.write_gap_s is None else seconds(row.write_gap_s)
    lost = measure("unavailable_s", row.unavailable_s, row.unavailable_error_s)
    return row.fault, row.region, rto_words(row), lost, gap


def rto_words(row: Recovery) -> str:
    """`6.9 s ± 0.1 s`, or why there is none."""
    return row.no_rto if row.rto_s is None else seconds(row.rto_s, row.rto_error_s)


RECOVERY_HEADINGS = ("fault", "region", "RTO", "availability lost", "write gap")


_TAILS = (("p90", 90), ("p99", 99), ("p99.9", 99.9))

LATENCY_HEADINGS = ("p50", "p90", "p99", "p99.9", "max", "acked", "not acked")


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Latency of one kind of operation in milliseconds, and how many stand behind it.

    Attributes:
        title: names the kind.
        rows: the region (empty where it is that of the row above), the phase, and a cell for each
            of `LATENCY_HEADINGS`.
    """

    title: str
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def latency_tables(latency: Sequence[Latency]) -> list[LatencyTable]:
    """Return one table per kind of operation."""
    kinds = dict.fromkeys(row.kind for row in latency)
    return [
        LatencyTable(
            _latency_title(kind, [row for row in latency if row.kind == kind]),
            tuple(_latency_rows([row for row in latency if row.kind == kind])),
        )
        for kind in kinds
    ]


def _latency_title(kind: str, latency: Sequence[Latency]) -> str:
    """Name the table; where a percentile is missing, say why."""
    title = f"Latency of {KINDS.get(kind, kind)} in ms, from the scheduled moment"
    if not any(row.ok and row.p999_ms is None for row in latency):
        return title
    needs = ", ".join(f"{label} from {least(percent):,}" for label, percent in _TAILS)
    return f"{title}; {needs} acknowledged on"


def _latency_rows(latency: Sequence[Latency]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    above = ""
    for row in latency:
        percentiles = (row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms)
        cells = (*map(milliseconds, percentiles), f"{row.ok:,}", f"{row.fail + row.info:,}")
        yield "" if row.region == above else row.region, row.phase, cells
        above = row.region


def service_rows(service: Sequence[Service]) -> list[tuple[str, ...]]:
    """Region, phase, seconds lost, of how many, and the share with service."""
    return [
        (
            row.region,
            row.phase,
            seconds(row.lost_s),
            seconds(row.observed_s),
            "not observed" if row.availability is None else f"{row.availability:.1%}",
        )
        for row in service
    ]


SERVICE_TITLE = "Availability lost, in order-seconds"
SERVICE_HEADINGS = ("region", "phase", "lost", "of", "with service")


def failure_rows(failures: Sequence[Failures]) -> list[tuple[str, ...]]:
    """Region, phase, kind, how it ended, the error in words, its SQLSTATE, and how many."""
    return [
        (
            row.region,
            row.phase,
            KINDS.get(row.kind, row.kind),
            OUTCOMES.get(row.outcome, row.outcome),
            row.error,
            row.sqlstate,
            f"{row.count:,}",
        )
        for row in failures
    ]


FAILURE_HEADINGS = ("region", "phase", "what", "outcome", "last error", "SQLSTATE", "count")


STAGES = {
    Stage.INJECTED: "fault injected",
    Stage.EFFECT: "fault took effect",
    Stage.DETECTED: "balancer detected it",
    Stage.ELECTED: "new leader",
    Stage.REROUTED: "balancer rerouted",
    Stage.CONNECTED: "first connection",
    Stage.ACKED: "first ack",
}
"""The stages of an outage as people read them."""
NOT_SEEN = "not seen"


@dataclass(frozen=True, slots=True)
class WaterfallTable:
    """The stages of an outage, a column a region.

    Attributes:
        rows: the stage and the cells, one a region: seconds since the injection, or "not seen".
    """

    fault: str
    regions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def waterfalls(summary: Summary) -> list[WaterfallTable]:
    """Return one table per fault; with trials none: they have a figure of the longest outage."""
    return [waterfall_cells(one) for one in summary.waterfalls if not summary.trials]


def waterfall_cells(waterfall: Waterfall) -> WaterfallTable:
    """Turn a column of stages a region into rows a stage."""
    regions = waterfall.regions
    return WaterfallTable(
        waterfall.fault,
        tuple(region.region for region in regions),
        tuple(
            (words, tuple(sighting_words(region, region.seen(stage)) for region in regions))
            for stage, words in STAGES.items()
        ),
    )


def sighting_words(region: RegionWaterfall, sighting: Sighting) -> str:
    """`5.31 s`, `by 0.42 s`, `3.1 to 5.6 s`; where orders never ceased nothing is the first."""
    if sighting.at_s is None:
        first = sighting.stage in (Stage.CONNECTED, Stage.ACKED)
        return "never ceased" if first and not region.ceased else NOT_SEEN
    if sighting.not_before_s == 0 and sighting.within_s > 0:
        return f"by {seconds(sighting.at_s)}"
    if sighting.within_s >= COARSE_S:
        return f"{sighting.not_before_s:.1f} to {sighting.at_s:.1f} s"
    return seconds(sighting.at_s)


def check_name(checker: str) -> str:
    """Return a checker's name as people read it."""
    return checker.replace("_", " ", 1)


def _no_outage(summary: Summary) -> str:
    """Return what stands in place of an outage's length where no fault was recorded."""
    if summary.finding(COMPLETED) is not None:
        return f"{UNKNOWN} (the run was broken off)"
    return "no fault was injected"


def _rto(summary: Summary) -> str:
    row = summary.worst_recovery
    if row is None:
        return _no_outage(summary)
    if summary.spread:
        return _of_trials(summary, "rto_s")
    if row.rto_s == 0:
        return f"none seen: {rto_words(row)} in each region"
    return f"{rto_words(row)} ({row.region}, {row.fault})"


def _write_gap(summary: Summary) -> str:
    if not summary.recovery:
        return _no_outage(summary)
    if summary.spread:
        return _of_trials(summary, "write_gap_s")
    row = summary.worst_write_gap
    if row is None or row.write_gap_s is None:
        return UNKNOWN
    return f"{seconds(row.write_gap_s)} ({row.region}, {row.fault})"


def _of_trials(summary: Summary, name: str) -> str:
    """`6.25 s worst (trial 2), 5.50 s median of 5 trials`."""
    numbers = {trial.number: number_of(name, trial) for trial in summary.trials}
    unknown = [number for number, value in numbers.items() if value is None]
    worst = unknown[0] if unknown else max(numbers, key=lambda number: numbers[number] or 0.0)
    spread = spread_of(summary, name)
    median = measure(name, spread.median, spread.median_error) if spread else UNKNOWN
    value = measure(name, numbers[worst], spread.worst_error if spread else 0.0)
    within = f" ({interval(spread)} with {percent(spread.level)})" if spread else ""
    return f"{value} worst (trial {worst}), {median} median of {len(numbers)} trials{within}"


def _count(summary: Summary, checker: str) -> str:
    finding = summary.finding(checker)
    if finding is None:
        return UNKNOWN
    count = UNKNOWN if finding.verdict is Verdict.UNKNOWN else f"{finding.count:,}"
    return f"{count} ({finding.summary})"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
