from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from labkit.errors import (
    BadInput,
    InsufficientFunds,
    PriceFloor,
    TradingError,
    UnknownAccount,
    UnknownSymbol,
)
from labkit.trading.attempts import REFUSALS, Reply, reply_of, sqlstate_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.quotes import Quote, quote

from .placing import balance, counts, price

pytestmark = pytest.mark.both_engines


# ---- one order


def test_buy_debits_at_the_price_before_the_move(conn: psycopg.Connection, buy: Order) -> None:
    receipt = place_order(conn, buy)
    assert receipt.order_id == buy.order_id
    assert (receipt.price_cents, receipt.move_nbr) == (19151, 1)
    assert (receipt.unit_price, receipt.amount) == (Decimal("191.51"), Decimal("574.53"))
    assert not receipt.retried
    assert price(conn, "AAPL") == Decimal("191.61")
    assert balance(conn) == Decimal("100000.00") - Decimal("574.53")
    assert counts(conn) == (1, 1)


@pytest.mark.usefixtures("demo_may_short")
def test_sell_credits_at_the_price_before_the_move(conn: psycopg.Connection, buy: Order) -> None:
    receipt = place_order(conn, replace(buy, side=Side.SELL))
    assert receipt.unit_price == Decimal("191.51")
    assert price(conn, "AAPL") == Decimal("191.41")
    assert balance(conn) == Decimal("100000.00") + Decimal("574.53")


def test_an_order_leaves_what_is_known_of_its_instrument_unwritten(
    conn: psycopg.Connection, buy: Order
) -> None:
    """A new version of the row would have another place; a lock for its foreign key has not."""
    query = "SELECT ctid FROM {} WHERE symbol = 'AAPL'"
    instrument, quote = query.format("instruments"), query.format("prices")
    before = conn.execute(instrument).fetchall(), conn.execute(quote).fetchall()
    place_order(conn, buy)
    assert conn.execute(instrument).fetchall() == before[0]
    assert conn.execute(quote).fetchall() != before[1]


# ---- refused


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"account_nbr": "1"}, UnknownAccount, "no account 1"),
        ({"symbol": "ACME"}, UnknownSymbol, "no instrument ACME"),
        (
            {"quantity": 1000},
            InsufficientFunds,
            r"account 0005821112 has 100000\.00, this buy costs 191510\.00: add money",
        ),
    ],
)
def test_a_refused_order_leaves_nothing(
    conn: psycopg.Connection,
    buy: Order,
    change: dict[str, object],
    error: type[TradingError],
    text: str,
) -> None:
    with pytest.raises(error, match=text) as caught:
        place_order(conn, replace(buy, **change))
    assert reply_of(caught.value) is Reply.REFUSED
    assert REFUSALS[sqlstate_of(caught.value)] is error
    assert counts(conn) == (0, 0)
    assert balance(conn) == Decimal("100000.00")
    assert price(conn, "AAPL") == Decimal("191.51")


def test_an_account_can_spend_its_last_cent(conn: psycopg.Connection, buy: Order) -> None:
    conn.execute("UPDATE accounts SET balance = 574.53 WHERE account_nbr = %s", (DEMO_ACCOUNT,))
    place_order(conn, buy)
    assert balance(conn) == 0


@pytest.mark.usefixtures("demo_may_short")
def test_a_sell_stops_at_the_price_floor(conn: psycopg.Connection, run: RunId) -> None:
    conn.execute("UPDATE prices SET current_price = 0.25 WHERE symbol = 'RIVN'")
    sell = Order(run.order_id(0, 0), DEMO_ACCOUNT, "RIVN", Side.SELL, 1)
    assert place_order(conn, sell).unit_price == Decimal("0.25")
    with pytest.raises(PriceFloor, match=r"RIVN stands at 0\.15: a sell would take it below 0\.10"):
        place_order(conn, replace(sell, order_id=run.order_id(0, 1)))
    assert price(conn, "RIVN") == Decimal("0.15")


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001])
def test_an_impossible_quantity_is_refused_before_it_is_sent(buy: Order, quantity: int) -> None:
    with pytest.raises(BadInput, match=f"quantity {quantity} refused"):
        replace(buy, quantity=quantity)


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001])
def test_the_database_refuses_an_impossible_quantity_too(
    conn: psycopg.Connection, buy: Order, quantity: int
) -> None:
    object.__setattr__(buy, "quantity", quantity)
    with pytest.raises(BadInput, match=f"quantity {quantity} refused") as caught:
        place_order(conn, buy)
    assert sqlstate_of(caught.value) == "LK006"
    assert counts(conn) == (0, 0)


def test_placing_inside_a_transaction_is_refused(dsn: str, buy: Order) -> None:
    """Its success would not be the commit's."""
    with psycopg.connect(dsn) as conn, pytest.raises(BadInput, match="autocommit"):
        place_order(conn, buy)
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        conn.transaction(),
        pytest.raises(BadInput, match="outside a transaction"),
    ):
        place_order(conn, buy)


# ---- which order moved the price when


@pytest.mark.usefixtures("demo_may_short")
def test_orders_are_numbered_by_symbol_in_the_order_they_moved_its_price(
    conn: psycopg.Connection, run: RunId
) -> None:
    traded = [("AAPL", Side.BUY), ("DIS", Side.SELL), ("AAPL", Side.SELL), ("AAPL", Side.BUY)]
    receipts = [
        place_order(conn, Order(run.order_id(0, n), DEMO_ACCOUNT, symbol, side, 1))
        for n, (symbol, side) in enumerate(traded)
    ]
    assert [receipt.move_nbr for receipt in receipts] == [1, 1, 2, 3]
    assert quote(conn, "AAPL") == Quote("AAPL", Decimal("191.61"), moves=3)
    assert quote(conn, "DIS").moves == 1
    assert quote(conn, "MSFT").moves == 0


def test_a_refused_order_takes_no_number(conn: psycopg.Connection, buy: Order, run: RunId) -> None:
    with pytest.raises(InsufficientFunds):
        place_order(conn, replace(buy, order_id=run.order_id(0, 1), quantity=1000))
    assert quote(conn, "AAPL").moves == 0
    assert place_order(conn, buy).move_nbr == 1
