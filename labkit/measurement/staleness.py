"""How far behind the replicas of each region were, by what clients read there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labkit.history import History, OpKind
from labkit.measurement.windows import is_ok


@dataclass(frozen=True, slots=True)
class Staleness:
    """The replica reads of one region.

    Attributes:
        reads: how many were answered.
        behind: how many of them did not show an order acknowledged before they were sent.
        p99_s: of all of them, how far behind; 0 counts too.
        max_s: the furthest.
    """

    region: str
    reads: int
    behind: int
    p99_s: float
    max_s: float


def staleness(history: History) -> tuple[Staleness, ...]:
    """A row for each region that read from a replica, in the history's order."""
    reads = _answered(history, OpKind.REPLICA_READ)
    behind_s = staleness_s(history, reads)
    region = history.ops["region"].to_numpy()[reads]
    rows = []
    for name in history.regions:
        here = behind_s[np.asarray(region == name)]
        if here.size:
            rows.append(
                Staleness(
                    name,
                    len(here),
                    int((here > 0).sum()),
                    float(np.percentile(here, 99)),
                    float(here.max()),
                )
            )
    return tuple(rows)


def staleness_s(history: History, reads: np.ndarray) -> np.ndarray:
    """How far behind each read was, in seconds.

    The time from the earliest acknowledgement of an order that the read does not show to the
    sending of the read; 0 when it shows all that were acknowledged. It is what clients can know:
    the replica may have been behind for longer than the acknowledgement took, and a symbol that
    nobody orders is never seen to be behind.

    Args:
        reads: rows of `history.ops`, answered reads.
    """
    ops = history.ops
    symbol = ops["symbol"].cat.codes.to_numpy().astype(np.int64)
    place = ops["move_nbr"].to_numpy(np.int64, na_value=0)
    orders = _answered(history, OpKind.ORDER)
    if not orders.size or not reads.size:
        return np.zeros(len(reads))
    width = int(max(place[orders].max(), place[reads].max())) + 2
    key = symbol[orders] * width + place[orders]
    by_place = np.argsort(key)
    key, orders = key[by_place], orders[by_place]
    finished_s = ops["finished_s"].to_numpy()
    earliest_s = _earliest_from_here(finished_s[orders], symbol[orders])
    missed = np.searchsorted(key, symbol[reads] * width + place[reads], side="right")
    inside = np.minimum(missed, len(key) - 1)
    some = (missed < len(key)) & (symbol[orders][inside] == symbol[reads])
    behind_s = ops["sent_s"].to_numpy()[reads] - earliest_s[inside]
    return np.where(some, np.maximum(behind_s, 0.0), 0.0)


def _earliest_from_here(finished_s: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """The earliest of each row and those after it of the same symbol; rows sorted by symbol."""
    # each symbol is lifted above the one before it, so that a minimum never reaches across
    start_s, span_s = finished_s.min(), finished_s.max() - finished_s.min() + 1.0
    lifted = symbol * span_s + (finished_s - start_s)
    lowest = np.minimum.accumulate(lifted[::-1])[::-1]
    return np.asarray(lowest - symbol * span_s + start_s)


def _answered(history: History, kind: OpKind) -> np.ndarray:
    ops = history.ops
    chosen = np.asarray(ops["kind"] == str(kind)) & np.asarray(ops["move_nbr"].notna())
    return np.flatnonzero(chosen & is_ok(ops))
