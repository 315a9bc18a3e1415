"""What a trading desk shows of one account and of one price, in a few reads."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg

from labkit.errors import UnknownSymbol
from labkit.trading.portfolio import PastOrder, account, order_history, positions
from labkit.trading.quotes import PricePoint, price_history, quote

LAST_ORDERS: Final = 30
LAST_POINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Holding:
    """What an account holds of an instrument; its value moves with the price that the desk shows.

    Attributes:
        quantity: shares; below 0 when it sold short.
        paid: what the buys cost less what the sells brought.
    """

    symbol: str
    quantity: int
    paid: Decimal


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


def book(conn: psycopg.Connection[Any], account_nbr: str) -> Book:
    """Read an account. Three reads, so an order that is placed in between may be in one only.

    Raises:
        UnknownAccount: no such account.
    """
    balance = account(conn, account_nbr).balance
    held = positions(conn, account_nbr)
    return Book(
        balance,
        tuple(Holding(one.symbol, one.quantity, one.net_cost) for one in held),
        order_history(conn, account_nbr, limit=LAST_ORDERS),
    )


def price_points(conn: psycopg.Connection[Any], symbol: str) -> tuple[PricePoint, ...]:
    """The prices that the last orders of an instrument made, the oldest first; none if unknown."""
    try:
        moves = quote(conn, symbol).moves
    except UnknownSymbol:
        return ()
    return price_history(conn, symbol, after=moves - LAST_POINTS, limit=LAST_POINTS)
