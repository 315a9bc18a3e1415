"""Rows of a recording that cannot be: damaged, edited, or written by a client with a mistake.

One monotonic clock timed them all, and a client knows what it did: so no correct client of a lab
leaves such a row. Nothing can be concluded from one, and nothing from a run that has one, except
that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from labkit.history import History, Terms
from labkit.measurement.windows import is_ok
from labkit.record import FaultWindow, OpKind, Outcome

EARLY_S = 0.001
"""By how much an operation may be sent before it was due: a timer may end a clock tick early."""
LONGEST_S = 31 * 86_400.0
"""No run is longer. A time further than this from the run's middle is no time of it."""
LARGEST_PLACE = 1 << 40
"""Places beyond it would not fit beside a symbol in 64 bits; no symbol is ordered so often."""
SIDES = ("buy", "sell")


def impossible_rows(history: History, named: np.ndarray) -> dict[str, np.ndarray]:
    """Find the rows of `history.ops` that cannot be.

    Args:
        named: which rows have the id of an order.

    Returns:
        Row numbers by what is wrong with them; empty for a recording that can be. A row may be in
        several. Orders that are recorded twice need their numbers: `recorded_twice`.
    """
    return {why: np.flatnonzero(marks) for why, marks in _marks(history, named) if marks.any()}


def recorded_twice(history: History, number: np.ndarray) -> np.ndarray:
    """Find the rows that record what another row has recorded already.

    A client makes an id for each order and records the order once, its retries included. So a
    second row of an id is no retry, whatever the outcomes of both are.

    Args:
        number: the order's number of each row, below 0 for a row without an order.

    Returns:
        Numbers of rows: of each order all but the first that is acknowledged, or the first if none
        is; of what is no order, copies.
    """
    ops = history.ops
    of_orders, others = np.flatnonzero(number >= 0), np.flatnonzero(number < 0)
    ok = is_ok(ops)[of_orders]
    of_orders = np.concatenate([of_orders[ok], of_orders[~ok]])
    kept = np.unique(number[of_orders], return_index=True)[1]
    again = np.sort(np.delete(of_orders, kept))
    ended = np.sort(ops["finished_s"].to_numpy()[others])
    if (ended[1:] == ended[:-1]).any():
        copies = others[ops.iloc[others].duplicated().to_numpy()]
        again = np.union1d(again, copies)
    return np.asarray(again)


def impossible_faults(history: History) -> tuple[str, ...]:
    """Name the faults whose moments cannot be: not a time, or in another order than they happen."""
    return tuple(f"fault {fault.label}: {why}" for fault in history.faults for why in _wrong(fault))


def impossible_terms(history: History) -> tuple[str, ...]:
    """Name what of `history.terms` does not fit its faults: looks and a watch at another time.

    With the faults of several trials it is the last one that the terms are about.
    """
    if history.terms is None:
        return ()
    return tuple(f"terms: {why}" for why in _unfit(history.terms, history.faults))


def _unfit(terms: Terms, faults: Sequence[FaultWindow]) -> Iterator[str]:
    moments_s = [at_s for look in terms.looks.values() for at_s in look]
    if np.isnan([*moments_s, terms.watched_until_s]).any():
        yield "one of its moments is not a time"
    if not faults:
        return
    injected_s = max(fault.injected_s for fault in faults)
    # of a fault that still holds there is no time after it
    healed_s = max(np.inf if fault.healed_s is None else fault.healed_s for fault in faults)
    before, after = terms.looks.get("before"), terms.looks.get("after")
    if before and before[1] > injected_s:
        yield "the state before the fault was looked at after its injection"
    if after and after[0] < healed_s:
        yield "the state after the fault was looked at before its healing"
    if terms.watched_until_s < healed_s < np.inf:
        yield "the watch ended before the fault was healed"


def without(history: History, rows: np.ndarray) -> History:
    """Leave rows out, and faults that have no possible time: what can be measured."""
    faults = tuple(fault for fault in history.faults if not any(_wrong(fault)))
    if not len(rows) and len(faults) == len(history.faults):
        return history
    keep = np.ones(len(history.ops), dtype=bool)
    keep[rows] = False
    return replace(history, ops=history.ops[keep].reset_index(drop=True), faults=faults)


def every_row(wrong: dict[str, np.ndarray]) -> np.ndarray:
    """All rows that something is wrong with, once each and in order."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *wrong.values()])).astype(np.int64)


def _wrong(fault: FaultWindow) -> Iterator[str]:
    moments_s = [fault.injected_s, fault.took_effect_s, fault.healed_s]
    known_s = [at_s for at_s in moments_s if at_s is not None]
    if not np.isfinite(known_s).all():
        yield "one of its moments is not a time"
    elif any(at_s < fault.injected_s for at_s in known_s):
        yield "it took effect or was healed before it was injected"


def _marks(history: History, named: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    ops = history.ops
    if ops.empty:
        return
    yield from _of_times(ops)
    yield "no such region", ~_known(ops["region"], history.regions)
    yield "no such kind of operation", ~_known(ops["kind"], tuple(OpKind))
    yield "no such outcome", ~_known(ops["outcome"], tuple(Outcome))
    ok = is_ok(ops)
    order = np.asarray(ops["kind"] == str(OpKind.ORDER))
    yield "an order without an id", order & ~named
    yield "a read with the id of an order", ~order & named
    yield "an order of no instrument", order & ~_filled(ops["symbol"])
    yield "neither a buy nor a sell", order & ~_known(ops["side"], SIDES)
    never_sent = np.isnan(ops["sent_s"].to_numpy())
    attempts = ops["attempts"].to_numpy()
    failed = np.asarray(ops["outcome"] == str(Outcome.FAIL))
    yield "never sent, and not refused", never_sent & ~failed
    yield (
        "its attempts and the moment of its first one do not agree",
        (never_sent != (attempts == 0)) | (attempts < 0),
    )
    place = ops["move_nbr"].to_numpy(np.int64, na_value=-1)
    told = np.asarray(ops["move_nbr"].notna())
    beyond = (place < order) | (place >= LARGEST_PLACE)
    yield "a place that no order can have", told & beyond
    price = ops["price_cents"].to_numpy(np.int64, na_value=0)
    priced = np.asarray(ops["price_cents"].notna())
    yield "a price that cannot be", priced & ((price <= 0) | (price >= 1 << 53))
    yield "an answered read without a price or its place", ok & ~order & ~(told & priced)


def _of_times(ops: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    due_s, sent_s, ended_s = (
        ops[name].to_numpy() for name in ("scheduled_s", "sent_s", "finished_s")
    )
    never_sent = np.isnan(sent_s)
    timed = np.isfinite(due_s) & np.isfinite(ended_s) & (never_sent | np.isfinite(sent_s))
    yield "a moment that is not a time", ~timed
    middle_s = float(np.median(due_s[timed])) if timed.any() else 0.0
    near = np.ones(len(ops), dtype=bool)
    for moments_s in (due_s, sent_s, ended_s):
        near &= ~(np.abs(moments_s - middle_s) > LONGEST_S)
    yield "a moment outside of the run", timed & ~near
    yield "sent before it was due", sent_s < due_s - EARLY_S
    yield "answered before it was sent", ended_s < sent_s
    yield "ended before it was due", ended_s < due_s - EARLY_S


def _known(column: pd.Series, names: tuple[str, ...]) -> np.ndarray:
    """Return a mask: where the value is one of `names`; False where there is none."""
    of_code = np.append(np.isin(column.cat.categories.astype(str), [*names]), False)
    return np.asarray(of_code[column.cat.codes.to_numpy()])  # the code of no value is -1


def _filled(column: pd.Series) -> np.ndarray:
    of_code = np.append(column.cat.categories.astype(str).str.len() > 0, False)
    return np.asarray(of_code[column.cat.codes.to_numpy()])
