"""The order of events: what had finished before what began, in one pass over millions.

Each event has a group (a symbol, or a customer's view of one), a moment of beginning and one of
ending, and a place: `lo` before it, `hi` after it. An order of place k goes from k-1 to k; a read
that saw k moves stays at k. All clients run on one machine, so its monotonic clock orders them.

If one event ended before another began, the second must start at a place no lower than the first
left. Places are unique to orders, so this is all there is to linearizability here: the order by
place must agree with the order in time (Herlihy and Wing, "Linearizability: A Correctness Condition
for Concurrent Objects", 1990, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.measurement.windows import is_ok
from labkit.record import OpKind
from labkit.verdict.evidence import Evidence, Part
from labkit.verdict.numbers import NO_ORDER

NEVER_US = 1 << 62
"""The end of what nobody saw the end of."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events, a value each; times are whole microseconds from the run's first moment.

    Attributes:
        row: in `history.ops`.
        begin_us: rounded down, and `end_us` up, so that rounding never puts one before another.
    """

    row: np.ndarray
    group: np.ndarray
    begin_us: np.ndarray
    end_us: np.ndarray
    lo: np.ndarray
    hi: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def chosen(self, which: np.ndarray) -> Events:
        """Select events."""
        return Events(
            self.row[which],
            self.group[which],
            self.begin_us[which],
            self.end_us[which],
            self.lo[which],
            self.hi[which],
        )

    def __add__(self, other: Events) -> Events:
        return Events(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.group, other.group]),
            np.concatenate([self.begin_us, other.begin_us]),
            np.concatenate([self.end_us, other.end_us]),
            np.concatenate([self.lo, other.lo]),
            np.concatenate([self.hi, other.hi]),
        )

    def mirrored(self) -> Events:
        """Reverse time and places."""
        return Events(self.row, self.group, -self.end_us, -self.begin_us, -self.hi, -self.lo)


def orders_of(evidence: Evidence, part: Part) -> Events:
    """Return the orders that were executed and have a place, grouped by symbol.

    The place is the one the client was told, else the one in the final read. What was not
    acknowledged may be executed at any time after it was sent.
    """
    ops, number = evidence.history.ops.iloc[part.ops], evidence.in_history[part.ops]
    place = ops["move_nbr"].to_numpy(np.int64, na_value=-1, copy=True)
    sent = np.asarray(ops["kind"] == str(OpKind.ORDER)) & (number != NO_ORDER)
    sent &= np.asarray(ops["sent_s"].notna())
    if evidence.final is not None:
        untold = np.flatnonzero(sent & (place < 0))
        found = evidence.final_row[number[untold]]
        executed, found = untold[found >= 0], found[found >= 0]
        place[executed] = evidence.final.orders["move_nbr"].to_numpy()[found]
        place[untold[evidence.refused[number[untold]]]] = -1  # a phantom, not an order
    return _events(evidence, part, ops, place, sent & (place > 0), step=1)


def reads_of(evidence: Evidence, part: Part, kind: OpKind) -> Events:
    """Return the reads of a kind that were answered, grouped by symbol."""
    ops = evidence.history.ops.iloc[part.ops]
    place = ops["move_nbr"].to_numpy(np.int64, na_value=-1)
    answered = is_ok(ops) & np.asarray(ops["kind"] == str(kind)) & (place >= 0)
    return _events(evidence, part, ops, place, answered, step=0)


def _events(
    evidence: Evidence,
    part: Part,
    ops: pd.DataFrame,
    place: np.ndarray,
    chosen: np.ndarray,
    *,
    step: int,
) -> Events:
    row = part.ops[chosen]
    every = evidence.history.ops
    origin_s = float(every["scheduled_s"].iloc[0]) if len(every) else 0.0

    def microseconds(moments_s: pd.Series) -> np.ndarray:
        return np.asarray((moments_s.to_numpy()[chosen] - origin_s) * 1e6)

    end_us = np.ceil(microseconds(ops["finished_s"])).astype(np.int64)
    end_us[~is_ok(ops)[chosen]] = NEVER_US
    hi = place[chosen]
    return Events(
        row=row,
        group=evidence.op_symbol[row].astype(np.int64),
        begin_us=np.floor(microseconds(ops["sent_s"])).astype(np.int64),
        end_us=end_us,
        lo=hi - step,
        hi=hi,
    )


def too_low(events: Events, earlier: Events) -> np.ndarray:
    """Tell which events start below a place that an earlier one of their group had left.

    Args:
        events: judged.
        earlier: held against them. One counts for an event that began after it had ended.

    Returns:
        A mark an event. Sorting takes O(n log n), everything else is linear.
    """
    ended = earlier.chosen(earlier.end_us < NEVER_US)
    if not len(ended) or not len(events):
        return np.zeros(len(events), dtype=bool)
    # one number for a group and a moment, one for a group and a place: both sort by group first
    first_us = min(int(ended.end_us.min()), int(events.begin_us.min()))
    span_us = max(int(ended.end_us.max()), int(events.begin_us.max())) - first_us + 2
    base = min(int(ended.hi.min()), int(events.lo.min()))
    width = max(int(ended.hi.max()), int(events.lo.max())) - base + 1
    key = ended.group * span_us + (ended.end_us - first_us)
    by_time = np.argsort(key)
    key = key[by_time]
    highest = np.maximum.accumulate((ended.group * width + (ended.hi - base))[by_time])
    last = np.searchsorted(key, events.group * span_us + (events.begin_us - first_us)) - 1
    found = highest[np.maximum(last, 0)]  # of a lower group: below all of this one's
    return np.asarray((last >= 0) & (found > events.group * width + (events.lo - base)))


def highest_before(event: Events, earlier: Events) -> int:
    """Return the row of the earlier event that left the highest place before this one began.

    Args:
        event: a single one.
    """
    mine = (earlier.group == event.group[0]) & (earlier.end_us < event.begin_us[0])
    found = np.flatnonzero(mine)
    return int(earlier.row[found[np.argmax(earlier.hi[found])]])
