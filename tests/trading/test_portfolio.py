from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from labkit.errors import UnknownAccount
from labkit.trading.accounts import Deposit, NewAccount, create_account, make_deposit
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.portfolio import (
    ORDER_HISTORY,
    Account,
    account,
    order_history,
    positions,
)
from labkit.trading.processing import Queue, claim_orders, complete_orders

from .executing import fill_history, rows_read

pytestmark = pytest.mark.both_engines


def trade(conn: psycopg.Connection, run: RunId, *orders: tuple[str, Side, int]) -> list[int]:
    """Place these, and return their numbers."""
    return [
        place_order(conn, Order(run.order_id(0, n), DEMO_ACCOUNT, symbol, side, shares)).order_nbr
        for n, (symbol, side, shares) in enumerate(orders)
    ]


def test_an_account_has_its_users_name_and_its_money(conn: psycopg.Connection) -> None:
    new = NewAccount.new("Ada", "us-west-2", opening_balance=Decimal(10))
    create_account(conn, new)
    for amount in (1, 2):
        make_deposit(conn, Deposit.new(new.account_nbr, Decimal(amount)))
    assert account(conn, new.account_nbr) == Account(
        new.account_nbr, "Ada", Decimal(10), Decimal(3), Decimal(13), may_short=False
    )


def test_an_account_that_is_not_there_is_an_error_that_names_it(conn: psycopg.Connection) -> None:
    with pytest.raises(UnknownAccount, match="no account 42"):
        account(conn, "42")


def test_positions_have_their_cost_their_value_and_their_profit(
    conn: psycopg.Connection, run: RunId
) -> None:
    buy, sell = Side.BUY, Side.SELL
    trade(conn, run, ("DIS", buy, 10), ("DIS", sell, 4), ("JPM", buy, 1), ("JPM", sell, 1))
    disney, jpm = positions(conn, DEMO_ACCOUNT)
    assert (disney.symbol, disney.quantity) == ("DIS", 6)
    assert disney.net_cost == 10 * Decimal("101.29") - 4 * Decimal("101.39")
    assert disney.value == 6 * Decimal("101.29")
    assert disney.profit == Decimal("0.40"), "four were sold 0.10 above what they had cost"
    assert (jpm.quantity, jpm.value, jpm.profit) == (0, 0, Decimal("0.10"))


def test_what_is_gone_from_the_balance_is_in_the_positions(
    conn: psycopg.Connection, run: RunId
) -> None:
    trade(conn, run, ("DIS", Side.BUY, 10), ("JPM", Side.BUY, 3), ("DIS", Side.SELL, 2))
    cost = sum(position.net_cost for position in positions(conn, DEMO_ACCOUNT))
    found = account(conn, DEMO_ACCOUNT)
    assert found.balance == found.opening_balance - cost


def test_a_short_position_loses_what_the_price_gains(
    conn: psycopg.Connection, run: RunId, demo_may_short: None
) -> None:
    trade(conn, run, ("DIS", Side.SELL, 2))
    conn.execute("UPDATE prices SET current_price = 111.29 WHERE symbol = 'DIS'")
    [short] = positions(conn, DEMO_ACCOUNT)
    assert (short.quantity, short.value, short.profit) == (-2, Decimal("-222.58"), -20)


def test_the_life_of_an_order_is_in_the_history(conn: psycopg.Connection, run: RunId) -> None:
    queue = Queue("us-west-2", batch=1)
    trade(conn, run, ("DIS", Side.BUY, 10), ("JPM", Side.BUY, 1), ("DIS", Side.SELL, 4))
    complete_orders(conn, claim_orders(conn, queue))
    claim_orders(conn, queue)
    received, processing, processed = order_history(conn, DEMO_ACCOUNT)
    assert [order.status for order in (processed, processing, received)] == [
        "processed",
        "processing",
        "received",
    ]
    assert (received.symbol, received.side, received.quantity) == ("DIS", "sell", 4)
    assert (received.unit_price, received.move_nbr) == (Decimal("101.39"), 2)
    times = (processed.received_at, processed.processing_at, processed.processed_at)
    assert None not in times
    assert list(times) == sorted(t for t in times if t)
    assert (processing.processing_at is None, processing.processed_at) == (False, None)
    assert (received.received_at is None, received.processing_at) == (False, None)


def test_the_history_of_orders_comes_in_pages_the_latest_first(
    conn: psycopg.Connection, run: RunId
) -> None:
    placed = trade(conn, run, *[("DIS", Side.BUY, 1)] * 5)
    pages = [order_history(conn, DEMO_ACCOUNT, limit=2)]
    while pages[-1]:
        pages.append(order_history(conn, DEMO_ACCOUNT, before=pages[-1][-1].order_nbr, limit=2))
    newest = placed[::-1]
    assert [[order.order_nbr for order in page] for page in pages] == [
        newest[:2],
        newest[2:4],
        newest[4:],
        [],
    ]


def test_an_account_without_orders_has_neither_history_nor_positions(
    conn: psycopg.Connection,
) -> None:
    assert order_history(conn, DEMO_ACCOUNT) == positions(conn, DEMO_ACCOUNT) == ()


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_page_of_orders_costs_what_it_is_however_many_there_were(
    conn: psycopg.Connection, run: RunId
) -> None:
    fill_history(conn, run, 3000)
    arguments = {"account_nbr": DEMO_ACCOUNT, "before": 2**63 - 1, "limit": 20}
    with conn.transaction():
        before = rows_read(conn, "orders")
        assert len(conn.execute(ORDER_HISTORY, arguments).fetchall()) == 20
        assert rows_read(conn, "orders") - before <= 20
