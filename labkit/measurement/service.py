"""Availability lost in each region and phase, and what orders met that were not acknowledged."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from labkit.history import History
from labkit.measurement.outages import Healthy
from labkit.measurement.phases import (
    Pauses,
    Phase,
    Spans,
    held_spans,
    outage_spans,
    phases,
    phases_of,
)
from labkit.measurement.recovery import streams
from labkit.measurement.taxonomy import in_words
from labkit.measurement.windows import between, is_ok
from labkit.record import FaultWindow


@dataclass(frozen=True, slots=True)
class Service:
    """The share of a region's time in one phase that was without service.

    Attributes:
        phase: as `labkit.measurement.phases.Phase`.
        observed_s: seconds of the phase between the first order due and the last one, whether
            orders were due in each of them or not. Of trials, the sum of theirs: what lies between
            two trials was not watched.
        lost_s: the availability lost in them, in order-seconds (`outages.Stream.lost_s`): an
            order that was not served stands for the time that is nearer to it than to another.
    """

    region: str
    phase: str
    observed_s: float
    lost_s: float

    @property
    def availability(self) -> float | None:
        """The share of the observed time with service; None when nothing was observed."""
        return None if self.observed_s == 0 else 1 - self.lost_s / self.observed_s


@dataclass(frozen=True, slots=True)
class Failures:
    """Operations that were not acknowledged, of one region, phase, kind and error.

    Attributes:
        outcome: "fail" or "info".
        error: the last error in words (`labkit.measurement.taxonomy`).
        sqlstate: of the last error; empty when none came.
        count: how many.
    """

    region: str
    phase: str
    kind: str
    outcome: str
    error: str
    sqlstate: str
    count: int


def service(
    history: History, healthy: Healthy | None = None, pauses: Pauses = ()
) -> tuple[Service, ...]:
    """Measure the lost availability: rows region by region in the history's order, phases in order.

    Only what was watched counts. Phases are cut by time: each second from the first order due to
    the last one of the same trial is in one of them.

    Args:
        pauses: between trials.
    """
    names = phases_of(history.faults)
    observed_s: dict[tuple[str, Phase], float] = defaultdict(float)
    lost_s: dict[tuple[str, Phase], float] = defaultdict(float)
    seen = set()
    for trial in between(history, pauses):
        gone = outage_spans(trial, healthy)
        for region, stream in streams(trial, healthy).items():
            if not len(stream.due_s):
                continue
            seen.add(region)
            first_s, last_s = float(stream.due_s[0]), float(stream.due_s[-1])
            for phase, spans in _spans(names, trial.faults, gone[region], first_s, last_s).items():
                here_s = sum(until_s - since_s for since_s, until_s in spans)
                gone_s = sum(stream.lost_s(since_s, until_s)[0] for since_s, until_s in spans)
                observed_s[region, phase] += here_s
                lost_s[region, phase] += min(gone_s, here_s)
    return tuple(
        Service(region, str(phase), observed_s[region, phase], lost_s[region, phase])
        for region in history.regions
        if region in seen
        for phase in names
    )


def failures(
    history: History, healthy: Healthy | None = None, pauses: Pauses = ()
) -> tuple[Failures, ...]:
    """Count what was not acknowledged during the watch, most frequent first per region and phase.

    What was acknowledged at last is not in it, however often it was tried.

    Args:
        pauses: between trials (`phases`).
    """
    phase = phases(history, healthy, pauses)
    bad = ~is_ok(history.ops) & phase.notna().to_numpy()
    lost = history.ops[bad]
    if lost.empty:
        return ()
    sent = lost["sent_s"].notna()
    counts = Counter(
        zip(
            lost["region"].astype(str),
            phase[bad].astype(str),
            lost["kind"].astype(str),
            lost["outcome"].astype(str),
            lost["sqlstate"].astype(str).where(sent, ""),
            sent,
            strict=True,
        )
    )
    phase_place = {str(phase): place for place, phase in enumerate(Phase)}
    region_place = {region: place for place, region in enumerate(history.regions)}
    rows = [
        Failures(region, phase, kind, outcome, in_words(sqlstate, sent=sent), sqlstate, count)
        for (region, phase, kind, outcome, sqlstate, sent), count in counts.items()
    ]
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                region_place.get(row.region, len(region_place)),
                phase_place[row.phase],
                -row.count,
                row.error,
            ),
        )
    )


def _spans(
    names: list[Phase],
    faults: tuple[FaultWindow, ...],
    gone: Spans,
    first_s: float,
    last_s: float,
) -> dict[Phase, Spans]:
    """Cut the time from the first order due to the last one into phases."""
    held = held_spans(faults)
    edges = sorted(
        {first_s, last_s}
        | {edge for span in (*held, *gone) for edge in span if first_s < edge < last_s}
    )
    begun_s = min((fault.injected_s for fault in faults), default=inf)
    found: dict[Phase, Spans] = {phase: [] for phase in names}
    for since_s, until_s in pairwise(edges):
        middle_s = (since_s + until_s) / 2

        def within(spans: Spans, at_s: float = middle_s) -> bool:
            return any(begin_s <= at_s < end_s for begin_s, end_s in spans)

        if Phase.WHOLE in names:
            phase = Phase.WHOLE
        elif within(gone):
            phase = Phase.OUTAGE
        elif within(held):
            phase = Phase.DURING
        else:
            phase = Phase.BEFORE if middle_s < begun_s else Phase.AFTER
        found[phase].append((since_s, until_s))
    return found
