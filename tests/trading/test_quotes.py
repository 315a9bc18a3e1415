from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import psycopg
import pytest

from labkit.errors import UnknownSymbol
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.quotes import (
    PRICE_HISTORY,
    PricePoint,
    fresh_quote,
    instruments,
    price_history,
    quote,
    staleness,
)

from .executing import fill_history, rows_read
from .placing import backend_waiting
from .plain_server import Server

pytestmark = pytest.mark.both_engines


def buy_some(conn: psycopg.Connection, run: RunId, count: int, symbol: str = "DIS") -> None:
    for n in range(count):
        place_order(conn, Order(run.order_id(n % 3, n), DEMO_ACCOUNT, symbol, Side.BUY, 1))


# ---- the history of a price


@pytest.mark.usefixtures("demo_may_short")
def test_the_history_of_a_price_is_the_orders_that_moved_it(
    conn: psycopg.Connection, run: RunId
) -> None:
    sides = [Side.BUY, Side.SELL, Side.SELL, Side.BUY]
    for n, side in enumerate(sides):
        place_order(conn, Order(run.order_id(n % 3, n), DEMO_ACCOUNT, "DIS", side, 1))
        place_order(conn, Order(run.order_id(n % 3, 10 + n), DEMO_ACCOUNT, "JPM", side, 1))
    points = price_history(conn, "DIS")
    assert [point.move_nbr for point in points] == [1, 2, 3, 4]
    assert [str(point.price) for point in points] == ["101.39", "101.29", "101.19", "101.29"]
    times = [point.at for point in points]
    assert times == sorted(times)
    assert points[-1].price == quote(conn, "DIS").price


def test_the_history_of_a_price_comes_in_pages(conn: psycopg.Connection, run: RunId) -> None:
    buy_some(conn, run, 7)
    pages: list[tuple[PricePoint, ...]] = [price_history(conn, "DIS", limit=3)]
    while pages[-1]:
        pages.append(price_history(conn, "DIS", after=pages[-1][-1].move_nbr, limit=3))
    assert [[point.move_nbr for point in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7], []]


def test_a_symbol_without_orders_has_no_history(conn: psycopg.Connection) -> None:
    assert price_history(conn, "DIS") == price_history(conn, "ACME") == ()


@pytest.mark.parametrize("engine", ["postgresql"])
def test_the_latest_moves_cost_what_they_are_however_many_there_were(
    conn: psycopg.Connection, run: RunId
) -> None:
    fill_history(conn, run, 3000)
    with conn.transaction():
        before = rows_read(conn, "orders")
        found = conn.execute(PRICE_HISTORY, {"symbol": "DIS", "after": 3900, "limit": 50})
        assert len(found.fetchall()) == 50
        assert rows_read(conn, "orders") - before <= 50


# ---- fresh and not so fresh


def test_a_fresh_quote_shows_every_order_acknowledged_before(
    conn: psycopg.Connection, run: RunId
) -> None:
    buy_some(conn, run, 2)
    assert fresh_quote(conn, "DIS") == quote(conn, "DIS")
    assert fresh_quote(conn, "DIS").moves == 2
    with pytest.raises(UnknownSymbol, match="ACME"):
        fresh_quote(conn, "ACME")


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_fresh_quote_of_an_order_that_no_standby_has_waits_until_one_has(
    dsn: str, conn: psycopg.Connection, run: RunId, no_standby_answers: Server
) -> None:
    """Whoever placed it has gone, so the order shows, and a failover would undo it."""

    def act(what: Callable[[psycopg.Connection], object]) -> object:
        with psycopg.connect(dsn, autocommit=True) as conn:
            return what(conn)

    with ThreadPoolExecutor(1) as pool:
        ordering = pool.submit(act, lambda conn: buy_some(conn, run, 1))
        pid = backend_waiting(conn, "SyncRep", query="place_order")
        conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
        assert isinstance(ordering.exception(timeout=10), psycopg.OperationalError)
        assert quote(conn, "DIS").moves == 1

        reading = pool.submit(act, lambda conn: fresh_quote(conn, "DIS"))
        backend_waiting(conn, "SyncRep", query="FROM prices")
        assert not reading.done()
        no_standby_answers.wait_for_standby("")
        assert reading.result(timeout=10) == quote(conn, "DIS")


def test_a_replica_that_is_up_to_date_is_not_behind(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    buy_some(conn, run, 2)
    with psycopg.connect(dsn) as replica:
        found = staleness(conn, replica, "DIS")
    assert found.replica == found.fresh == quote(conn, "DIS")
    assert (found.moves_behind, found.behind_s) == (0, 0.0)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_replica_is_as_old_as_the_first_order_it_does_not_show(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    """A transaction with an old snapshot stands for the replica."""
    buy_some(conn, run, 1)
    with psycopg.connect(dsn) as replica:
        replica.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        quote(replica, "DIS")
        buy_some(conn, RunId.new(), 3)
        conn.execute(
            "UPDATE orders SET order_entry_ts = now() - move_nbr * INTERVAL '1 minute'"
            " WHERE symbol = 'DIS'"
        )
        found = staleness(conn, replica, "DIS")
    assert (found.replica.moves, found.fresh.moves, found.moves_behind) == (1, 4, 3)
    assert 120 <= found.behind_s < 180, "the second order's age"


def test_staleness_of_an_unknown_symbol_is_an_error(dsn: str, conn: psycopg.Connection) -> None:
    with psycopg.connect(dsn) as replica, pytest.raises(UnknownSymbol, match="no instrument ACME"):
        staleness(conn, replica, "ACME")


# ---- the list


def test_the_list_says_what_orders_have_made_of_each_price(
    conn: psycopg.Connection, run: RunId
) -> None:
    buy_some(conn, run, 3)
    changes = {one.symbol: one.change for one in instruments(conn)}
    assert changes.pop("DIS") == Decimal("0.30")
    assert set(changes.values()) == {0}
