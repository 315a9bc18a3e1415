"""The checker of prices: each is what the orders before it say, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from labkit.measurement.possible import LARGEST_PLACE
from labkit.measurement.windows import is_ok
from labkit.record import OpKind
from labkit.verdict.checkers.base import money, no_final_read, twice_in
from labkit.verdict.evidence import Evidence, Part
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted
from labkit.verdict.numbers import NO_ORDER

_STOCK = ("initial_price_cents", "current_price_cents", "moves", "buys", "sells")
_FROM_SECOND, _TO_LAST_BUT_ONE = slice(1, None), slice(None, -1)
FLOOR_CENTS = 10
"""No price is lower (`CHECK` in sql/postgresql/schema.sql)."""


@dataclass(frozen=True)
class PriceExact:
    """Every price is the initial one, moved a step up by each buy and down by each sell.

    `move_nbr` is an order's place among those that moved its symbol's price. So the prices that
    this run's orders met are a chain: one place later, the price is one step on. Orders of other
    clients leave holes in it; across a hole of n orders the price has moved by n steps at most,
    and by an even number of steps less than that.

    Proves, per symbol: it is there once; the final price is exact and not below the floor, and its
    count of moves is the count of orders, of which this run's own are a part; no two orders met
    the same price in the same place (a lost update); each order of the run met the
    price that those before it left; each read shows the price of its place; each acknowledged
    order is in the database with the symbol and side that its client asked for, at the place and
    the price that its client was told.
    Cannot: see what happened in the holes; a buy and a sell of another client that both vanished
    with their moves leave no trace. Compare side and symbol of an order that was not acknowledged
    and is not there.
    """

    name: ClassVar[str] = "prices"
    step_cents: int = 10

    def check(self, evidence: Evidence) -> Finding:
        """Judge. A function of the evidence alone."""
        if evidence.final is None:
            return no_final_read(self.name)
        if evidence.final.instruments.empty:
            return Finding(self.name, Verdict.UNKNOWN, "the final read has no price to look at")
        twice = twice_in(evidence.final.instruments["symbol"])
        offenders = [f"{symbol}: there more than once" for symbol in twice]
        count, read = len(twice), 0
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
    """The known prices, by symbol and place: an array each.

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
        """Select links, or put them into another order."""
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
        self._stocks = evidence.instruments.iloc[part.symbols.start : part.symbols.stop]
        self._step_cents = step_cents
        initial, current, moves, buys, sells = (
            self._stocks[name].to_numpy(np.int64) for name in _STOCK
        )
        self._due = initial + step_cents * (buys - sells)
        symbol = evidence.order_symbol[part.orders].astype(np.int64) - part.symbols.start
        known = symbol < len(self._stocks)
        place = self._orders["move_nbr"].to_numpy(np.int64)[part.orders]
        placed = (place >= 1) & (place < LARGEST_PLACE)
        self._stray = part.orders[~known | ~placed]
        self._own = self._own_orders(symbol[known], part.orders[known])
        self._wrong = (current != self._due) | (moves != buys + sells) | (current < FLOOR_CENTS)
        self._wrong |= (self._own > np.stack([buys, sells])).any(axis=0)
        known &= placed
        moves = np.clip(moves, 0, LARGEST_PLACE - 1)
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

    def _own_orders(self, symbol: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Tell how many buys and how many sells of each symbol are this run's, each order once."""
        once = self._evidence.final_row[self._evidence.in_final[rows]] == rows
        up = np.asarray(self._orders["side"].iloc[rows] == "buy")
        return np.stack(
            [np.bincount(symbol[once & is_of], minlength=len(self._stocks)) for is_of in (up, ~up)]
        )

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
        # the initial price first and the final one last, whatever the places say: the sort is
        # stable, so an order at the largest place comes before the final price
        rank = np.concatenate([zero, place, zero - 1])
        key = np.concatenate([every, symbol, every + 1]) * LARGEST_PLACE + rank
        return links.chosen(np.argsort(key, kind="stable"))

    @property
    def count(self) -> int:
        """Tell how many prices and orders are not as they should be."""
        return int(self._wrong.sum()) + len(self._broken) + len(self._stray)

    def _possible(self, places: np.ndarray, cents: np.ndarray) -> np.ndarray:
        """Tell whether as many orders, buys or sells, can move a price by as much."""
        reach = places * self._step_cents
        return np.asarray(
            (places >= 0)
            & (np.abs(cents) <= reach)
            & ((cents - reach) % (2 * self._step_cents) == 0)
        )

    def fits(self, symbol: np.ndarray, place: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Tell whether each price may have been that of the symbol at that place."""
        fits = np.zeros(len(symbol), dtype=bool)
        known = symbol < len(self._stocks)
        symbol, place, price = symbol[known], place[known], price[known]
        # the last link that ends at the place or before it: the initial price at the earliest
        links = self._sound
        # a broken chain may step back
        keys = np.maximum.accumulate(links.symbol * LARGEST_PLACE + links.hi)
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
        """Describe the first offenders."""
        found = [self._wrongs(i) for i in np.flatnonzero(self._wrong)[:OFFENDERS_SHOWN]]
        found += [
            f"{self._name(row)}: of no known symbol, or at a place that no order can have"
            for row in self._stray[:OFFENDERS_SHOWN]
        ]
        return found + [self._break(i) for i in self._broken[:OFFENDERS_SHOWN]]

    def _wrongs(self, i: int) -> str:
        """Say where the price, the moves and the orders of an instrument disagree."""
        stock, due, (buys, sells) = self._stocks.iloc[i], self._due[i], self._own[:, i]
        current, orders = stock["current_price_cents"], stock["buys"] + stock["sells"]
        said = []
        if current != due:
            said.append(f"its {counted(orders, 'order')} make the price {money(due)}")
        if stock["moves"] != orders:
            said.append(f"it has {counted(orders, 'order')}")
        if current < FLOOR_CENTS:
            said.append(f"no price is below {money(FLOOR_CENTS)}")
        if buys > stock["buys"] or sells > stock["sells"]:
            said.append(f"this run alone has {buys:,} buys and {sells:,} sells")
        moved = counted(stock["moves"], "move")
        return f"{stock['symbol']}: {money(current)} after {moved}, but {'; '.join(said)}"

    def _break(self, i: int) -> str:
        here, earlier = (self._links.chosen(slice(at, at + 1)) for at in (i, i - 1))
        symbol = str(self._stocks["symbol"].iloc[here.symbol[0]])
        whose = "the initial price" if earlier.hi[0] == 0 else self._owner(earlier, symbol)
        return (
            f"{self._owner(here, symbol)}: place {here.hi[0]} of {symbol} at "
            f"{money(here.before[0])}, but {whose} left {money(earlier.after[0])} at place "
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
        """Tell how many show a price that never was at their place."""
        return len(self._wrong)

    def offenders(self) -> list[str]:
        """Describe the first offenders."""
        shown = self._ops.iloc[self._wrong[:OFFENDERS_SHOWN]]
        return [
            f"read {row}: {money(op['price_cents'])} at place {op['move_nbr']} of {op['symbol']}, "
            "a price that its orders do not lead to"
            for row, op in shown.iterrows()
        ]


class _Told:
    """The requests and answers of clients, held against the database.

    Whatever came of an order, it was of one symbol and one side; its place and its price are
    compared where its client was told them.
    """

    def __init__(self, evidence: Evidence, part: Part) -> None:
        assert evidence.final is not None
        self._evidence = evidence
        self._ops, self._orders = evidence.history.ops, evidence.final.orders
        ops, number = self._ops.iloc[part.ops], evidence.in_history[part.ops]
        there = np.asarray(ops["kind"] == str(OpKind.ORDER)) & (number != NO_ORDER)
        there &= np.asarray(ops["sent_s"].notna())  # of what was not sent nobody asked for anything
        there[there] = evidence.rows[number[there]] > 0
        rows, found = part.ops[there], evidence.final_row[number[there]]
        acked = is_ok(ops)[there]
        differs = np.zeros(len(rows), dtype=bool)
        for here, column in (("move_nbr", "move_nbr"), ("price_cents", "unit_price_cents")):
            heard = ops[here].to_numpy(np.int64, na_value=0)[there]
            told = acked & np.asarray(ops[here].notna())[there]
            differs |= told & (heard != self._orders[column].to_numpy(np.int64)[found])
        for name in ("symbol", "side"):
            differs |= _texts_differ(ops[name].iloc[there], self._orders[name].iloc[found])
        self._pairs = np.stack([rows[differs], found[differs]], axis=1)

    @property
    def count(self) -> int:
        """Tell how many were told something else."""
        return len(self._pairs)

    def offenders(self) -> list[str]:
        """Describe the first offenders."""
        return [self._words(here, there) for here, there in self._pairs[:OFFENDERS_SHOWN]]

    def _words(self, here: int, there: int) -> str:
        op, order = self._ops.iloc[here], self._orders.iloc[there]
        told = [f"place {op['move_nbr']}"] if pd.notna(op["move_nbr"]) else []
        told += [money(op["price_cents"])] if pd.notna(op["price_cents"]) else []
        return (
            f"{self._evidence.ids.name(self._evidence.in_final[there])}: its client asked for a "
            f"{op['side']} of {op['symbol']} and was told {' at '.join(told) or 'nothing'}, the "
            f"database has a {order['side']} of {order['symbol']}, place {order['move_nbr']} at "
            f"{money(order['unit_price_cents'])}"
        )


def _texts_differ(one: pd.Series, other: pd.Series) -> np.ndarray:
    """Tell where two categorical columns of the same length have different texts."""
    codes = np.asarray(other.cat.codes)
    translated = one.cat.categories.get_indexer(other.cat.categories)
    same = np.append(translated, -2)[codes]
    return np.asarray(same != np.asarray(one.cat.codes))
