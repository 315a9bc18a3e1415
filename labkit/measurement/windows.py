"""Operations by region and time: latency, ends, and windows of equal width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd

from labkit.errors import BadInput
from labkit.history import History
from labkit.record import Outcome

ALL_REGIONS = "all regions"
"""The row of a table that stands for all of them; not a possible name of a region."""


def is_ok(ops: pd.DataFrame) -> np.ndarray:
    """Tell which operations were acknowledged."""
    return np.asarray(ops["outcome"] == str(Outcome.OK))


def region_codes(history: History) -> np.ndarray:
    """Return the place of each operation's region in `history.regions`, -1 for another region."""
    known = history.ops["region"].cat.set_categories(list(history.regions))
    return np.asarray(known.cat.codes, dtype=np.int64)


def latency_s(ops: pd.DataFrame) -> np.ndarray:
    """Seconds from the scheduled moment to the outcome, whatever the outcome.

    Counting from the schedule and not from the sending keeps the wait behind a stalled service in
    the number (Gil Tene, "How NOT to Measure Latency": coordinated omission).
    """
    return (ops["finished_s"] - ops["scheduled_s"]).to_numpy()


def run_end_s(ops: pd.DataFrame) -> float:
    """Return the last moment the operations know of; -inf when there are none."""
    if ops.empty:
        return float("-inf")
    return float(max(ops["finished_s"].max(), ops["scheduled_s"].max()))


def watched(history: History, slow_s: float) -> np.ndarray:
    """Tell which operations are measured: those that had their time while somebody watched.

    They were due before the watch ended (`History.watched_until_s`). Where it went on to the end of
    the records, that end cuts short what was due in the last `slow_s`: such an operation is
    measured only if it was acknowledged.

    Args:
        slow_s: how long an operation may take and be in time.
    """
    due_s = history.ops["scheduled_s"].to_numpy()
    if history.watched_until_s < np.inf:
        return np.asarray(due_s < history.watched_until_s)
    return is_ok(history.ops) | (due_s <= run_end_s(history.orders.ops) - slow_s)


def watched_orders(history: History) -> pd.DataFrame:
    """Return the orders that were due before the watch ended."""
    orders = history.orders.ops
    return orders[orders["scheduled_s"].to_numpy() < history.watched_until_s]


def due_within(history: History, spans: Iterable[tuple[float, float]]) -> np.ndarray:
    """Find the rows of `history.ops` that were due in one of some stretches of time."""
    due_s = history.ops["scheduled_s"].to_numpy()
    inside = np.zeros(len(due_s), dtype=bool)
    for since_s, until_s in spans:
        inside |= (due_s >= since_s) & (due_s < until_s)
    return np.flatnonzero(inside)


def between(history: History, pauses: Iterable[tuple[float, float]]) -> list[History]:
    """Cut a history at its pauses, each with what was due and injected before the next one ends."""
    ends_s = sorted(end_s for _, end_s in pauses)
    due = np.searchsorted(ends_s, history.ops["scheduled_s"].to_numpy(), side="right")
    injected = np.searchsorted(ends_s, [fault.injected_s for fault in history.faults], side="right")
    return [
        replace(
            history,
            ops=history.ops[due == place],
            faults=tuple(f for f, at in zip(history.faults, injected, strict=True) if at == place),
        )
        for place in range(len(ends_s) + 1)
    ]


def per_window(history: History, *, origin_s: float, width_s: float) -> pd.DataFrame:
    """Latency and throughput of each region's orders over time.

    Latency is that of acknowledged orders, at the time they were scheduled; rates count orders at
    the time they finished.

    Args:
        origin_s: the moment that becomes 0; a window starts there.
        width_s: seconds a window.

    Returns:
        A row a region and window, without holes: `region`, `at_s` (the window's start, seconds
        from the origin), `p50_ms` and `slowest_ms` (NaN where no acknowledged operation was
        scheduled), `acked_per_s`, `failed_per_s` (outcome FAIL or INFO).

    Raises:
        BadInput: `width_s` is not positive.
    """
    if not width_s > 0:
        raise BadInput(f"width_s must be more than 0, not {width_s:g}")
    columns = ["region", "at_s", "p50_ms", "slowest_ms", "acked_per_s", "failed_per_s"]
    history = history.orders
    ops = history.ops
    if ops.empty:
        return pd.DataFrame(columns=columns)
    ok, code = is_ok(ops), region_codes(history)
    scheduled, finished = (
        np.floor((np.asarray(ops[column]) - origin_s) / width_s).astype(np.int64)
        for column in ("scheduled_s", "finished_s")
    )
    first = min(scheduled.min(), finished.min())
    count = max(scheduled.max(), finished.max()) - first + 1
    cells = len(history.regions) * count  # region by region, window by window

    def cell(window: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.asarray(code[chosen] * count + window[chosen] - first)

    known = code >= 0
    acked, failed = known & ok, known & ~ok
    latency_ms = pd.Series(latency_s(ops)[acked] * 1000).groupby(cell(scheduled, acked))
    return pd.DataFrame(
        {
            "region": np.repeat(np.array(history.regions), count),
            "at_s": np.tile(np.arange(first, first + count) * width_s, len(history.regions)),
            "p50_ms": latency_ms.quantile(0.5, interpolation="lower")
            .reindex(range(cells))
            .to_numpy(),
            "slowest_ms": latency_ms.max().reindex(range(cells)).to_numpy(),
            "acked_per_s": np.bincount(cell(finished, acked), minlength=cells) / width_s,
            "failed_per_s": np.bincount(cell(finished, failed), minlength=cells) / width_s,
        },
        columns=columns,
    )
