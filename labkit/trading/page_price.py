"""A wrong way to move a price, shown on purpose: the client computes it from its page.

The trading demo that this lab is built around does it so: the page shows a price, the client adds
0.10 to it, and `UPDATE` stores the sum. Two clients that saw the same price store the same sum, and
one of two moves is lost. It is here to be measured beside `labkit.trading.orders`, in a table of
its own, so that the real prices stay true.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import psycopg

STEP: Final = Decimal("0.10")

CREATE_PAGES: Final = """
CREATE TABLE IF NOT EXISTS page_prices (
    symbol        TEXT PRIMARY KEY,
    current_price DECIMAL(20,2) NOT NULL
)
"""
OPEN_PAGE: Final = """
INSERT INTO page_prices (symbol, current_price) VALUES (%s, %s)
ON CONFLICT (symbol) DO UPDATE SET current_price = excluded.current_price
"""
READ_PAGE: Final = "SELECT current_price FROM page_prices WHERE symbol = %s"
WRITE_PAGE: Final = "UPDATE page_prices SET current_price = %s WHERE symbol = %s"
DROP_PAGES: Final = "DROP TABLE IF EXISTS page_prices"


@contextmanager
def page_prices(
    conn: psycopg.Connection[Any], symbol: str, opening: Decimal = Decimal(100)
) -> Iterator[None]:
    """Have the table, with one symbol in it, for the length of a `with` block.

    Args:
        conn: in autocommit mode.
    """
    conn.execute(CREATE_PAGES)
    try:
        conn.execute(OPEN_PAGE, (symbol, opening))
        yield
    finally:
        conn.execute(DROP_PAGES)


def read_page(conn: psycopg.Connection[Any], symbol: str) -> Decimal:
    """Read the price that a page shows."""
    row = conn.execute(READ_PAGE, (symbol,)).fetchone()
    assert row is not None
    price: Decimal = row[0]
    return price


def write_page(conn: psycopg.Connection[Any], symbol: str, price: Decimal) -> None:
    """Store what the client computed."""
    conn.execute(WRITE_PAGE, (price, symbol))
