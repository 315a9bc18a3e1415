"""The checkers of time: fresh reads, sessions and replicas agree with when they were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.history import History
from labkit.measurement.staleness import staleness
from labkit.record import OpKind
from labkit.verdict.checkers.base import no_final_read
from labkit.verdict.checkers.precedence import (
    Events,
    highest_before,
    orders_of,
    reads_of,
    too_low,
)
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted
from labkit.verdict.numbers import NO_ORDER


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
        if unfounded := _unfounded(self.name, evidence):
            return unfounded
        describe = _Describe(evidence)
        ordered = read = 0
        found = _Offenders()
        for part in evidence.by_symbol():
            orders, reads = orders_of(evidence, part), reads_of(evidence, part, OpKind.FRESH_READ)
            ordered, read = ordered + len(orders), read + len(reads)
            future = _beyond(evidence, reads) | _too_new(reads, orders)
            # what is proven to be from the future is no measure for others
            told = orders + reads.chosen(~future)
            behind = ~future & too_low(reads, told)
            found.add(reads.chosen(future), partial(describe.future, orders=orders))
            found.add(reads.chosen(behind), partial(describe.behind, earlier=told))
            late = orders.chosen(too_low(orders, orders))
            found.add(late, partial(describe.behind, earlier=orders))
        if not ordered and not read:
            return Finding(self.name, Verdict.UNKNOWN, "no order and no fresh read was answered")
        seen = f"{counted(ordered, 'order')} and {counted(read, 'fresh read')}"
        if not found.count:
            return Finding(self.name, Verdict.PASS, f"{seen} in the order of time")
        return found.failed(self.name, f"{seen} not in the order of time")


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
        if unfounded := _unfounded(self.name, evidence):
            return unfounded
        describe = _Describe(evidence)
        sessions = np.sort(pd.unique(evidence.history.ops["session"].to_numpy()))
        read = 0
        found = _Offenders()
        for part in evidence.by_symbol():
            reads = _by_session(evidence, sessions, reads_of(evidence, part, OpKind.FRESH_READ))
            read += len(reads)
            earlier = _by_session(evidence, sessions, orders_of(evidence, part)) + reads
            back = reads.chosen(too_low(reads, earlier))
            found.add(back, partial(describe.behind, earlier=earlier))
        if not read:
            return Finding(self.name, Verdict.UNKNOWN, "no fresh read was answered")
        seen = f"{counted(read, 'fresh read')} of {counted(len(sessions), 'session')}"
        if not found.count:
            return Finding(self.name, Verdict.PASS, f"{seen} never went back")
        return found.failed(self.name, f"{seen} went back")


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
        if unfounded := _unfounded(self.name, evidence):
            return unfounded
        describe = _Describe(evidence)
        sessions = np.sort(pd.unique(history.ops["session"].to_numpy()))
        read = back = 0
        found = _Offenders()
        for part in evidence.by_symbol():
            orders, reads = orders_of(evidence, part), reads_of(evidence, part, OpKind.REPLICA_READ)
            read += len(reads)
            future = reads.chosen(_beyond(evidence, reads) | _too_new(reads, orders))
            found.add(future, partial(describe.future, orders=orders))
            mine = _by_session(evidence, sessions, reads)
            back += int(too_low(mine, mine).sum())
        if not read:
            return Finding(self.name, Verdict.UNKNOWN, "no replica read was answered")
        if found.count:
            return found.failed(self.name, f"{counted(read, 'replica read')} from the future")
        most = max(staleness(history), key=lambda row: row.max_s)
        behind = (
            f"at most {most.max_s:.2f} s behind ({most.region})"
            if most.max_s
            else "none seen to be behind"
        )
        return Finding(
            self.name,
            Verdict.PASS,
            f"{counted(read, 'replica read')}, {behind}, "
            f"{back:,} behind an earlier one of the same session",
        )


def _unfounded(checker: str, evidence: Evidence) -> Finding | None:
    """Why nothing can be said of time, if so."""
    if evidence.final is None:
        return no_final_read(checker)
    untimed = evidence.untimed
    if untimed.size:
        return Finding(
            checker,
            Verdict.UNKNOWN,
            f"the recording is defective: {counted(untimed.size, 'operation')} not answered after "
            "the sending",
            tuple(f"operation {row}" for row in untimed[:OFFENDERS_SHOWN]),
            int(untimed.size),
        )
    return None


class _Offenders:
    """The offenders against a claim: all of them counted, the first of them in words."""

    def __init__(self) -> None:
        self.count = 0
        self._words: list[str] = []

    def add(self, events: Events, describe: Callable[[Events], str]) -> None:
        """Count events, and keep the first of them as offenders."""
        self.count += len(events)
        for i in range(min(len(events), OFFENDERS_SHOWN - len(self._words))):
            self._words.append(describe(events.chosen(np.array([i]))))

    def failed(self, checker: str, what: str) -> Finding:
        """So many of what was looked at."""
        summary = f"{self.count:,} of {what}"
        return Finding(checker, Verdict.FAIL, summary, tuple(self._words), self.count)


class _Describe:
    """Offenders in words."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._ops = evidence.history.ops

    def behind(self, event: Events, earlier: Events) -> str:
        """Describe an event that starts lower than one before it had left."""
        cause = highest_before(event, earlier)
        symbol, place = self._ops["symbol"].iloc[event.row[0]], int(event.hi[0])
        reached = int(earlier.hi[earlier.row == cause].max())
        return (
            f"{self._name(event.row[0])}: {self._who(event.row[0])} place {place} of {symbol}, "
            f"sent after {self._name(cause)} had ended at place {reached}"
        )

    def future(self, event: Events, orders: Events) -> str:
        """Describe a read that shows what came after it."""
        said = f"{self._name(event.row[0])}: {self._who(event.row[0])} place {int(event.hi[0])}"
        backwards = orders.mirrored()
        if too_low(event.mirrored(), backwards)[0]:
            cause = highest_before(event.mirrored(), backwards)
            place = int(orders.hi[orders.row == cause].min())
            return f"{said}, answered before {self._name(cause)} was sent, which got place {place}"
        return f"{said}, more than there ever were"

    def _name(self, row: int) -> str:
        number = self._evidence.in_history[row]
        return f"read {row}" if number == NO_ORDER else self._evidence.ids.name(number)

    def _who(self, row: int) -> str:
        op = self._ops.iloc[row]
        return f"session {op['session']} in {op['region']}"


def _made(history: History, kind: OpKind) -> bool:
    return bool((history.ops["kind"] == str(kind)).any())


def _too_new(reads: Events, orders: Events) -> np.ndarray:
    """Tell which reads show an order that was sent after they were answered."""
    return too_low(reads.mirrored(), orders.mirrored())


def _beyond(evidence: Evidence, reads: Events) -> np.ndarray:
    """Tell which reads show more moves of their symbol than there are at the end."""
    assert evidence.final is not None
    moves = np.zeros(len(evidence.symbols), np.int64)  # of what is no instrument: none
    known = evidence.instruments["moves"].to_numpy(np.int64)
    moves[: len(known)] = known
    return np.asarray(reads.hi > moves[reads.group])


def _by_session(evidence: Evidence, sessions: np.ndarray, events: Events) -> Events:
    """Group events by session and symbol."""
    session = evidence.history.ops["session"].to_numpy()[events.row]
    place = np.searchsorted(sessions, session)
    return replace(events, group=place * len(evidence.symbols) + events.group)
