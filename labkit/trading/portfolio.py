"""Reads of an account: money, positions, and the orders it placed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from labkit.errors import UnknownAccount

ACCOUNT: Final = """
SELECT account_nbr, name, opening_balance, balance, may_short,
    coalesce((SELECT sum(amount) FROM deposits AS d WHERE d.account_nbr = a.account_nbr), 0)
        AS deposited
FROM accounts AS a JOIN users USING (user_id) WHERE account_nbr = %s
"""

POSITIONS: Final = """
SELECT symbol, quantity, net_cost, current_price
FROM positions JOIN prices USING (symbol) WHERE account_nbr = %s
ORDER BY symbol
"""

ORDER_HISTORY: Final = """
WITH page AS MATERIALIZED (
    SELECT order_id, order_nbr, symbol, order_type, total_qty, unit_price, move_nbr, order_status
    FROM orders WHERE account_nbr = %(account_nbr)s AND order_nbr < %(before)s
    ORDER BY order_nbr DESC LIMIT %(limit)s
)
SELECT p.order_id, p.order_nbr, p.symbol, p.order_type AS side, p.total_qty AS quantity,
    p.unit_price, p.move_nbr, p.order_status AS status,
    min(a.activity_ts) FILTER (WHERE a.order_status = 'order_received') AS received_at,
    min(a.activity_ts) FILTER (WHERE a.order_status = 'processing') AS processing_at,
    min(a.activity_ts) FILTER (WHERE a.order_status = 'order_processed') AS processed_at
FROM page AS p LEFT JOIN order_activity AS a ON a.order_id = p.order_id
GROUP BY p.order_id, p.order_nbr, p.symbol, p.order_type, p.total_qty, p.unit_price, p.move_nbr,
    p.order_status
ORDER BY p.order_nbr DESC
"""

NO_ORDER_NBR_IS_GREATER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Account:
    """An account and the money in it.

    Attributes:
        name: its user's.
        deposited: the sum of its deposits.
    """

    account_nbr: str
    name: str
    opening_balance: Decimal
    deposited: Decimal
    balance: Decimal
    may_short: bool


@dataclass(frozen=True, slots=True)
class Position:
    """The holding of an account in one instrument, also one that was sold.

    Attributes:
        quantity: shares; negative when it sold short.
        net_cost: what it paid for them, less what it sold some for.
        current_price: of one share.
    """

    symbol: str
    quantity: int
    net_cost: Decimal
    current_price: Decimal

    @property
    def value(self) -> Decimal:
        """Return what the shares would bring at the current price; negative when it sold short."""
        return self.quantity * self.current_price

    @property
    def profit(self) -> Decimal:
        """Of everything so far, if it were closed at the current price; a loss is negative."""
        return self.value - self.net_cost


@dataclass(frozen=True, slots=True)
class PastOrder:
    """An order of an account, and how far it is.

    Attributes:
        side: "buy" or "sell".
        status: "received", "processing" or "processed".
        received_at: and the others, by the database's clock; None while it is not so far.
        processing_at: when a processor took it first.
    """

    order_id: UUID
    order_nbr: int
    symbol: str
    side: str
    quantity: int
    unit_price: Decimal
    move_nbr: int
    status: str
    received_at: datetime | None
    processing_at: datetime | None
    processed_at: datetime | None


def account(conn: psycopg.Connection[Any], account_nbr: str) -> Account:
    """Read an account by its number.

    Raises:
        UnknownAccount: no such account.
    """
    with conn.cursor(row_factory=class_row(Account)) as cursor:
        found = cursor.execute(ACCOUNT, (account_nbr,)).fetchone()
    if found is None:
        raise UnknownAccount(f"no account {account_nbr}")
    return found


def positions(conn: psycopg.Connection[Any], account_nbr: str) -> tuple[Position, ...]:
    """Read what an account holds and has held, by symbol; empty for an unknown account."""
    with conn.cursor(row_factory=class_row(Position)) as cursor:
        return tuple(cursor.execute(POSITIONS, (account_nbr,)))


def order_history(
    conn: psycopg.Connection[Any],
    account_nbr: str,
    *,
    before: int = NO_ORDER_NBR_IS_GREATER,
    limit: int = 50,
) -> tuple[PastOrder, ...]:
    """Read an account's orders, the latest first; empty for an unknown account.

    Costs what it returns, however many orders there are.

    Args:
        before: the next page is before the last one's `order_nbr`.
        limit: at most so many.
    """
    arguments = {"account_nbr": account_nbr, "before": before, "limit": limit}
    with conn.cursor(row_factory=class_row(PastOrder)) as cursor:
        return tuple(cursor.execute(ORDER_HISTORY, arguments))
