from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from labkit.errors import (
    InsufficientFunds,
    OrderConflict,
)
from labkit.trading.catalogue import DEMO_ACCOUNT, GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Receipt, Side, place_order
from labkit.trading.quotes import Quote, quote

from .conftest import on_postgresql
from .placing import balance, counts, place, place_alone, price

pytestmark = pytest.mark.both_engines


# ---- asked again under the same id


def test_a_retry_returns_the_first_result_and_changes_nothing(
    conn: psycopg.Connection, buy: Order, run: RunId
) -> None:
    first = place_order(conn, buy)
    place_order(conn, replace(buy, order_id=run.order_id(0, 1)))  # the price moves on
    before = balance(conn), price(conn, "AAPL")
    assert place_order(conn, buy) == replace(first, retried=True)
    assert (balance(conn), price(conn, "AAPL")) == before
    assert counts(conn) == (2, 2)


def test_a_retry_is_answered_when_the_money_is_gone(conn: psycopg.Connection, buy: Order) -> None:
    """The first attempt was paid for; a refusal would deny an order that exists."""
    first = place_order(conn, buy)
    conn.execute("UPDATE accounts SET balance = 0 WHERE account_nbr = %s", (DEMO_ACCOUNT,))
    assert place_order(conn, buy) == replace(first, retried=True)


@on_postgresql
def test_a_retry_writes(conn: psycopg.Connection, buy: Order) -> None:
    """So that it waits for the standbys like the first attempt."""
    for _ in range(3):
        place_order(conn, buy)
    assert conn.execute("SELECT retries FROM orders").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "change",
    [
        {"account_nbr": GENERATED_ACCOUNTS[0]},
        {"symbol": "MSFT"},
        {"side": Side.SELL},
        {"quantity": 4},
    ],
)
def test_the_same_id_for_another_order_is_a_conflict(
    conn: psycopg.Connection, buy: Order, change: dict[str, object]
) -> None:
    place_order(conn, buy)
    before = balance(conn), price(conn, "AAPL"), price(conn, "MSFT")
    with pytest.raises(OrderConflict, match=f"order {buy.order_id} is a buy of 3 AAPL"):
        place_order(conn, replace(buy, **change))
    assert (balance(conn), price(conn, "AAPL"), price(conn, "MSFT")) == before
    assert counts(conn) == (1, 1)


def test_concurrent_attempts_of_one_order_place_it_once(
    dsn: str, conn: psycopg.Connection, buy: Order, pool: ThreadPoolExecutor
) -> None:
    receipts = list(pool.map(lambda _: place_alone(dsn, buy), range(12)))
    assert sorted(receipt.retried for receipt in receipts) == [False] + [True] * 11
    assert len({replace(receipt, retried=False) for receipt in receipts}) == 1
    assert counts(conn) == (1, 1)
    assert price(conn, "AAPL") == Decimal("191.61")
    assert balance(conn) == Decimal("100000.00") - receipts[0].amount


# ---- many at once


def test_concurrent_buyers_and_sellers_leave_prices_and_money_exact(
    dsn: str, conn: psycopg.Connection, run: RunId, pool: ThreadPoolExecutor
) -> None:
    """Two accounts and two symbols in every combination: lost updates and deadlocks would show."""
    accounts, symbols = GENERATED_ACCOUNTS[:2], ("AAPL", "MSFT")

    def trade(worker: int) -> list[tuple[Order, Receipt]]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            orders = [
                Order(
                    run.order_id(worker, n),
                    accounts[(worker + n) % 2],
                    symbols[(worker + n // 2) % 2],
                    Side.BUY if (worker + n) % 3 else Side.SELL,
                    1 + (worker * n) % 7,
                )
                for n in range(20)
            ]
            return [(order, place(conn, order)) for order in orders]

    placed = [pair for pairs in pool.map(trade, range(8)) for pair in pairs]
    placed.sort(key=lambda pair: pair[1].move_nbr)
    for symbol, due in (("AAPL", Decimal("191.51")), ("MSFT", Decimal("429.82"))):
        moves = 0
        for order, receipt in placed:
            if order.symbol == symbol:
                moves += 1
                assert receipt.move_nbr == moves, "no number is left out or given twice"
                assert receipt.unit_price == due, "each order has the price its forerunner left"
                due += Decimal("0.10") if order.side is Side.BUY else Decimal("-0.10")
        assert quote(conn, symbol) == Quote(symbol, due, moves)
    for account in accounts:
        spent = sum(
            receipt.amount if order.side is Side.BUY else -receipt.amount
            for order, receipt in placed
            if order.account_nbr == account
        )
        assert balance(conn, account) == Decimal(1_000_000_000) - spent
    assert counts(conn) == (160, 160)


def test_concurrent_buyers_cannot_spend_the_same_money(
    dsn: str, conn: psycopg.Connection, run: RunId, pool: ThreadPoolExecutor
) -> None:
    """Twelve buys of different instruments at the same price, and money for five."""
    symbols = GENERATED_SYMBOLS[:12]
    conn.execute("UPDATE prices SET current_price = 10 WHERE symbol = ANY(%s)", (list(symbols),))
    conn.execute("UPDATE accounts SET balance = 59 WHERE account_nbr = %s", (DEMO_ACCOUNT,))

    def buy_one(worker: int) -> bool:
        order = Order(run.order_id(worker, 0), DEMO_ACCOUNT, symbols[worker], Side.BUY, 1)
        try:
            place_alone(dsn, order)
        except InsufficientFunds:
            return False
        return True

    assert sum(pool.map(buy_one, range(12))) == 5
    assert balance(conn) == 9
