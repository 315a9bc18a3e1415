"""What one account has: money, holdings, and its last orders with the life of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg

from labkit.errors import UnknownAccount
from labkit.trading.orders import Side

LAST_ORDERS: Final = 30
LAST_POINTS: Final = 300
STEP: Final = Decimal("0.10")
"""How far an order moves the price (`sql/`)."""

BALANCE: Final = "SELECT balance FROM accounts WHERE account_nbr = %s"

HOLDINGS: Final = """
SELECT symbol,
    sum(CASE order_type WHEN 'buy' THEN total_qty ELSE -total_qty END)::BIGINT,
    sum(CASE order_type WHEN 'buy' THEN total_qty ELSE -total_qty END * unit_price)
FROM orders WHERE account_nbr = %s GROUP BY symbol ORDER BY symbol
"""

ORDERS: Final = """
SELECT o.order_id, o.order_nbr, o.symbol, o.order_type, o.total_qty, o.unit_price,
    a.order_status, a.activity_ts
FROM (
    SELECT order_id, order_nbr, symbol, order_type, total_qty, unit_price
    FROM orders WHERE account_nbr = %s ORDER BY order_nbr DESC LIMIT %s
) AS o
LEFT JOIN order_activity AS a ON a.order_id = o.order_id
ORDER BY o.order_nbr DESC, a.activity_ts
"""

POINTS: Final = """
SELECT order_entry_ts, order_type, unit_price FROM orders
WHERE symbol = %s ORDER BY move_nbr DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds of an instrument, by its orders.

    Attributes:
        quantity: shares; below 0 when it sold short.
        paid: what the buys cost less what the sells brought.
    """

    symbol: str
    quantity: int
    paid: Decimal


@dataclass(frozen=True, slots=True)
class PastOrder:
    """An order that was placed.

    Attributes:
        life: when it was "received", "processing" and "processed", as far as it got.
    """

    order_id: UUID
    order_nbr: int
    symbol: str
    side: Side
    quantity: int
    unit_price: Decimal
    life: Mapping[str, datetime]

    @property
    def status(self) -> str:
        """How far it got."""
        return next((word for word in reversed(_WORDS.values()) if word in self.life), "received")


@dataclass(frozen=True, slots=True)
class Book:
    """One account.

    Attributes:
        holdings: by symbol; also those that are sold again, for what they won or lost.
        orders: the last ones, the newest first.
    """

    balance: Decimal
    holdings: tuple[Holding, ...]
    orders: tuple[PastOrder, ...]


@dataclass(frozen=True, slots=True)
class PricePoint:
    """The price that an order made, and when."""

    at: datetime
    price: Decimal


_WORDS = {
    "order_received": "received",
    "processing": "processing",
    "order_processed": "processed",
}


def book(conn: psycopg.Connection[Any], account_nbr: str) -> Book:
    """Read an account. Three reads, so an order that is placed in between may be in one only.

    Raises:
        UnknownAccount: no such account.
    """
    found = conn.execute(BALANCE, (account_nbr,), prepare=False).fetchone()
    if found is None:
        raise UnknownAccount(f"no account {account_nbr}")
    holdings = conn.execute(HOLDINGS, (account_nbr,), prepare=False).fetchall()
    rows = conn.execute(ORDERS, (account_nbr, LAST_ORDERS), prepare=False).fetchall()
    return Book(found[0], tuple(Holding(*row) for row in holdings), _orders(rows))


def price_points(conn: psycopg.Connection[Any], symbol: str) -> tuple[PricePoint, ...]:
    """The prices that the last orders of an instrument made, the oldest first.

    No index leads to them, which every order would have to keep: for a chart that is opened, not
    for a loop.
    """
    rows = conn.execute(POINTS, (symbol, LAST_POINTS), prepare=False).fetchall()
    return tuple(
        PricePoint(at, price + (STEP if side == Side.BUY else -STEP))
        for at, side, price in reversed(rows)
    )


def _orders(rows: list[tuple[Any, ...]]) -> tuple[PastOrder, ...]:
    """One order for the rows of its activities, which stand together."""
    lives: dict[UUID, dict[str, datetime]] = {}
    heads: dict[UUID, tuple[Any, ...]] = {}
    for *head, status, at in rows:
        heads[head[0]] = tuple(head)
        life = lives.setdefault(head[0], {})
        if status in _WORDS:
            life.setdefault(_WORDS[status], at)
    return tuple(
        PastOrder(order_id, number, symbol, Side(side), quantity, price, lives[order_id])
        for order_id, number, symbol, side, quantity, price in heads.values()
    )
