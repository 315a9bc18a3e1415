"""The lag of each region's replicas, measured by what clients read there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.history import History
from labkit.measurement.parts import parts, rows_in
from labkit.measurement.percentiles import percentile
from labkit.measurement.windows import is_ok
from labkit.record import OpKind


@dataclass(frozen=True, slots=True)
class Staleness:
    """The replica reads of one region.

    Attributes:
        reads: how many were answered.
        behind: how many of them did not show an order acknowledged before they were sent.
        p99_s: of all of them, how far behind; 0 counts too. None of fewer than 100 reads.
        max_s: the furthest.
    """

    region: str
    reads: int
    behind: int
    p99_s: float | None
    max_s: float


def staleness(history: History) -> tuple[Staleness, ...]:
    """Measure each region that read from a replica while it was watched, in the history's order."""
    reads = _answered(history, OpKind.REPLICA_READ)
    due_s = history.ops["scheduled_s"].to_numpy()
    reads = reads[due_s[reads] < history.watched_until_s]
    behind_s = staleness_s(history, reads)
    region = history.ops["region"].iloc[reads]
    rows = []
    for name in history.regions:
        here = behind_s[np.asarray(region == name)]
        if here.size:
            rows.append(
                Staleness(
                    name,
                    len(here),
                    int((here > 0).sum()),
                    percentile(here, 99),
                    float(here.max()),
                )
            )
    return tuple(rows)


def staleness_s(history: History, reads: np.ndarray) -> np.ndarray:
    """Tell how far behind each read was, in seconds.

    The time from the earliest acknowledgement of an order that the read does not show to the
    sending of the read; 0 when it shows all that were acknowledged. It is what clients can know:
    the replica may have been behind for longer than the acknowledgement took, and a symbol that
    nobody orders is never seen to be behind.

    Args:
        reads: rows of `history.ops`, answered reads.
    """
    symbol = history.ops["symbol"].cat.codes.to_numpy()
    orders = _answered(history, OpKind.ORDER)
    behind_s = np.zeros(len(reads))
    for part in parts(len(history.ops["symbol"].cat.categories), symbol[orders], symbol[reads]):
        mine = rows_in(part, symbol[reads])
        others = rows_in(part, symbol[orders])
        if mine.size and others.size:
            behind_s[mine] = _behind_s(history.ops, reads[mine], orders[others])
    return behind_s


def _behind_s(ops: pd.DataFrame, reads: np.ndarray, orders: np.ndarray) -> np.ndarray:
    read, order = ops.iloc[reads], ops.iloc[orders]
    seen, place = (some["move_nbr"].to_numpy(np.int64) for some in (read, order))
    looked_at, ordered = (some["symbol"].cat.codes.to_numpy(np.int64) for some in (read, order))
    width = int(max(seen.max(), place.max())) + 2
    key = ordered * width + place
    by_place = np.argsort(key)
    key, ordered = key[by_place], ordered[by_place]
    earliest_s = _earliest_from_here(order["finished_s"].to_numpy()[by_place], ordered)
    missed = np.searchsorted(key, looked_at * width + seen, side="right")
    inside = np.minimum(missed, len(key) - 1)
    some = (missed < len(key)) & (ordered[inside] == looked_at)
    behind_s = read["sent_s"].to_numpy() - earliest_s[inside]
    return np.where(some, np.maximum(behind_s, 0.0), 0.0)


def _earliest_from_here(finished_s: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Compute the earliest of each row and those after it of its symbol; rows sorted by symbol."""
    # each symbol is lifted above the one before it, so that a minimum never reaches across
    start_s, span_s = finished_s.min(), finished_s.max() - finished_s.min() + 1.0
    lifted = symbol * span_s + (finished_s - start_s)
    lowest = np.minimum.accumulate(lifted[::-1])[::-1]
    return np.asarray(lowest - symbol * span_s + start_s)


def _answered(history: History, kind: OpKind) -> np.ndarray:
    ops = history.ops
    chosen = np.asarray(ops["kind"] == str(kind)) & np.asarray(ops["move_nbr"].notna())
    return np.flatnonzero(chosen & is_ok(ops))
