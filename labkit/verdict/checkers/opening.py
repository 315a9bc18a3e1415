"""The checker of the opening: the books went on from where they were before the load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.trading.audit import FinalRead
from labkit.verdict.checkers.balances import OwnSums
from labkit.verdict.checkers.base import no_final_read
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted

_FIXED = {
    "account": ("opening_balance_cents",),
    "instrument": ("initial_price_cents",),
}
_GROWING = {
    "account": ("deposits_cents", "bought_cents", "sold_cents"),
    "instrument": ("moves", "buys", "sells"),
}


@dataclass(frozen=True)
class Opening:
    """The books gained since before the load what the orders of this run and of others say.

    Proves: each account and instrument that was there before the load is there after it, with the
    same opening balance or initial price; no instrument is new; no sum of the books shrank; they
    gained at least this run's own orders, and their money; where they gained no other orders, they
    gained exactly this run's money, account by account.
    Cannot: say whose the other orders are, if their ids are of labkit's make: a desk or another
    load may have placed them. They are counted in the finding. Where an id is of no labkit client,
    an order of this run may have been booked again under another id: UNKNOWN.
    """

    name: ClassVar[str] = "opening"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        if evidence.opening is None:
            return Finding(self.name, Verdict.UNKNOWN, "the database was not read before the load")
        books = _Books(evidence, evidence.opening)
        offenders = list(books.offenders())
        if offenders:
            return Finding(
                self.name,
                Verdict.FAIL,
                f"{counted(len(offenders), 'thing')} in the books did not go on from before the "
                f"load: {offenders[0]}",
                tuple(offenders[:OFFENDERS_SHOWN]),
                len(offenders),
            )
        if books.strange:
            return Finding(
                self.name,
                Verdict.UNKNOWN,
                f"{counted(books.strange, 'order')} came under ids that no client of labkit makes: "
                "another program's, or booked twice",
                count=books.strange,
            )
        others = f", {counted(books.others, 'order')} of other clients" if books.others else ""
        more = f", {counted(books.opened, 'account')} opened meanwhile" if books.opened else ""
        return Finding(
            self.name,
            Verdict.PASS,
            f"the books gained this run's {counted(len(evidence.own_orders), 'order')}{others} "
            f"and nothing else{more}",
        )


class _Books:
    """Accounts and instruments before the load beside those at the end."""

    def __init__(self, evidence: Evidence, opening: FinalRead) -> None:
        self._own = OwnSums.of(evidence)
        self._accounts = _side_by_side(opening.accounts, evidence.accounts, "account_nbr")
        self._stocks = _side_by_side(opening.instruments, evidence.instruments, "symbol")
        orders = evidence.own_orders
        gained = sum(int(_gain(self._stocks, side).sum()) for side in ("buys", "sells"))
        self.others = gained - len(orders)
        self.strange = int(_gain(self._stocks, "strange").sum())
        self.opened = int(self._accounts["there"].isna().sum())
        self._own_of_symbol = {
            column: orders["symbol"][np.asarray(orders["side"] == side)].value_counts()
            for column, side in (("buys", "buy"), ("sells", "sell"))
        }
        self._index = pd.Index(evidence.accounts["account_nbr"])

    def offenders(self) -> Iterator[str]:
        """List what did not go on from before the load."""
        for what, frame in (("account", self._accounts), ("instrument", self._stocks)):
            gone, came = frame["here"].isna(), frame["there"].isna()
            yield from (f"{name}: was there before the load" for name in frame.index[gone])
            if what == "instrument":
                yield from (f"{name}: was not there before the load" for name in frame.index[came])
            both = frame[~gone & ~came]
            for column in _FIXED[what]:
                yield from _where(both, _gain(both, column) != 0, f"has another {_words(column)}")
            for column in _GROWING[what]:
                yield from _where(both, _gain(both, column) < 0, f"has less {_words(column)}")
        yield from self._of_own()

    def _of_own(self) -> Iterator[str]:
        """Tell where the books gained less than this run's orders, or other money than theirs."""
        for column, own in self._own_of_symbol.items():
            gain = _gain(self._stocks, column)
            mine = own.reindex(gain.index, fill_value=0)
            yield from _where(self._stocks, gain < mine, f"gained fewer {column} than this run has")
        for column, cents in (
            ("bought_cents", self._own.bought_cents),
            ("sold_cents", self._own.sold_cents),
        ):
            gain = _gain(self._accounts, column)
            mine = pd.Series(cents, self._index).reindex(gain.index, fill_value=0)
            wrong = gain != mine if self.others == 0 else gain < mine
            said = "another sum" if self.others == 0 else "a smaller sum"
            yield from _where(
                self._accounts, wrong, f"{_words(column)} gained {said} than this run's orders have"
            )


def _side_by_side(before: pd.DataFrame, after: pd.DataFrame, key: str) -> pd.DataFrame:
    """Join by key: columns of `before` and, with `_after`, of `after`; `there` and `here` mark."""
    before = before.drop_duplicates(key).set_index(key).assign(there=1)
    after = after.set_index(key).assign(here=1).add_suffix("_after")
    return before.join(after, how="outer").rename(columns={"here_after": "here"})


def _gain(frame: pd.DataFrame, column: str) -> pd.Series:
    """By how much a column grew; what was not there had nothing."""
    return frame[f"{column}_after"].fillna(0) - frame[column].fillna(0)


def _where(frame: pd.DataFrame, wrong: pd.Series, said: str) -> Iterator[str]:
    yield from (f"{name}: {said}" for name in frame.index[np.asarray(wrong)])


def _words(column: str) -> str:
    return column.removesuffix("_cents").replace("_", " ")
