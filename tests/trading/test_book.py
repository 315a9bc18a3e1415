from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from labkit.errors import UnknownAccount
from labkit.trading.book import LAST_ORDERS, Holding, book, price_points
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.orders import Order, Side, place_order

from .conftest import ENGINES


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def place(conn: psycopg.Connection, symbol: str, side: Side, quantity: int) -> Decimal:
    return place_order(conn, Order.new(DEMO_ACCOUNT, symbol, side, quantity)).unit_price


def test_an_account_without_orders_has_its_money_and_nothing_else(conn: psycopg.Connection) -> None:
    read = book(conn, DEMO_ACCOUNT)
    assert (read.balance, read.holdings, read.orders) == (Decimal("100000.00"), (), ())


def test_holdings_and_money_follow_from_the_orders(conn: psycopg.Connection) -> None:
    bought = place(conn, "AAPL", Side.BUY, 10) * 10
    sold = place(conn, "AAPL", Side.SELL, 4) * 4
    other = place(conn, "DIS", Side.BUY, 1)
    read = book(conn, DEMO_ACCOUNT)
    assert read.holdings == (Holding("AAPL", 6, bought - sold), Holding("DIS", 1, other))
    assert read.balance == Decimal("100000.00") - bought + sold - other


def test_the_last_orders_come_newest_first_each_once_with_its_life(
    conn: psycopg.Connection,
) -> None:
    for quantity in range(1, LAST_ORDERS + 4):
        place(conn, "DIS", Side.BUY, quantity)
    orders = book(conn, DEMO_ACCOUNT).orders
    assert [order.quantity for order in orders] == list(range(LAST_ORDERS + 3, 3, -1))
    assert len({order.order_id for order in orders}) == LAST_ORDERS
    assert all(set(order.life) == {"received"} and order.status == "received" for order in orders)


def test_the_points_of_a_price_are_the_prices_that_its_orders_made(
    conn: psycopg.Connection,
) -> None:
    assert price_points(conn, "DIS") == ()
    first = place(conn, "DIS", Side.BUY, 1)
    place(conn, "DIS", Side.BUY, 1)
    place(conn, "DIS", Side.SELL, 1)
    place(conn, "AAPL", Side.BUY, 1)
    points = price_points(conn, "DIS")
    assert [point.price - first for point in points] == [
        Decimal(step) for step in ("0.10", "0.20", "0.10")
    ]
    assert [point.at for point in points] == sorted(point.at for point in points)


def test_an_account_that_does_not_exist_is_refused(conn: psycopg.Connection) -> None:
    with pytest.raises(UnknownAccount, match="0000000000"):
        book(conn, "0000000000")
