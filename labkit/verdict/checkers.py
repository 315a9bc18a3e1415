"""Judges of what a run left behind: functions of data, each clear about what it cannot see.

Every checker gets the same evidence: the ledger of acknowledged orders, what the clients
recorded, and one read of the database after everything was healed. Without that read nothing is
proven: UNKNOWN, never PASS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from labkit.verdict.evidence import Evidence, IdSet

OFFENDERS_SHOWN = 10
"""How many offenders a finding names; `Finding.count` has them all."""


class Verdict(StrEnum):
    """What is known of a claim."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    """It was looked at and holds."""
    FAIL = "fail"
    """It was looked at and does not hold."""
    UNKNOWN = "unknown"
    """It could not be looked at, or the run says nothing about it."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """FAIL before UNKNOWN before PASS; nothing looked at is UNKNOWN."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.PASS if seen == {Verdict.PASS} else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Finding:
    """What one checker says.

    Attributes:
        checker: its name, such as "lost_acks".
        summary: one line.
        offenders: the first few things that break the claim, each beginning with its name.
        count: all of them.
    """

    checker: str
    verdict: Verdict
    summary: str
    offenders: tuple[str, ...] = ()
    count: int = 0


class Checker(Protocol):
    """Looks at the evidence for one claim."""

    name: ClassVar[str]

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""


@dataclass(frozen=True)
class NoLostAcks:
    """Every acknowledged order is in the database.

    The ledger is the authority: it was written before anything counted the order. An order that
    the history has as acknowledged counts too. Where the two disagree (an acknowledgement the
    ledger lacks, a ledger entry the history calls refused) the recording is defective: what is
    missing is still lost, but when nothing is missing the answer is UNKNOWN.

    Proves: no acknowledged order is absent from the final read.
    Cannot: see an order that was absent for a while and came back, or what a stale read would
    have shown; tell whether an INFO order should be there.
    """

    name: ClassVar[str] = "lost_acks"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return _no_final_read(self.name)
        acked, lost = evidence.acked, evidence.lost
        if len(lost):
            return Finding(
                self.name,
                Verdict.FAIL,
                f"{len(lost):,} of {_count(acked, 'acknowledged order')} missing from the database",
                _named(lost),
                len(lost),
            )
        unrecorded = evidence.acked_in_history - evidence.ledger
        contradicted = evidence.ledger & evidence.refused
        if len(unrecorded) or len(contradicted):
            return Finding(
                self.name,
                Verdict.UNKNOWN,
                f"the recording is defective: the ledger lacks {_count(unrecorded, 'ack')} of the "
                f"history, the history refused {_count(contradicted, 'ack')} of the ledger",
                _named(unrecorded | contradicted),
                len(unrecorded) + len(contradicted),
            )
        if not acked:
            return Finding(self.name, Verdict.UNKNOWN, "no order was acknowledged: none to lose")
        return Finding(
            self.name,
            Verdict.PASS,
            f"all {_count(acked, 'acknowledged order')} in the database",
        )


@dataclass(frozen=True)
class NoDuplicates:
    """No order was executed twice.

    Proves: no order id is in the final read twice, and none left more than one order_received
    activity, though clients sent it again after a lost link.
    Cannot: see one wish of a customer that was sent under two ids.
    """

    name: ClassVar[str] = "duplicates"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return _no_final_read(self.name)
        rows = evidence.final.orders.groupby("order_id", observed=True)["received"]
        orders = pd.DataFrame({"rows": rows.size(), "received": rows.max()})
        twice = orders[(orders["rows"] > 1) | (orders["received"] > 1)].sort_index()
        if twice.empty:
            return Finding(
                self.name, Verdict.PASS, f"none of {_count(orders.index, 'order')} executed twice"
            )
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{len(twice):,} of {_count(orders.index, 'order')} executed more than once",
            tuple(
                f"{row.Index}: {row.rows} rows, received {row.received} times"
                for row in twice.head(OFFENDERS_SHOWN).itertuples()
            ),
            len(twice),
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
        if evidence.final is None:
            return _no_final_read(self.name)
        orders = evidence.final.orders
        there = evidence.executed
        faults = {
            "nobody ordered it": there - evidence.attempted,
            "it was refused": (there & evidence.refused) - evidence.ledger,
            "no order_received activity": IdSet.of(orders["order_id"][orders["received"] < 1]),
        }
        reasons = {name: why for why, names in reversed(faults.items()) for name in names}
        if not reasons:
            return Finding(
                self.name, Verdict.PASS, f"each of {_count(there, 'order')} was really placed"
            )
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{len(reasons):,} of {_count(there, 'order')} should not be in the database like this",
            tuple(f"{name}: {reasons[name]}" for name in sorted(reasons)[:OFFENDERS_SHOWN]),
            len(reasons),
        )


@dataclass(frozen=True)
class MoneyExact:
    """Every balance is the opening balance and the deposits, less what was bought, plus the sales.

    Proves: no account gained or lost a cent against its own orders and deposits in the database.
    Cannot: see an order or a deposit that is missing together with its money; `NoLostAcks` does.
    """

    name: ClassVar[str] = "money"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return _no_final_read(self.name)
        accounts = evidence.final.accounts
        put_in = accounts["opening_balance_cents"] + accounts["deposits_cents"]
        due = put_in - accounts["bought_cents"] + accounts["sold_cents"]
        return _exact(self.name, "account", accounts["account_nbr"], accounts["balance_cents"], due)


@dataclass(frozen=True)
class PriceExact:
    """Every price is the initial one, moved a step up by each buy and down by each sell.

    Proves: no order's effect on its instrument was dropped or applied twice.
    Cannot: see the order of the steps; a buy and a sell that both vanished leave no trace.
    """

    name: ClassVar[str] = "prices"
    step_cents: int = 10

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return _no_final_read(self.name)
        stocks = evidence.final.instruments
        moved = self.step_cents * (stocks["buys"] - stocks["sells"])
        due = stocks["initial_price_cents"] + moved
        return _exact(self.name, "price", stocks["symbol"], stocks["current_price_cents"], due)


CHECKERS: tuple[Checker, ...] = (
    NoLostAcks(),
    NoDuplicates(),
    NoPhantoms(),
    MoneyExact(),
    PriceExact(),
)
"""What every trading run is judged by."""


def _exact(
    checker: str, noun: str, names: pd.Series, found_cents: pd.Series, due_cents: pd.Series
) -> Finding:
    if names.empty:
        return Finding(checker, Verdict.UNKNOWN, f"the final read has no {noun} to look at")
    wrong = np.flatnonzero(found_cents != due_cents)
    if not wrong.size:
        return Finding(checker, Verdict.PASS, f"{_count(names, noun)} exact to the cent")
    return Finding(
        checker,
        Verdict.FAIL,
        f"{wrong.size:,} of {_count(names, noun)} not what the orders say",
        tuple(
            f"{names.iloc[i]}: {found_cents.iloc[i] / 100:.2f}, by its orders "
            f"{due_cents.iloc[i] / 100:.2f}"
            for i in wrong[:OFFENDERS_SHOWN]
        ),
        int(wrong.size),
    )


def _named(ids: IdSet) -> tuple[str, ...]:
    return tuple(sorted(ids)[:OFFENDERS_SHOWN])


def _count(things: Sized, noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _no_final_read(checker: str) -> Finding:
    return Finding(checker, Verdict.UNKNOWN, "the database could not be read after the run")
