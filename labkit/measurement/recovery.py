"""The cost of each fault: RTO, write gap, availability lost and RPO.

All times are those of clients: the schedule says when an order should have started, so an outage
cannot hide behind clients that wait. docs/runs.md has the definitions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import pandas as pd

from labkit.history import History, only_orders
from labkit.measurement.outages import Healthy, Stream, Usual
from labkit.measurement.windows import (
    ALL_REGIONS,
    is_ok,
    latency_s,
    run_end_s,
    watched,
    watched_orders,
)
from labkit.record import FaultWindow


@dataclass(frozen=True, slots=True)
class Recovery:
    """The cost of one fault for one region, or for all of them together.

    Attributes:
        fault: the fault's label, such as "kill us-west-2/1".
        region: a region, or `ALL_REGIONS`.
        rto_s: the longest outage that was on between this fault's injection and the next one's
            (its healing included), from the injection on; 0 when none was seen; None when it is
            not known, for the reason in `no_rto`. `ALL_REGIONS`: the slowest region's.
        rto_error_s: how far off `rto_s` may be: with 99 % it is within so much. With `rto_s` 0 an
            outage shorter than this may have been between two orders.
        no_rto: why `rto_s` is None, such as "not recovered in 29 s"; empty when it is not.
            `ALL_REGIONS`: with the name of the region, unless it holds for each of them.
        at_least_s: where `rto_s` is None, how long the longest outage lasted at least: it was over,
            or nobody watched any more. 0 without one, and where `rto_s` is known.
        write_gap_s: the longest time between two acknowledgements that overlaps the fault, None
            when nothing was going on then. `ALL_REGIONS`: all acknowledgements together, so one
            region that goes on writing keeps it short.
        unavailable_s: the availability lost from the injection on, in order-seconds: outages count
            with their length, one in ten orders refused for 30 s with 3 s. None when it is not
            known. `ALL_REGIONS`: the worst region's.
        unavailable_error_s: how far off `unavailable_s` may be.
        observed_s: how long after the injection service was watched, 0 when not at all.
            `ALL_REGIONS`: the region watched for the shortest time.
        aimed_at: whether the fault was aimed at this region.
    """

    fault: str
    region: str
    rto_s: float | None
    rto_error_s: float
    no_rto: str
    at_least_s: float
    write_gap_s: float | None
    unavailable_s: float | None
    unavailable_error_s: float
    observed_s: float
    aimed_at: bool = False


CLOSED_LOOP = "not measured in a closed loop"
"""Customers that wait for a reply send nothing meanwhile: nobody asks whether service is back."""


def recovery(
    history: History,
    healthy: Healthy | None = None,
    *,
    open_loop: bool = True,
) -> tuple[Recovery, ...]:
    """Measure what each fault did to orders: a row a fault and region, then `ALL_REGIONS`.

    What was due after the watch ended does not count: nobody watched whether service would come
    back from what it met. Nor do reads: a replica goes on answering them while nobody can order.

    Args:
        open_loop: whether orders were sent by schedule. Otherwise there is no RTO, and no
            availability that was lost; the write gap remains.
    """
    found = streams(history, healthy)
    ends_s = [float(stream.due_s[-1]) for stream in found.values() if len(stream.due_s)]
    ends_s += [fault.healed_s for fault in history.faults if fault.healed_s is not None]
    ends_s += [history.watched_until_s] if history.watched_until_s < inf else []
    end_s = max(ends_s, default=-inf)
    orders = watched_orders(history)
    rows: list[Recovery] = []
    for fault in history.faults:
        later = [f.injected_s for f in history.faults if f.injected_s > fault.injected_s]
        until_s = min(later, default=inf)
        regions = [
            measure(name, stream, fault, until_s=until_s, end_s=end_s)
            if open_loop
            else _unmeasured(name, stream, fault)
            for name, stream in found.items()
        ]
        gaps_s = [write_gap_s(orders[orders["region"] == name], fault) for name in found]
        rows += [
            replace(row, write_gap_s=gap, aimed_at=row.region in fault.regions)
            for row, gap in zip(regions, gaps_s, strict=True)
        ]
        if regions:
            rows.append(_worst(regions, write_gap_s(orders, fault)))
    return tuple(rows)


def streams(history: History, healthy: Healthy | None = None) -> dict[str, Stream]:
    """Turn the watched orders of a history into a stream for each region, in its order."""
    healthy = healthy or Healthy()
    slow_s = healthy.slow_ms / 1000
    injected_s = tuple(fault.injected_s for fault in history.faults)
    first_s = min(injected_s, default=inf)
    ops = only_orders(history.ops[watched(history, slow_s)])
    found = {}
    for region in history.regions:
        here = ops[ops["region"] == region]
        ok, took_s = is_ok(here), latency_s(here)
        finished_s = here["finished_s"].to_numpy()
        in_time = ok & (took_s <= slow_s)
        before = finished_s < first_s
        usual = Usual.of(took_s[in_time & before], took_s[in_time & ~before])
        due_s = here["scheduled_s"].to_numpy()
        found[region] = Stream(due_s, finished_s, ok, usual, healthy, injected_s)
    return found


def write_gap(ops: pd.DataFrame, fault: FaultWindow) -> tuple[float, float] | None:
    """Return the longest time between two acknowledged orders whose interval overlaps the fault.

    The first scheduled moment and the last known one stand as the outer ends, so a gap that never
    closed counts up to the end of the run. Idle time counts too: with one operation a second a
    gap below one second says nothing.

    Returns:
        When it began and ended, or None when the fault lies wholly outside the run.
    """
    ops = only_orders(ops)
    if ops.empty:
        return None
    acks_s = np.sort(ops["finished_s"].to_numpy()[is_ok(ops)])
    ends_s = np.concatenate(([ops["scheduled_s"].min()], acks_s, [run_end_s(ops)]))
    healed_s = np.inf if fault.healed_s is None else fault.healed_s
    overlapping = np.flatnonzero((ends_s[:-1] < healed_s) & (ends_s[1:] > fault.injected_s))
    if not overlapping.size:
        return None
    longest = overlapping[np.diff(ends_s)[overlapping].argmax()]
    return float(ends_s[longest]), float(ends_s[longest + 1])


def write_gap_s(ops: pd.DataFrame, fault: FaultWindow) -> float | None:
    """Return the length of `write_gap` in seconds, None when there is none."""
    gap = write_gap(ops, fault)
    return None if gap is None else gap[1] - gap[0]


def rpo_s(history: History, lost: Iterable[str]) -> float | None:
    """Tell how much acknowledged work is missing, in seconds.

    From the first lost acknowledgement to the last one, or to the first fault after it where that
    is later: what an operator would say was rolled back. 0 when nothing was lost. None when the
    history does not have the acknowledgement of a lost order: nobody knows when it was.

    Args:
        lost: order ids that were acknowledged and are not in the database.
    """
    ids = set(lost)
    if not ids:
        return 0.0
    missing = history.ops["order_id"].isin(ids).to_numpy() & is_ok(history.ops)
    if history.ops["order_id"][missing].nunique() < len(ids):
        return None
    acked_s = history.ops["finished_s"].to_numpy()[missing]
    first_s, last_s = float(acked_s.min()), float(acked_s.max())
    faults_s = [fault.injected_s for fault in history.faults if fault.injected_s >= first_s]
    return max(last_s, min(faults_s, default=last_s)) - first_s


def measure(
    region: str, stream: Stream, fault: FaultWindow, *, until_s: float, end_s: float
) -> Recovery:
    """Measure one region, all but its write gap.

    Args:
        until_s: when the next fault was injected.
        end_s: the end of the watch: when the last order of any region was due, the last fault was
            healed, or all were seen to be back, whichever came last.
    """
    injected_s = fault.injected_s
    last_due_s = float(stream.due_s[-1]) if len(stream.due_s) else -inf
    observed_s = max(0.0, last_due_s - injected_s)
    rto_s, error_s, at_least_s, why = 0.0, 0.0, 0.0, ""
    if observed_s <= 0:
        why = "not watched"
    elif end_s - last_due_s > stream.long_s:
        why = f"its records end {end_s - last_due_s:.1f} s before the end of the watch"
    for outage in stream.outages:
        if outage.start.at_s >= until_s or (outage.end and outage.end.at_s <= injected_s):
            continue
        start = outage.since(injected_s)
        if outage.end is None:
            at_least_s = max(at_least_s, last_due_s - start.high_s)
            why = why or f"not recovered in {last_due_s - start.at_s:.1f} s"
            continue
        at_least_s = max(at_least_s, outage.end.low_s - start.high_s)
        if (length_s := outage.end.at_s - start.at_s) > rto_s:
            rto_s, error_s = length_s, start.error_s + outage.end.error_s
    healthy, count = stream.healthy, int((stream.due_s >= injected_s).sum())
    if observed_s < healthy.sustained_s or count < healthy.sustained_orders:
        why = why or f"watched for {observed_s:.1f} s only, {count:,} orders"
    until_s = min(until_s, last_due_s)
    lost_s, lost_error_s = stream.lost_s(injected_s, until_s)
    known = not why
    return Recovery(
        fault=fault.label,
        region=region,
        rto_s=rto_s if known else None,
        rto_error_s=max(error_s, stream.hidden_s(injected_s, until_s) - rto_s) if known else 0.0,
        no_rto=why,
        at_least_s=0.0 if known else at_least_s,
        write_gap_s=None,
        unavailable_s=lost_s if observed_s > 0 else None,
        unavailable_error_s=lost_error_s if observed_s > 0 else 0.0,
        observed_s=observed_s,
    )


def _unmeasured(region: str, stream: Stream, fault: FaultWindow) -> Recovery:
    last_due_s = float(stream.due_s[-1]) if len(stream.due_s) else -inf
    observed_s = max(0.0, last_due_s - fault.injected_s)
    return Recovery(fault.label, region, None, 0.0, CLOSED_LOOP, 0.0, None, None, 0.0, observed_s)


def _worst(regions: list[Recovery], gap_s: float | None) -> Recovery:
    """Return the row of all regions."""
    unknown = [row for row in regions if row.rto_s is None]
    known = [(row.rto_s, row.rto_error_s) for row in regions if row.rto_s is not None]
    rto_s, error_s = largest(known)
    lost = [
        (row.unavailable_s, row.unavailable_error_s)
        for row in regions
        if row.unavailable_s is not None
    ]
    lost_s, lost_error_s = largest(lost)
    whole = len(lost) == len(regions)
    return Recovery(
        fault=regions[0].fault,
        region=ALL_REGIONS,
        rto_s=None if unknown else rto_s,
        rto_error_s=0.0 if unknown else error_s,
        no_rto=_no_rto(regions, unknown),
        at_least_s=max(row.at_least_s for row in regions),
        write_gap_s=gap_s,
        unavailable_s=lost_s if whole else None,
        unavailable_error_s=lost_error_s if whole else 0.0,
        observed_s=min(row.observed_s for row in regions),
    )


def _no_rto(regions: list[Recovery], unknown: list[Recovery]) -> str:
    """Say of which region there is no RTO and why: of the one whose outage lasted longest."""
    if not unknown:
        return ""
    worst = max(unknown, key=lambda row: row.at_least_s)
    alike = {row.no_rto for row in regions} == {worst.no_rto}
    return worst.no_rto if alike else f"{worst.region}: {worst.no_rto}"


def largest(numbers: list[tuple[float, float]]) -> tuple[float, float]:
    """Find the largest number, and how far off it may be: another may be larger by its own error.

    Args:
        numbers: each with its error; 0 stands for none.
    """
    found, error = max(numbers, default=(0.0, 0.0))
    return found, max((value + off - found for value, off in numbers), default=error)
