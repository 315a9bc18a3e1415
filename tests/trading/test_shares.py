from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from labkit.errors import (
    InsufficientShares,
)
from labkit.trading.attempts import Reply, reply_of, sqlstate_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order

from .placing import counts, held, place_alone

pytestmark = pytest.mark.both_engines


def test_an_account_sells_what_it_holds_and_no_more(
    conn: psycopg.Connection, buy: Order, run: RunId
) -> None:
    place_order(conn, buy)
    sell = Order(run.order_id(0, 1), DEMO_ACCOUNT, "AAPL", Side.SELL, 4)
    with pytest.raises(
        InsufficientShares, match=r"account 0005821112 holds 3 AAPL, this sells 4: sell what it"
    ) as caught:
        place_order(conn, sell)
    assert reply_of(caught.value) is Reply.REFUSED
    assert sqlstate_of(caught.value) == "LK007"
    assert (counts(conn), held(conn)) == ((1, 1), 3)
    place_order(conn, replace(sell, quantity=3))
    assert held(conn) == 0
    with pytest.raises(InsufficientShares, match="holds 0 AAPL, this sells 1"):
        place_order(conn, replace(sell, order_id=run.order_id(0, 2), quantity=1))


def test_shares_of_one_symbol_do_not_cover_a_sell_of_another(
    conn: psycopg.Connection, buy: Order, run: RunId
) -> None:
    place_order(conn, buy)
    with pytest.raises(InsufficientShares, match="holds 0 MSFT, this sells 1"):
        place_order(conn, Order(run.order_id(0, 1), DEMO_ACCOUNT, "MSFT", Side.SELL, 1))


def test_an_account_that_may_short_can_hold_less_than_nothing(
    conn: psycopg.Connection, buy: Order, run: RunId, demo_may_short: None
) -> None:
    place_order(conn, replace(buy, side=Side.SELL))
    assert held(conn) == -3
    place_order(conn, replace(buy, order_id=run.order_id(0, 1), quantity=5))
    assert held(conn) == 2


def test_a_retry_moves_no_shares_and_is_answered_when_they_are_gone(
    conn: psycopg.Connection, buy: Order, run: RunId
) -> None:
    place_order(conn, buy)
    sell = Order(run.order_id(0, 1), DEMO_ACCOUNT, "AAPL", Side.SELL, 3)
    first = place_order(conn, sell)
    assert place_order(conn, sell) == replace(first, retried=True)
    assert place_order(conn, buy).retried
    assert held(conn) == 0


def test_concurrent_sellers_cannot_sell_the_same_shares(
    dsn: str, conn: psycopg.Connection, buy: Order, run: RunId, pool: ThreadPoolExecutor
) -> None:
    place_order(conn, replace(buy, quantity=5))

    def sell_one(worker: int) -> bool:
        order = Order(run.order_id(worker, 1), DEMO_ACCOUNT, "AAPL", Side.SELL, 1)
        try:
            place_alone(dsn, order)
        except InsufficientShares:
            return False
        return True

    assert sum(pool.map(sell_one, range(12))) == 5
    assert held(conn) == 0
