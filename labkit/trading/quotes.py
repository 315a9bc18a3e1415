"""Reads of instruments: prices now and before, and key figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg.rows import args_row, class_row

from labkit.errors import UnknownSymbol
from labkit.trading.attempts import Rows, attempt, attempt_async
from labkit.trading.engines import dialect_of
from labkit.trading.money import cents

QUOTE: Final = "SELECT symbol, current_price, moves FROM prices WHERE symbol = %s"

# with the age of the first move that somebody who had seen `moves` of them did not see
QUOTE_SINCE: Final = """
SELECT p.symbol, p.current_price, p.moves,
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - o.order_entry_ts)
        FROM orders AS o WHERE o.symbol = p.symbol AND o.move_nbr = %(moves)s + 1
    ), 0)::FLOAT8
FROM prices AS p WHERE p.symbol = %(symbol)s
"""

PRICE_HISTORY: Final = """
SELECT move_nbr, unit_price + CASE order_type WHEN 'buy' THEN 0.10 ELSE -0.10 END, order_entry_ts
FROM orders WHERE symbol = %(symbol)s AND move_nbr > %(after)s
ORDER BY move_nbr LIMIT %(limit)s
"""

INSTRUMENTS: Final = """
SELECT symbol, name, initial_price, current_price, moves, details
FROM instruments JOIN prices USING (symbol)
WHERE %s OR (details ->> 'generated') IS NULL ORDER BY symbol
"""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the stock picker: what is known of an instrument, and its price now.

    Attributes:
        details: the JSONB document: description, ceo, market_cap, ... (`sql/instruments.sql`).
            Those of the nine listed instruments are sample data, `details["as_of"]` says from
            when; generated ones have `details["generated"]`.
    """

    symbol: str
    name: str
    initial_price: Decimal
    current_price: Decimal
    moves: int
    details: Mapping[str, Any]

    @property
    def change(self) -> Decimal:
        """Return what all orders so far have made of the price."""
        return self.current_price - self.initial_price


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of an instrument, as a reader was told.

    Attributes:
        moves: how many orders had moved the price, so it shows the orders with a move_nbr of 1 to
            this. Of two quotes the one with more moves is the later one, and the difference is by
            how many orders.
    """

    symbol: str
    price: Decimal
    moves: int

    @property
    def price_cents(self) -> int:
        """The price in cents."""
        return cents(self.price)


def quote(conn: psycopg.Connection[Any], symbol: str) -> Quote:
    """Read the price, fresh or a little old.

    Args:
        conn: decides which. Through a balancer's read-write port it is read where prices are
            written, and shows all that was acknowledged; on PostgreSQL it may also show an order
            that no standby has yet and a failover undoes (`fresh_quote` never does). Through
            its read-only port (`cluster.dsn(region, read_only=True)`) it is read in the own region
            and as old as that replica: on PostgreSQL by what the standby is behind, on CockroachDB
            by 4.2 s or more (follower-reads.md, v25.4).

    Raises:
        UnknownSymbol: no such instrument.
    """
    return _quote(symbol, conn.execute(QUOTE, (symbol,), prepare=False).fetchone())


async def quote_async(conn: psycopg.AsyncConnection[Any], symbol: str) -> Quote:
    """`quote` for an async connection."""
    cursor = await conn.execute(QUOTE, (symbol,), prepare=False)
    return _quote(symbol, await cursor.fetchone())


def fresh_quote(conn: psycopg.Connection[Any], symbol: str) -> Quote:
    """Read the price now: it shows all that was acknowledged, and nothing that can be undone.

    On PostgreSQL it waits for the standbys that a commit waits for, and so costs what an order
    costs, less its writing. CockroachDB shows nothing else anyway.

    Args:
        conn: to a balancer's read-write port, in autocommit and outside a transaction.

    Raises:
        UnknownSymbol: no such instrument.
        OutcomeUnknown: the server gave up waiting for its standbys.
        psycopg.Error: there was no answer, or the node is not the primary.
    """
    statement = dialect_of(conn).fresh_quote
    return _fresh(symbol, attempt(conn, statement, {"symbol": symbol}))


async def fresh_quote_async(conn: psycopg.AsyncConnection[Any], symbol: str) -> Quote:
    """`fresh_quote` for an async connection."""
    statement = dialect_of(conn).fresh_quote
    return _fresh(symbol, await attempt_async(conn, statement, {"symbol": symbol}))


def _fresh(symbol: str, rows: Rows) -> Quote:
    return _quote(symbol, rows[0][:3] if rows else None)


def _quote(symbol: str, row: tuple[Any, ...] | None) -> Quote:
    if row is None:
        raise UnknownSymbol(f"no instrument {symbol}")
    return Quote(*row)


@dataclass(frozen=True, slots=True)
class Staleness:
    """A quote of a replica, held against a fresh one that was read right after it.

    Attributes:
        moves_behind: how many orders that had moved the price the replica did not show.
        behind_s: seconds since the first of these was received, by the database's clock; 0.0 when
            there is none. The replica's age at most: an order is received before its commit, and
            the fresh quote was read a little later.
    """

    replica: Quote
    fresh: Quote
    behind_s: float

    @property
    def moves_behind(self) -> int:
        """Never negative on a database that keeps its promises."""
        return self.fresh.moves - self.replica.moves


def staleness(
    fresh: psycopg.Connection[Any], replica: psycopg.Connection[Any], symbol: str
) -> Staleness:
    """Read a price from a replica and fresh, and measure how old the replica's is.

    Args:
        fresh: to a balancer's read-write port.
        replica: to a balancer's read-only port.

    Raises:
        UnknownSymbol: no such instrument.
    """
    old = quote(replica, symbol)
    arguments = {"symbol": symbol, "moves": old.moves}
    row = fresh.execute(QUOTE_SINCE, arguments, prepare=False).fetchone()
    if row is None:
        raise UnknownSymbol(f"no instrument {symbol}")
    *now, behind_s = row
    return Staleness(old, Quote(*now), behind_s)


@dataclass(frozen=True, slots=True)
class PricePoint:
    """One move of a price.

    Attributes:
        move_nbr: of the order that made it; the first is 1.
        price: after it.
        at: when the order was received, by the database's clock. Orders queue at a price, so one
            that was received earlier may have moved it later: `move_nbr` is the order of moves.
    """

    move_nbr: int
    price: Decimal
    at: datetime


def price_history(
    conn: psycopg.Connection[Any], symbol: str, *, after: int = 0, limit: int = 1000
) -> tuple[PricePoint, ...]:
    """Read the moves of a price from the orders that made them, in their order.

    Costs what it returns, however many moves there were: the last hundred are those after
    `quote(conn, symbol).moves - 100`. An unknown symbol has none.

    Args:
        after: the last move that is known already.
        limit: at most so many; the next page is after the last one's `move_nbr`.
    """
    arguments = {"symbol": symbol, "after": after, "limit": limit}
    with conn.cursor(row_factory=args_row(PricePoint)) as cursor:
        return tuple(cursor.execute(PRICE_HISTORY, arguments))


def instruments(
    conn: psycopg.Connection[Any], *, with_generated: bool = False
) -> tuple[Instrument, ...]:
    """Read the instruments, by symbol.

    Args:
        with_generated: also those that are there for load only.
    """
    with conn.cursor(row_factory=class_row(Instrument)) as cursor:
        cursor.execute(INSTRUMENTS, (with_generated,))
        return tuple(cursor)
