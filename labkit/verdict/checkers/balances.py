"""The checker of money and shares: every account has what its orders say, to the cent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.verdict.checkers.base import money, no_final_read, twice_in
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted


@dataclass(frozen=True)
class MoneyExact:
    """Every balance is the opening balance and the deposits, less the buys, plus the sells.

    Proves: no account gained or lost a cent against its own orders and deposits in the database,
    so neither did all of them together; the database's sums have at least the money of this run's
    own orders, account by account; no position of an account, nor its cost, differs from what
    it bought less what it sold; no account is overdrawn or holds less than nothing where it may
    not; no account is there twice; and no order of the run belongs to an account that is not there.
    Cannot: see an order that is missing together with its money; `NoLostAcks` does. Nor a deposit
    that is: deposits are not in the ledger. Nor an order that was booked, money and all, on another
    account or in another quantity than its client asked for: the history has neither. Nor whether
    an account was short of money for a while.
    """

    name: ClassVar[str] = "money"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        accounts = evidence.accounts
        if accounts.empty:
            return Finding(self.name, Verdict.UNKNOWN, "the final read has no account to look at")
        put_in = accounts["opening_balance_cents"] + accounts["deposits_cents"]
        due = (put_in - accounts["bought_cents"] + accounts["sold_cents"]).to_numpy()
        balance = accounts["balance_cents"].to_numpy()
        own = OwnSums.of(evidence)
        names = accounts["account_nbr"].to_numpy()

        def cents(i: int, column: str) -> str:
            return money(accounts[column].iloc[i])

        wrongs: list[tuple[np.ndarray, Callable[[int], str]]] = [
            (
                balance != due,
                lambda i: f"{money(balance[i])}, by its orders {money(due[i])}",
            ),
            (balance < 0, lambda i: f"overdrawn: {money(balance[i])}"),
            (
                own.bought_cents > accounts["bought_cents"].to_numpy(),
                lambda i: (
                    f"bought for {cents(i, 'bought_cents')}, this run's orders alone for "
                    f"{money(own.bought_cents[i])}"
                ),
            ),
            (
                own.sold_cents > accounts["sold_cents"].to_numpy(),
                lambda i: (
                    f"sold for {cents(i, 'sold_cents')}, this run's orders alone for "
                    f"{money(own.sold_cents[i])}"
                ),
            ),
            (
                accounts["positions_off"].to_numpy() != 0,
                lambda i: (
                    f"{counted(accounts['positions_off'].iloc[i], 'position')} not what its "
                    "orders say"
                ),
            ),
            (
                accounts["oversold"].to_numpy() != 0,
                lambda i: (
                    f"holds less than nothing in "
                    f"{counted(accounts['oversold'].iloc[i], 'position')}, and may not"
                ),
            ),
        ]
        strangers = own.strangers
        twice = twice_in(evidence.final.accounts["account_nbr"])
        offending = np.logical_or.reduce([marks for marks, _ in wrongs])
        count = int(offending.sum()) + len(strangers) + len(twice)
        if not count:
            return Finding(
                self.name,
                Verdict.PASS,
                f"{counted(len(accounts), 'account')} exact to the cent, "
                f"{money(int(balance.sum()))} USD in all",
            )
        offenders = [
            f"{names[i]}: {why(i)}"
            for marks, why in wrongs
            for i in np.flatnonzero(marks)[:OFFENDERS_SHOWN]
        ]
        offenders += [f"{name}: has orders and no account" for name in strangers]
        offenders += [f"{name}: there more than once" for name in twice]
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{count:,} of {counted(len(accounts), 'account')} not what the "
            f"orders say, {money(int((balance - due).sum()))} USD too much in all",
            tuple(offenders[:OFFENDERS_SHOWN]),
            count,
        )


@dataclass(frozen=True, eq=False)
class OwnSums:
    """Sums over this run's own orders in the database, each order counted once.

    Attributes:
        bought_cents: of each account, in the order of `Evidence.accounts`; so is `sold_cents`.
        strangers: accounts that have orders and are not among these.
    """

    bought_cents: np.ndarray
    sold_cents: np.ndarray
    strangers: tuple[str, ...]

    @classmethod
    def of(cls, evidence: Evidence) -> OwnSums:
        """Add them up."""
        orders, names = evidence.own_orders, evidence.accounts["account_nbr"]
        owner = pd.Categorical(orders["account_nbr"])
        place = pd.Index(names).get_indexer(owner.categories)[np.asarray(owner.codes)]
        known = place >= 0
        spent = orders["quantity"].to_numpy(np.int64) * orders["unit_price_cents"].to_numpy()
        buys = np.asarray(orders["side"] == "buy")
        sums = [
            # floats are exact up to 2**53 cents
            np.bincount(place[rows], spent[rows], minlength=len(names)).astype(np.int64)
            for rows in (known & buys, known & ~buys)
        ]
        strangers = sorted(set(owner.categories[np.unique(np.asarray(owner.codes)[~known])]))
        return cls(sums[0], sums[1], tuple(map(str, strangers)))
