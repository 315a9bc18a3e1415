"""How long service was gone: RTO, write gap, unavailability and RPO of each fault.

All times come from what clients felt: the schedule says when an operation should have started,
so an outage cannot hide behind clients that wait.

What is not measured: a region's service between two scheduled operations. At a low rate every
number here is as coarse as the time between two operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import pandas as pd

from labkit.errors import BadInput
from labkit.history import FaultWindow, History, only_orders
from labkit.measurement.latency import ALL_REGIONS
from labkit.measurement.windows import is_ok, latency_s, run_end_s


@dataclass(frozen=True, slots=True)
class Healthy:
    """When service counts as healthy.

    An operation is good when it was acknowledged within `slow_ms` of its scheduled moment. A
    window is healthy when at least `good_ratio` of the operations scheduled in it are good (good
    events over valid events: Google, The Site Reliability Workbook, chapter 2). A window with no
    scheduled operation is neither healthy nor unhealthy and is passed over.

    So an outage shorter than `slow_ms` is none, and a longer one ends with the first operation
    that waits less than that for its end: RTO asks when a customer who orders now is served in
    time again. `write_gap_s` has no such tolerance; read the two together.

    Attributes:
        width_s: seconds a window. RTO is a multiple of it: 0.25 s is fine against an RTO of
            seconds and holds ten operations at 40 a second.
        windows: how many healthy windows in a row end an outage. Four are a second of service.
        good_ratio: of the operations of a window.
        slow_ms: slower is not good. The default is about three times the p99 of the slowest
            region of the default topology when all is well.
        onset_s: an outage that begins this soon after the injection counts from the injection,
            because detection is part of recovery; one that begins later counts from its own
            beginning, so that a hiccup half a minute later is not half a minute of outage.

    Raises:
        BadInput: a value that cannot be.
    """

    width_s: float = 0.25
    windows: int = 4
    good_ratio: float = 0.9
    slow_ms: float = 1000.0
    onset_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.width_s > 0:
            raise BadInput(f"width_s must be more than 0, not {self.width_s:g}")
        if self.windows < 1:
            raise BadInput(f"windows must be 1 or more, not {self.windows}")
        if not 0 < self.good_ratio <= 1:
            raise BadInput(f"good_ratio must be above 0 and at most 1, not {self.good_ratio:g}")
        if not self.slow_ms > 0:
            raise BadInput(f"slow_ms must be more than 0, not {self.slow_ms:g}")
        if not self.onset_s >= 0:
            raise BadInput(f"onset_s must be 0 or more, not {self.onset_s:g}")


@dataclass(frozen=True, slots=True)
class Outage:
    """Service was not healthy from `start_s` until `end_s` (None: to the end of the run)."""

    start_s: float
    end_s: float | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What one fault did to one region, or to all of them together.

    Attributes:
        fault: the fault's label, such as "kill us-west-2/1".
        region: a region, or `ALL_REGIONS`.
        rto_s: the longest outage that began between this fault's injection and the next one's
            (its healing included), 0 when service stayed healthy, None when it did not recover
            or could not be watched. `ALL_REGIONS`: the slowest region's.
        write_gap_s: the longest time between two acknowledgements that overlaps the fault, None
            when nothing was going on then. `ALL_REGIONS`: all acknowledgements together, so one
            region that goes on writing keeps it short.
        unavailable_s: all outages together. `ALL_REGIONS`: the worst region's.
        observed_s: how long after the injection service was watched, 0 when not at all.
            `ALL_REGIONS`: the region watched for the shortest time.
    """

    fault: str
    region: str
    rto_s: float | None
    write_gap_s: float | None
    unavailable_s: float
    observed_s: float


def recovery(
    history: History, healthy: Healthy | None = None, *, watched_until_s: float = inf
) -> tuple[Recovery, ...]:
    """What each fault did to orders: a row a fault and region, then one for `ALL_REGIONS`.

    Reads do not count: a replica goes on answering them while nobody can order.

    Args:
        watched_until_s: all orders due before it have had their time. Those due later do not
            count: nobody watched whether service would come back from what they met.
    """
    history = history.orders
    healthy = healthy or Healthy()
    end_s = run_end_s(history.ops)
    if watched_until_s < inf:
        ops, end_s = history.ops, inf
        history = replace(history, ops=ops[ops["scheduled_s"] < watched_until_s])
    of_region = {name: history.ops[history.ops["region"] == name] for name in history.regions}
    rows: list[Recovery] = []
    for fault in history.faults:
        later = [f.injected_s for f in history.faults if f.injected_s > fault.injected_s]
        until_s = min(later, default=inf)
        regions = [
            _recovery(name, ops, fault, until_s, end_s, healthy) for name, ops in of_region.items()
        ]
        rows += regions
        if regions:
            rows.append(_together(regions, write_gap_s(history.ops, fault)))
    return tuple(rows)


def outages(
    ops: pd.DataFrame, *, since_s: float, healthy: Healthy, end_s: float | None = None
) -> tuple[tuple[Outage, ...], float]:
    """The outages from `since_s` on, by windows that start there.

    An outage begins with an unhealthy window and ends with the first of `healthy.windows` healthy
    ones in a row.

    Args:
        ops: of one region.
        end_s: the end of the run, by default the last moment `ops` know of.

    Returns:
        The outages in order, and the end of the last window that could be judged (`since_s` when
        there was none).
    """
    end_s = run_end_s(ops) if end_s is None else end_s
    starts_s, fine = judged_windows(ops, since_s=since_s, healthy=healthy, end_s=end_s)
    if not starts_s.size:
        return (), since_s

    unhealthy = np.flatnonzero(~fine)
    healthy_so_far = np.concatenate(([0], np.cumsum(fine)))
    in_a_row = healthy_so_far[healthy.windows :] - healthy_so_far[: -healthy.windows]
    recovered = np.flatnonzero(in_a_row == healthy.windows)
    found: list[Outage] = []
    at = 0
    while (i := np.searchsorted(unhealthy, at)) < len(unhealthy):
        begin = unhealthy[i]
        j = np.searchsorted(recovered, begin)
        if j == len(recovered):
            found.append(Outage(float(starts_s[begin]), None))
            break
        at = recovered[j]
        found.append(Outage(float(starts_s[begin]), float(starts_s[at])))
    return tuple(found), float(starts_s[-1] + healthy.width_s)


def judged_windows(
    ops: pd.DataFrame, *, since_s: float, healthy: Healthy, end_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """The windows from `since_s` on that had operations, and whether each was healthy.

    An operation that was not acknowledged, and was scheduled less than `slow_ms` before the end
    of the run, is left out: it did not have its time.

    Args:
        ops: of one region.
        end_s: the end of the run.

    Returns:
        When each began, in order, and a truth value for each.
    """
    ok, latency = is_ok(ops), latency_s(ops)
    scheduled = ops["scheduled_s"].to_numpy()
    slow_s = healthy.slow_ms / 1000
    counted = (scheduled >= since_s) & (ok | (end_s - scheduled >= slow_s))
    window = np.floor((scheduled[counted] - since_s) / healthy.width_s).astype(np.int64)
    total = np.bincount(window)
    good = np.bincount(window, weights=(ok & (latency <= slow_s))[counted], minlength=len(total))
    judged = np.flatnonzero(total)
    fine = good[judged] >= healthy.good_ratio * total[judged]
    return since_s + judged * healthy.width_s, fine


def write_gap(ops: pd.DataFrame, fault: FaultWindow) -> tuple[float, float] | None:
    """The longest time between two acknowledged orders whose interval overlaps the fault.

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
    """The length of `write_gap` in seconds, None when there is none."""
    gap = write_gap(ops, fault)
    return None if gap is None else gap[1] - gap[0]


def rpo_s(history: History, lost: Iterable[str]) -> float | None:
    """How much acknowledged work is missing, in seconds.

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


def _recovery(
    region: str,
    ops: pd.DataFrame,
    fault: FaultWindow,
    until_s: float,
    end_s: float,
    healthy: Healthy,
) -> Recovery:
    found, watched_s = outages(ops, since_s=fault.injected_s, healthy=healthy, end_s=end_s)
    mine = [outage for outage in found if outage.start_s < until_s]
    observed_s = watched_s - fault.injected_s
    lengths_s = []
    for outage in mine:
        soon = outage.start_s - fault.injected_s <= healthy.onset_s
        begin_s = fault.injected_s if soon else outage.start_s
        lengths_s.append(None if outage.end_s is None else outage.end_s - begin_s)
    closed_s = [length for length in lengths_s if length is not None]
    recovered = observed_s > 0 and len(closed_s) == len(lengths_s)
    return Recovery(
        fault=fault.label,
        region=region,
        rto_s=max(closed_s, default=0.0) if recovered else None,
        write_gap_s=write_gap_s(ops, fault),
        unavailable_s=sum(
            (watched_s if outage.end_s is None else outage.end_s) - outage.start_s
            for outage in mine
        ),
        observed_s=observed_s,
    )


def _together(regions: list[Recovery], gap_s: float | None) -> Recovery:
    rtos_s = [row.rto_s for row in regions if row.rto_s is not None]
    return Recovery(
        fault=regions[0].fault,
        region=ALL_REGIONS,
        rto_s=max(rtos_s) if len(rtos_s) == len(regions) else None,
        write_gap_s=gap_s,
        unavailable_s=max(row.unavailable_s for row in regions),
        observed_s=min(row.observed_s for row in regions),
    )
