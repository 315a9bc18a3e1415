"""Placing an order: one statement, one round trip, one transaction.

The price, the balance check and the money are the database's work: a function on PostgreSQL
(`sql/postgresql/functions.sql`), a statement on CockroachDB (`sql/cockroachdb/place_order.sql`).
The client only says what it wants, under an id it made. When no answer comes, it asks again under
the same id: an order that is there already is answered, not placed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import psycopg

from labkit.errors import BadInput
from labkit.trading.attempts import Rows, attempt, raise_refusal
from labkit.trading.engines import dialect_of
from labkit.trading.ids import new_id
from labkit.trading.money import cents

MAX_QUANTITY: Final = 1_000_000


class Side(StrEnum):
    """The side of an order: buy or sell."""

    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as a client asks for it.

    Attributes:
        order_id: made by the client before the first attempt (labkit.trading.ids).
        quantity: shares, 1 to 1,000,000.

    Raises:
        BadInput: the quantity is outside that range or not a whole number, or another value is not
            of its type.
    """

    order_id: UUID
    account_nbr: str
    symbol: str
    side: Side
    quantity: int

    def __post_init__(self) -> None:
        whole = isinstance(self.quantity, int) and not isinstance(self.quantity, bool)
        if not whole or not 1 <= self.quantity <= MAX_QUANTITY:
            raise BadInput(
                f"quantity {self.quantity!r} refused: an order has 1 to {MAX_QUANTITY:,} shares, "
                "as an int"
            )
        if not isinstance(self.side, Side):
            raise BadInput(f"side {self.side!r} refused: it is {' or '.join(map(repr, Side))}")
        for name in ("account_nbr", "symbol"):
            if not isinstance(text := getattr(self, name), str):
                raise BadInput(f"{name} {text!r} refused: it is a text")

    @classmethod
    def new(
        cls, account_nbr: str, symbol: str, side: Side, quantity: int, *, region_index: int = 0
    ) -> Order:
        """Make an order of a person at a keyboard, under a fresh id.

        Args:
            region_index: the person's region, by its place in the topology. CockroachDB keeps the
                order there (labkit.trading.ids); elsewhere it makes no difference.

        Raises:
            BadInput: a value is refused, as the class says; or `region_index` is no such number.
        """
        return cls(new_id(region_index), account_nbr, symbol, side, quantity)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The database's word that an order is placed.

    Attributes:
        order_nbr: the number people use.
        unit_price: the price before this order moved it.
        move_nbr: this order's place among those that moved the symbol's price; the first is 1.
        amount: unit price times quantity; debited on a buy, credited on a sell.
        retried: an earlier attempt had placed it; this is that attempt's result.
    """

    order_id: UUID
    order_nbr: int
    unit_price: Decimal
    amount: Decimal
    move_nbr: int
    retried: bool

    @property
    def price_cents(self) -> int:
        """The unit price in cents."""
        return cents(self.unit_price)


def place_order(conn: psycopg.Connection[Any], order: Order) -> Receipt:
    """Place an order, or learn how an earlier attempt under its id ended.

    Args:
        conn: in autocommit mode and outside a transaction, so that success is the commit's.

    Raises:
        TradingError: the application refused; nothing was written.
        OutcomeUnknown: the server gave up waiting for its standbys.
        BadInput: `conn` is in a transaction.
        psycopg.Error: the attempt failed; `attempts.reply_of` says what that means.
    """
    return _receipt(order, attempt(conn, dialect_of(conn).place_order, _arguments(order)))


def _arguments(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "account_nbr": order.account_nbr,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": order.quantity,
    }


def _receipt(order: Order, rows: Rows) -> Receipt:
    [(order_nbr, unit_price, move_nbr, retried, refusal, reason)] = rows
    raise_refusal(refusal, reason)
    amount = unit_price * order.quantity
    return Receipt(order.order_id, order_nbr, unit_price, amount, move_nbr, retried)
