"""What the instruments cost now, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, scalar_row

from labkit.errors import UnknownSymbol

PRICE: Final = "SELECT current_price FROM prices WHERE symbol = %s"

INSTRUMENTS: Final = """
SELECT symbol, name, current_price, details FROM instruments JOIN prices USING (symbol)
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
    details: Mapping[str, Any]


def price(conn: psycopg.Connection[Any], symbol: str) -> Decimal:
    """The price now.

    Raises:
        UnknownSymbol: no such instrument.
    """
    with conn.cursor(row_factory=scalar_row) as cursor:
        found: Decimal | None = cursor.execute(PRICE, (symbol,)).fetchone()
    if found is None:
        raise UnknownSymbol(f"no instrument {symbol}")
    return found


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
