"""What the instruments cost now, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from labkit.errors import UnknownSymbol
from labkit.trading.money import cents

QUOTE: Final = "SELECT symbol, current_price, moves FROM prices WHERE symbol = %s"

INSTRUMENTS: Final = """
SELECT symbol, name, current_price, moves, details FROM instruments JOIN prices USING (symbol)
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
    current_price: Decimal
    moves: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Quote:
    """What an instrument costs, as somebody was told.

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
    """The price, fresh or a little old.

    Args:
        conn: decides which. Through a balancer's read-write port the price is the one now. Through
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


def _quote(symbol: str, row: tuple[Any, ...] | None) -> Quote:
    if row is None:
        raise UnknownSymbol(f"no instrument {symbol}")
    return Quote(*row)


def instruments(
    conn: psycopg.Connection[Any], *, with_generated: bool = False
) -> tuple[Instrument, ...]:
    """The instruments, by symbol.

    Args:
        with_generated: also those that are there for load only.
    """
    with conn.cursor(row_factory=class_row(Instrument)) as cursor:
        cursor.execute(INSTRUMENTS, (with_generated,))
        return tuple(cursor)
