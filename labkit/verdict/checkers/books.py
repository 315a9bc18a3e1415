"""Whether money, shares and prices are what the orders say, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.history import OpKind
from labkit.measurement.windows import is_ok
from labkit.verdict.checkers.finding import (
    OFFENDERS_SHOWN,
    Finding,
    Verdict,
    counted,
    no_final_read,
)
from labkit.verdict.evidence import Evidence, Part
from labkit.verdict.numbers import NO_ORDER

_STOCK = ("initial_price_cents", "current_price_cents", "moves", "buys", "sells")
_FROM_SECOND, _TO_LAST_BUT_ONE = slice(1, None), slice(None, -1)
LARGEST_PLACE = 1 << 40
"""Places beyond it would not fit beside a symbol in 64 bits."""


@dataclass(frozen=True)
class MoneyExact:
    """Every balance is the opening balance and the deposits, less the buys, plus the sells.

    Proves: no account gained or lost a cent against its own orders and deposits in the database,
    so neither did all of them together; no position of an account, nor its cost, differs from what
    it bought less what it sold; and no order of the run belongs to an account that is not there.
    Cannot: see an order that is missing together with its money; `NoLostAcks` does. Nor a deposit
    that is: deposits are not in the ledger. Nor an order that was booked, money and all, on another
    account or in another quantity than its client asked for: the history has neither.
    """

    name: ClassVar[str] = "money"

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        accounts = evidence.final.accounts
        if accounts.empty:
            return Finding(self.name, Verdict.UNKNOWN, "the final read has no account to look at")
        put_in = accounts["opening_balance_cents"] + accounts["deposits_cents"]
        due = put_in - accounts["bought_cents"] + accounts["sold_cents"]
        balance = accounts["balance_cents"]
        wrong = np.flatnonzero(balance != due)
        owners = pd.Index(pd.unique(evidence.final.orders["account_nbr"]))
        strangers = owners.difference(pd.Index(accounts["account_nbr"])).tolist()
        positions_off = accounts["positions_off"]
        misheld = np.flatnonzero(positions_off)
        if not wrong.size and not misheld.size and not strangers:
            return Finding(
                self.name,
                Verdict.PASS,
                f"{counted(len(accounts), 'account')} exact to the cent, "
                f"{_money(int(balance.sum()))} in sum",
            )
        offenders = [
            f"{accounts['account_nbr'].iloc[i]}: {_money(balance.iloc[i])}, by its orders "
            f"{_money(due.iloc[i])}"
            for i in wrong[:OFFENDERS_SHOWN]
        ]
        offenders += [
            f"{accounts['account_nbr'].iloc[i]}: {counted(positions_off.iloc[i], 'position')} not "
            "what its orders say"
            for i in misheld[:OFFENDERS_SHOWN]
        ]
        offenders += [f"{name}: has orders and no account" for name in strangers]
        offending = np.union1d(wrong, misheld).size + len(strangers)
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{offending:,} of {counted(len(accounts), 'account')} not what the "
            f"orders say, {_money(int((balance - due).sum()))} too much in sum",
            tuple(offenders[:OFFENDERS_SHOWN]),
            offending,
        )


@dataclass(frozen=True)
class PriceExact:
    """Every price is the initial one, moved a step up by each buy and down by each sell.

    `move_nbr` is an order's place among those that moved its symbol's price. So the prices that
    this run's orders met are a chain: one place later, the price is one step on. Orders of other
    clients leave holes in it; across a hole of n orders the price has moved by n steps at most,
    and by an even number of steps less than that.

    Proves, per symbol: the final price is exact, and its count of moves is the count of orders; no
    two orders met the same price in the same place (a lost update); each order of the run met the
    price that those before it left; each read shows the price of its place; each acknowledged
    order is in the database at the place and the price its client was told.
    Cannot: see what happened in the holes; a buy and a sell of another client that both vanished
    with their moves leave no trace.
    """

    name: ClassVar[str] = "prices"
    step_cents: int = 10

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        if evidence.final.instruments.empty:
            return Finding(self.name, Verdict.UNKNOWN, "the final read has no price to look at")
        offenders: list[str] = []
        count = read = 0
        for part in evidence.by_symbol():
            chain = _Chain(evidence, part, self.step_cents)
            untrue, untold = _Reads(evidence, part, chain), _Told(evidence, part)
            read += untrue.seen
            count += chain.count + untrue.count + untold.count
            offenders += [*chain.offenders(), *untrue.offenders(), *untold.offenders()]
        prices = counted(len(evidence.final.instruments), "price")
        if not count:
            return Finding(
                self.name,
                Verdict.PASS,
                f"{prices} exact to the cent, {counted(len(evidence.final.orders), 'order')} and "
                f"{counted(read, 'read')} in an unbroken chain",
            )
        return Finding(
            self.name,
            Verdict.FAIL,
            f"{prices}, {counted(count, 'time')} not what the orders say",
            tuple(offenders[:OFFENDERS_SHOWN]),
            count,
        )


@dataclass(frozen=True, eq=False)
class _Links:
    """What is known of prices, by symbol and place: an array each.

    A link is a moment: a place `lo` with the price `before`, a place `hi` with the price `after`.
    The initial price is the link 0 to 0, the order of place k is the link k-1 to k, the final
    price is the link from all moves to all moves. `row` is the order's, -1 for the two others;
    `symbol` counts from the first of the part.
    """

    symbol: np.ndarray
    row: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def chosen(self, which: np.ndarray | slice) -> _Links:
        """Some of them, or all in another order."""
        return _Links(
            self.symbol[which],
            self.row[which],
            self.lo[which],
            self.hi[which],
            self.before[which],
            self.after[which],
        )


class _Chain:
    """The prices of each symbol by place, and where they break."""

    def __init__(self, evidence: Evidence, part: Part, step_cents: int) -> None:
        assert evidence.final is not None
        self._evidence, self._orders = evidence, evidence.final.orders
        self._stocks = evidence.final.instruments.iloc[part.symbols.start : part.symbols.stop]
        self._step_cents = step_cents
        initial, current, moves, buys, sells = (
            self._stocks[name].to_numpy(np.int64) for name in _STOCK
        )
        self._due = initial + step_cents * (buys - sells)
        self._wrong = (current != self._due) | (moves != buys + sells)
        symbol = evidence.order_symbol[part.orders].astype(np.int64) - part.symbols.start
        known = symbol < len(self._stocks)
        self._stray = part.orders[~known]
        self._links = self._linked(initial, current, moves, symbol[known], part.orders[known])
        after, before = self._links.chosen(_FROM_SECOND), self._links.chosen(_TO_LAST_BUT_ONE)
        last = after.row < 0
        broken = (after.symbol == before.symbol) & ~self._possible(
            after.lo - before.hi, after.before - before.after
        )
        # a final price that the count of orders already calls wrong is named once
        broken &= ~(last & self._wrong[after.symbol])
        self._broken = np.flatnonzero(broken) + 1
        ends = np.append(after.symbol != before.symbol, True)
        # what reads are held against: all but final prices that are wrong
        self._sound = self._links.chosen(~(ends & self._wrong[self._links.symbol]))

    def _linked(
        self,
        initial: np.ndarray,
        current: np.ndarray,
        moves: np.ndarray,
        symbol: np.ndarray,
        rows: np.ndarray,
    ) -> _Links:
        place = self._orders["move_nbr"].to_numpy(np.int64)[rows]
        price = self._orders["unit_price_cents"].to_numpy(np.int64)[rows]
        up = np.asarray(self._orders["side"].iloc[rows] == "buy")
        every = np.arange(len(initial), dtype=np.int64)
        nowhere, zero = np.full(len(every), -1), np.zeros(len(every), dtype=np.int64)
        links = _Links(
            symbol=np.concatenate([every, symbol, every]),
            row=np.concatenate([nowhere, rows, nowhere]),
            lo=np.concatenate([zero, place - 1, moves]),
            hi=np.concatenate([zero, place, moves]),
            before=np.concatenate([initial, price, current]),
            after=np.concatenate(
                [initial, price + np.where(up, self._step_cents, -self._step_cents), current]
            ),
        )
        # the initial price first and the final one last, whatever the places say
        rank = np.concatenate([zero, np.clip(place, 1, LARGEST_PLACE - 2), zero - 1])
        key = np.concatenate([every, symbol, every + 1]) * LARGEST_PLACE + rank
        return links.chosen(np.argsort(key, kind="stable"))

    @property
    def count(self) -> int:
        """How many prices and orders are not as they should be."""
        return int(self._wrong.sum()) + len(self._broken) + len(self._stray)

    def _possible(self, places: np.ndarray, cents: np.ndarray) -> np.ndarray:
        """Whether as many orders, buys or sells, can move a price by as much."""
        reach = places * self._step_cents
        return np.asarray(
            (places >= 0)
            & (np.abs(cents) <= reach)
            & ((cents - reach) % (2 * self._step_cents) == 0)
        )

    def fits(self, symbol: np.ndarray, place: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Whether each price may have been that of the symbol at that place."""
        fits = np.zeros(len(symbol), dtype=bool)
        known = symbol < len(self._stocks)
        symbol, place, price = symbol[known], place[known], price[known]
        # the last link that ends at the place or before it: the initial price at the earliest
        links = self._sound
        keys = links.symbol * LARGEST_PLACE + np.clip(links.hi, 0, LARGEST_PLACE - 1)
        keys = np.maximum.accumulate(keys)  # a broken chain may step back
        at = symbol * LARGEST_PLACE + np.clip(place, 0, LARGEST_PLACE - 1)
        i = np.maximum(np.searchsorted(keys, at, side="right") - 1, 0)
        after = np.minimum(i + 1, len(keys) - 1)
        # a place beyond the last move is a matter of time, not of prices: checkers/realtime.py
        follows = (links.symbol[after] == symbol) & (links.lo[after] >= place)
        fits[known] = self._possible(place - links.hi[i], price - links.after[i]) & (
            ~follows | self._possible(links.lo[after] - place, links.before[after] - price)
        )
        return fits

    def offenders(self) -> list[str]:
        """The first of them."""
        stocks = self._stocks
        found = [
            f"{stocks['symbol'].iloc[i]}: {_money(stocks['current_price_cents'].iloc[i])} after "
            f"{counted(stocks['moves'].iloc[i], 'move')}, by its "
            f"{counted(stocks['buys'].iloc[i] + stocks['sells'].iloc[i], 'order')} "
            f"{_money(self._due[i])}"
            for i in np.flatnonzero(self._wrong)[:OFFENDERS_SHOWN]
        ]
        found += [f"{self._name(row)}: of no known symbol" for row in self._stray[:OFFENDERS_SHOWN]]
        return found + [self._break(i) for i in self._broken[:OFFENDERS_SHOWN]]

    def _break(self, i: int) -> str:
        here, earlier = (self._links.chosen(slice(at, at + 1)) for at in (i, i - 1))
        symbol = str(self._stocks["symbol"].iloc[here.symbol[0]])
        whose = "the initial price" if earlier.hi[0] == 0 else self._owner(earlier, symbol)
        return (
            f"{self._owner(here, symbol)}: place {here.hi[0]} of {symbol} at "
            f"{_money(here.before[0])}, but {whose} left {_money(earlier.after[0])} at place "
            f"{earlier.hi[0]}"
        )

    def _owner(self, link: _Links, symbol: str) -> str:
        return symbol if link.row[0] < 0 else self._name(link.row[0])

    def _name(self, row: int) -> str:
        return self._evidence.ids.name(self._evidence.in_final[row])


class _Reads:
    """The prices that clients read, held against the chain."""

    def __init__(self, evidence: Evidence, part: Part, chain: _Chain) -> None:
        ops = evidence.history.ops.iloc[part.ops]
        told = is_ok(ops) & np.asarray(ops["kind"] != str(OpKind.ORDER))
        told &= np.asarray(ops["move_nbr"].notna() & ops["price_cents"].notna())
        rows = part.ops[told]
        symbol = evidence.op_symbol[rows].astype(np.int64) - part.symbols.start
        place = ops["move_nbr"].to_numpy(np.int64, na_value=0)[told]
        price = ops["price_cents"].to_numpy(np.int64, na_value=0)[told]
        self.seen = len(rows)
        self._wrong = rows[~chain.fits(symbol, place, price)]
        self._ops = evidence.history.ops

    @property
    def count(self) -> int:
        """How many show a price that never was at their place."""
        return len(self._wrong)

    def offenders(self) -> list[str]:
        """The first of them."""
        shown = self._ops.iloc[self._wrong[:OFFENDERS_SHOWN]]
        return [
            f"read {row}: {_money(op['price_cents'])} at place {op['move_nbr']} of {op['symbol']}, "
            "a price that its orders never left there"
            for row, op in shown.iterrows()
        ]


class _Told:
    """What the clients of acknowledged orders were told, held against the database."""

    def __init__(self, evidence: Evidence, part: Part) -> None:
        assert evidence.final is not None
        self._evidence = evidence
        self._ops, self._orders = evidence.history.ops, evidence.final.orders
        ops, number = self._ops.iloc[part.ops], evidence.in_history[part.ops]
        told = is_ok(ops) & np.asarray(ops["move_nbr"].notna()) & (number != NO_ORDER)
        told[told] = evidence.rows[number[told]] > 0
        rows, found = part.ops[told], evidence.final_row[number[told]]
        differs = np.zeros(len(rows), dtype=bool)
        for here, there in (("move_nbr", "move_nbr"), ("price_cents", "unit_price_cents")):
            heard = ops[here].to_numpy(np.int64, na_value=-1)[told]
            differs |= heard != self._orders[there].to_numpy(np.int64)[found]
        self._pairs = np.stack([rows[differs], found[differs]], axis=1)

    @property
    def count(self) -> int:
        """How many were told something else."""
        return len(self._pairs)

    def offenders(self) -> list[str]:
        """The first of them."""
        return [
            f"{self._evidence.ids.name(self._evidence.in_final[there])}: its client was told place "
            f"{self._ops['move_nbr'].iloc[here]} at {_money(self._ops['price_cents'].iloc[here])}, "
            f"the database has {self._orders['move_nbr'].iloc[there]} at "
            f"{_money(self._orders['unit_price_cents'].iloc[there])}"
            for here, there in self._pairs[:OFFENDERS_SHOWN]
        ]


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"
