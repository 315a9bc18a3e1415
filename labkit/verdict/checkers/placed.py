"""The checkers of orders: those in the database are those that were placed, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.verdict.checkers.base import no_final_read, nothing_to_judge
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted

STATUSES = ("order_received", "processing", "order_processed")
"""The life of an order, in order; the last one is reached with its execution and its trade."""
STATUS_AFTER = dict(zip(STATUSES, ("received", "processing", "processed"), strict=True))
"""What an order itself says (`orders.order_status`) after each of its activities."""


@dataclass(frozen=True)
class NoLostAcks:
    """Every acknowledged order is in the database.

    The ledger is the authority: it was written before anything counted the order. An order that
    the history has as acknowledged counts too. Where the two disagree (an acknowledgement the
    ledger lacks, a ledger entry the history calls refused) the recording is defective: what is
    missing is still lost, but when nothing is missing the answer is UNKNOWN.

    Proves: no acknowledged order is absent from the final read.
    Cannot: see an order that was absent for a while and came back (`RealTime` may); tell whether
    an INFO order should be there.
    """

    name: ClassVar[str] = "lost_acks"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        acked = int(evidence.acked.sum())
        lost = np.flatnonzero(evidence.lost_orders)
        if lost.size:
            return Finding(
                self.name,
                Verdict.FAIL,
                f"{lost.size:,} of {counted(acked, 'acknowledged order')} {_are(lost.size)} "
                "missing from the database",
                evidence.names(lost[:OFFENDERS_SHOWN]),
                int(lost.size),
            )
        unrecorded = evidence.acked_in_history & ~evidence.ledgered
        contradicted = evidence.ledgered & evidence.refused
        defects = np.flatnonzero(unrecorded | contradicted)
        if defects.size:
            return Finding(
                self.name,
                Verdict.UNKNOWN,
                "the recording is defective: the ledger lacks "
                f"{counted(int(unrecorded.sum()), 'ack')} of the history, the history refused "
                f"{counted(int(contradicted.sum()), 'ack')} of the ledger",
                evidence.names(defects[:OFFENDERS_SHOWN]),
                int(defects.size),
            )
        if not acked:
            return Finding(self.name, Verdict.UNKNOWN, "no order was acknowledged: none to lose")
        return Finding(
            self.name,
            Verdict.PASS,
            f"all {counted(acked, 'acknowledged order')} {_are(acked)} in the database",
        )


@dataclass(frozen=True)
class NoDuplicates:
    """No order was placed or executed twice. An INFO order may be there once or not at all.

    Proves: no order id is in the final read twice, and none left more than one order_received
    activity, more than one execution or more than one trade, though clients sent it again after a
    lost link.
    Cannot: see one wish of a customer that was sent under two ids.
    """

    name: ClassVar[str] = "duplicates"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if nothing := nothing_to_judge(self.name, evidence):
            return nothing
        assert evidence.final is not None
        orders = evidence.final.orders
        parts = ("received", "executions", "trades")
        often = np.zeros(len(orders), dtype=bool)
        for part in parts:
            often |= orders[part].to_numpy() > 1
        twice = evidence.rows > 1
        twice[evidence.in_final[often]] = True
        there = counted(int((evidence.rows > 0).sum()), "order")
        found = np.flatnonzero(twice)
        if not found.size:
            return Finding(self.name, Verdict.PASS, f"none of {there} placed or executed twice")
        shown = found[:OFFENDERS_SHOWN]
        offenders = []
        for number, name in zip(shown, evidence.names(shown), strict=True):
            most = orders[evidence.in_final == number][list(parts)].max()
            offenders.append(
                f"{name}: {counted(int(evidence.rows[number]), 'row')}, received "
                f"{most['received']} times, executed {most['executions']} times, traded "
                f"{most['trades']} times"
            )
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{found.size:,} of {there} there more than once",
            tuple(offenders),
            int(found.size),
        )


@dataclass(frozen=True)
class NoPhantoms:
    """Nothing is in the database that nobody ordered, and no order is there by half.

    An INFO order may be there or not. An order that was refused must not be, unless another
    attempt under its id was not refused.

    Proves: every order in the final read was attempted, none was refused, and each has its
    order_received activity.
    Cannot: tell an invented order from one whose client died before it recorded the attempt.
    """

    name: ClassVar[str] = "phantoms"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if nothing := nothing_to_judge(self.name, evidence):
            return nothing
        assert evidence.final is not None
        there = evidence.rows > 0
        received = np.zeros(evidence.count, dtype=np.int32)
        np.maximum.at(received, evidence.in_final, evidence.final.orders["received"].to_numpy())
        wrongs = {
            "nobody ordered it": there & ~evidence.attempted,
            "it was refused": there & evidence.refused & ~evidence.ledgered,
            "no order_received activity": there & (received < 1),
        }
        wrong = np.flatnonzero(np.logical_or.reduce(list(wrongs.values())))
        orders = counted(int(there.sum()), "order")
        if not wrong.size:
            return Finding(self.name, Verdict.PASS, f"each of {orders} was really placed")
        shown = wrong[:OFFENDERS_SHOWN]
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{wrong.size:,} of {orders} should not be in the database like this",
            tuple(
                f"{name}: {next(why for why, marks in wrongs.items() if marks[number])}"
                for number, name in zip(shown, evidence.names(shown), strict=True)
            ),
            int(wrong.size),
        )


@dataclass(frozen=True)
class Executions:
    """A processed order was executed once, an order not yet processed was not, and none went back.

    Proves: each order's activities are received, then processing, then processed, in this order
    (a processor that died while processing may have begun it again), and the order itself says what
    the last of them says; a processed order has exactly one execution and one trade, any other
    none; a trade is of its order's symbol, side, price and quantity.
    Cannot: see work done twice that left one row; tell whether an order waited for its turn.
    """

    name: ClassVar[str] = "executions"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if nothing := nothing_to_judge(self.name, evidence):
            return nothing
        assert evidence.final is not None
        orders = evidence.final.orders
        lives = pd.Categorical(orders["statuses"])  # a few different ones, however many orders
        life = np.asarray(lives.codes)
        forward = np.array([_forward(statuses) for statuses in lives.categories], dtype=bool)
        done = np.array([_processed(statuses) for statuses in lives.categories], dtype=bool)
        processed = done[life]
        due = processed.astype(np.int32)
        said = np.array([STATUS_AFTER.get(lived.split(",")[-1], "") for lived in lives.categories])
        wrong = np.flatnonzero(
            ~forward[life]
            | (orders["executions"].to_numpy() != due)
            | (orders["trades"].to_numpy() != due)
            | (orders["trades_off"].to_numpy() != 0)
            | _says_otherwise(orders["status"], said, life)
        )
        shown = wrong[:OFFENDERS_SHOWN]
        there = counted(len(orders), "order")
        if not wrong.size:
            return Finding(
                self.name,
                Verdict.PASS,
                f"{int(processed.sum()):,} of {there} processed, each executed and traded once",
            )
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{wrong.size:,} of {there} not executed as its status says",
            tuple(
                f"{name}: {row['statuses'] or 'no activity'}; "
                f"{counted(row['executions'], 'execution')}, {counted(row['trades'], 'trade')}"
                f"{_more(row)}"
                for name, (_, row) in zip(
                    evidence.names(evidence.in_final[shown]),
                    orders.iloc[shown].iterrows(),
                    strict=True,
                )
            ),
            int(wrong.size),
        )


def _says_otherwise(status: pd.Series, said: np.ndarray, life: np.ndarray) -> np.ndarray:
    """Find orders whose status is not what their last activity says; no activity is not judged."""
    own = pd.Categorical(status)
    differs = np.array(
        [[bool(due) and due != name for due in said] for name in own.categories], dtype=bool
    ).reshape(len(own.categories), len(said))
    return np.asarray(differs[np.asarray(own.codes), life])


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _more(row: pd.Series) -> str:
    off = f", {row['trades_off']} of them not of the order" if row["trades_off"] else ""
    return f"{off}; the order says {row['status']}"


def _forward(statuses: str) -> bool:
    """Tell whether an order's activities, with commas between them, only move forward."""
    seen = statuses.split(",") if statuses else []
    if any(status not in STATUSES for status in seen):
        return False
    places = [STATUSES.index(status) for status in seen]
    ends = [place for place in places if place != 1]  # of these one each; processing is repeatable
    return places == sorted(places) and len(ends) == len(set(ends))


def _processed(statuses: str) -> bool:
    return STATUSES[-1] in statuses.split(",")
