"""Whether what clients were told agrees with when they asked: fresh reads, sessions, replicas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.history import History, OpKind
from labkit.measurement.staleness import staleness
from labkit.verdict.checkers.finding import (
    OFFENDERS_SHOWN,
    Finding,
    Verdict,
    counted,
    no_final_read,
)
from labkit.verdict.checkers.precedence import (
    Events,
    highest_before,
    orders_of,
    reads_of,
    too_low,
)
from labkit.verdict.evidence import Evidence


@dataclass(frozen=True)
class RealTime:
    """Each order and each fresh read took effect at one moment between its sending and its answer.

    A fresh read shows at least every order that was acknowledged before it was sent, and none that
    was sent after it was answered; and orders have places in the order of time. Orders of foreign
    clients have places too, and no times: they widen what a read may show, and cannot be caught
    out. An order that was not acknowledged may take effect at any time after it was sent.

    Proves: the price's counter of moves is linearizable as far as this run's orders and fresh
    reads can tell (`checkers/precedence.py` says why comparing pairs is enough), and no read shows
    more moves than there are at the end.
    Cannot: see what no operation of the run overlapped or followed; a stale read of a symbol that
    nobody ordered meanwhile is no different from a fresh one.
    """

    name: ClassVar[str] = "real_time"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        orders, reads = orders_of(evidence), reads_of(evidence.history, OpKind.FRESH_READ)
        if not len(orders) and not len(reads):
            return Finding(self.name, Verdict.UNKNOWN, "no order and no fresh read was answered")
        future = _beyond(evidence, reads) | _too_new(reads, orders)
        # what is proven to be from the future is no measure for others
        told = reads.chosen(~future)
        behind = reads.chosen(~future & too_low(reads, orders + told))
        late = orders.chosen(too_low(orders, orders))
        count = int(future.sum()) + len(behind) + len(late)
        seen = f"{counted(len(orders), 'order')} and {counted(len(reads), 'fresh read')}"
        if not count:
            return Finding(self.name, Verdict.PASS, f"{seen} in the order of time")
        describe = _Describe(evidence)
        offenders = [
            *(describe.future(event, orders) for event in _first(reads.chosen(future))),
            *(describe.behind(event, orders + told) for event in _first(behind)),
            *(describe.behind(event, orders) for event in _first(late)),
        ]
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{count:,} of {seen} not in the order of time",
            tuple(offenders[:OFFENDERS_SHOWN]),
            count,
        )


@dataclass(frozen=True)
class Sessions:
    """No customer sees time go back: fresh reads show the own orders and all that was read before.

    Proves: monotonic reads and read-your-writes (Terry et al., "Session Guarantees for Weakly
    Consistent Replicated Data", 1994) for the fresh reads of each session and symbol. It is less
    than `RealTime` claims, and what a customer notices: it names the session.
    Cannot: say anything of two customers who talk to each other; of replica reads, which promise
    neither (`Replicas` counts those that went back).

    None for a run without fresh reads.
    """

    name: ClassVar[str] = "sessions"

    def check(self, evidence: Evidence) -> Finding | None:
        """Judge. A function of the evidence alone."""
        if not _made(evidence.history, OpKind.FRESH_READ):
            return None
        if evidence.final is None:
            return no_final_read(self.name)
        reads = _by_session(evidence.history, reads_of(evidence.history, OpKind.FRESH_READ))
        if not len(reads):
            return Finding(self.name, Verdict.UNKNOWN, "no fresh read was answered")
        earlier = _by_session(evidence.history, orders_of(evidence)) + reads
        back = reads.chosen(too_low(reads, earlier))
        sessions = counted(evidence.history.ops["session"].nunique(), "session")
        if not len(back):
            return Finding(
                self.name,
                Verdict.PASS,
                f"{counted(len(reads), 'fresh read')} of {sessions} never went back",
            )
        describe = _Describe(evidence)
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{len(back):,} of {counted(len(reads), 'fresh read')} of {sessions} went back",
            tuple(describe.behind(event, earlier) for event in _first(back)),
            len(back),
        )


@dataclass(frozen=True)
class Replicas:
    """Replica reads show the past, never what is not there yet; how far they are behind is said.

    How far behind is measured, not judged: a replica may be behind. `require(staleness_s=)`
    makes a limit of it (`labkit.measurement.staleness` has the definition).

    Proves: no replica read shows an order that was sent after the read was answered, or more moves
    than there are at the end.
    Cannot: see a lag shorter than the time between two orders of a symbol.

    None for a run without replica reads.
    """

    name: ClassVar[str] = "replicas"

    def check(self, evidence: Evidence) -> Finding | None:
        """Judge. A function of the evidence alone."""
        history = evidence.history
        if not _made(history, OpKind.REPLICA_READ):
            return None
        if evidence.final is None:
            return no_final_read(self.name)
        orders, reads = orders_of(evidence), reads_of(history, OpKind.REPLICA_READ)
        if not len(reads):
            return Finding(self.name, Verdict.UNKNOWN, "no replica read was answered")
        future = reads.chosen(_beyond(evidence, reads) | _too_new(reads, orders))
        if len(future):
            describe = _Describe(evidence)
            return Finding(
                self.name,
                Verdict.FAIL,
                f"{len(future):,} of {counted(len(reads), 'replica read')} from the future",
                tuple(describe.future(event, orders) for event in _first(future)),
                len(future),
            )
        mine = _by_session(history, reads)
        back = int(too_low(mine, mine).sum())
        most = max(staleness(history), key=lambda row: row.max_s)
        behind = (
            f"at most {most.max_s:.2f} s behind ({most.region})"
            if most.max_s
            else "none seen to be behind"
        )
        return Finding(
            self.name,
            Verdict.PASS,
            f"{counted(len(reads), 'replica read')} {behind}, "
            f"{back:,} behind an earlier one of the same session",
        )


class _Describe:
    """Offenders in words."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._ops = evidence.history.ops

    def behind(self, event: Events, earlier: Events) -> str:
        """An event that starts lower than one before it had left."""
        cause = highest_before(event, earlier)
        symbol, place = self._ops["symbol"].iloc[event.row[0]], int(event.hi[0])
        reached = int(earlier.hi[earlier.row == cause].max())
        return (
            f"{self._name(event.row[0])}: {self._who(event.row[0])} place {place} of {symbol}, "
            f"sent after {self._name(cause)} had ended at place {reached}"
        )

    def future(self, event: Events, orders: Events) -> str:
        """A read that shows what came after it."""
        said = f"{self._name(event.row[0])}: {self._who(event.row[0])} place {int(event.hi[0])}"
        backwards = orders.mirrored()
        if too_low(event.mirrored(), backwards)[0]:
            cause = highest_before(event.mirrored(), backwards)
            place = int(orders.hi[orders.row == cause].min())
            return f"{said}, answered before {self._name(cause)} was sent, which got place {place}"
        return f"{said}, more than there ever were"

    def _name(self, row: int) -> str:
        op = self._ops.iloc[row]
        return str(op["order_id"]) or f"read {row}"

    def _who(self, row: int) -> str:
        op = self._ops.iloc[row]
        return f"session {op['session']} in {op['region']}"


def _made(history: History, kind: OpKind) -> bool:
    return bool((history.ops["kind"] == str(kind)).any())


def _first(events: Events) -> list[Events]:
    return [events.chosen(np.array([i])) for i in range(min(len(events), OFFENDERS_SHOWN))]


def _too_new(reads: Events, orders: Events) -> np.ndarray:
    """Which reads show an order that was sent after they were answered."""
    return too_low(reads.mirrored(), orders.mirrored())


def _beyond(evidence: Evidence, reads: Events) -> np.ndarray:
    """Which reads show more moves of their symbol than there are at the end."""
    assert evidence.final is not None
    stocks = evidence.final.instruments
    symbols = evidence.history.ops["symbol"].cat.categories
    place = pd.Index(stocks["symbol"]).get_indexer(symbols)
    moves = np.append(stocks["moves"].to_numpy(np.int64), 0)[place]  # -1, unknown: none
    return np.asarray(reads.hi > moves[reads.group])


def _by_session(history: History, events: Events) -> Events:
    """The same, grouped by session and symbol."""
    session = history.ops["session"].to_numpy()
    symbols = len(history.ops["symbol"].cat.categories)
    every = np.sort(pd.unique(session))
    place = np.searchsorted(every, session[events.row])
    return replace(events, group=place * symbols + events.group)
