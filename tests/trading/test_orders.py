from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from labkit.clock import wait_until
from labkit.errors import (
    BadInput,
    InsufficientFunds,
    InsufficientShares,
    OrderConflict,
    OutcomeUnknown,
    PriceFloor,
    TradingError,
    UnknownAccount,
    UnknownSymbol,
)
from labkit.trading.attempts import REFUSALS, Reply, reply_of, sqlstate_of
from labkit.trading.catalogue import DEMO_ACCOUNT, GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.connection import hanging_up_after
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Receipt, Side, place_order, place_order_async
from labkit.trading.quotes import Quote, quote

from .conftest import ENGINES
from .plain_server import Server

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"])
"""What CockroachDB has no part in: waiting for standbys, killing backends."""


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def buy(run: RunId) -> Order:
    return Order(run.order_id(0, 0), DEMO_ACCOUNT, "AAPL", Side.BUY, 3)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def balance(conn: psycopg.Connection, account_nbr: str = DEMO_ACCOUNT) -> Decimal:
    row = conn.execute(
        "SELECT balance FROM accounts WHERE account_nbr = %s", (account_nbr,)
    ).fetchone()
    assert row
    return row[0]


def price(conn: psycopg.Connection, symbol: str) -> Decimal:
    return quote(conn, symbol).price


def counts(conn: psycopg.Connection) -> tuple[int, int]:
    """How many orders there are, and how many order_received activities."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_activity"
        " WHERE order_status = 'order_received')"
    ).fetchone()
    assert row
    return row


def place(conn: psycopg.Connection, order: Order) -> Receipt:
    """Place an order as a client does: again, if the attempt was rolled back."""
    while True:
        try:
            return place_order(conn, order)
        except psycopg.Error as error:
            if reply_of(error) is not Reply.ROLLED_BACK:
                raise


def place_alone(dsn: str, order: Order) -> Receipt:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return place(conn, order)


def backend_waiting(
    conn: psycopg.Connection, event: str, *, query: str = "placed_order_nbr"
) -> int:
    """The pid of the one backend that waits for `event` while it runs such a query."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = %s"
        " AND query LIKE %s AND pid <> pg_backend_pid()"
    )
    arguments = (event, f"%{query}%")
    wait_until(
        lambda: conn.execute(waiting, arguments).fetchall(),
        what=f"a backend waiting for {event}",
        timeout_s=10,
        poll_s=0.02,
    )
    [(pid,)] = conn.execute(waiting, arguments).fetchall()
    return int(pid)


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


def test_async_variant_places_the_same_order(dsn: str, buy: Order) -> None:
    async def twice() -> list[Receipt]:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            return [await place_order_async(conn, buy), await place_order_async(conn, buy)]

    first, second = asyncio.run(twice())
    assert not first.retried
    assert second == replace(first, retried=True)


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


def held(conn: psycopg.Connection, symbol: str = "AAPL") -> int:
    row = conn.execute(
        "SELECT quantity FROM positions WHERE account_nbr = %s AND symbol = %s",
        (DEMO_ACCOUNT, symbol),
    ).fetchone()
    return row[0] if row else 0


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


# ---- the link dies, the standbys do not answer


@on_postgresql
def test_an_order_killed_before_its_commit_is_unknown_and_the_retry_places_it(
    dsn: str, conn: psycopg.Connection, buy: Order, pool: ThreadPoolExecutor
) -> None:
    with psycopg.connect(dsn) as blocker:
        blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
        attempt: Future[Receipt] = pool.submit(place_alone, dsn, buy)
        conn.execute("SELECT pg_terminate_backend(%s)", (backend_waiting(conn, "transactionid"),))
        error = attempt.exception(timeout=10)
    assert isinstance(error, psycopg.OperationalError)
    assert reply_of(error) is Reply.UNKNOWN
    assert not place_order(conn, buy).retried
    assert counts(conn) == (1, 1)


@on_postgresql
def test_a_cancelled_wait_for_the_standbys_is_not_an_acknowledgement(
    dsn: str,
    conn: psycopg.Connection,
    buy: Order,
    pool: ThreadPoolExecutor,
    no_standby_answers: Server,
) -> None:
    """And the retry is not one either, until a standby has the order."""
    attempt = pool.submit(place_alone, dsn, buy)
    conn.execute("SELECT pg_cancel_backend(%s)", (backend_waiting(conn, "SyncRep"),))
    error = attempt.exception(timeout=10)
    assert isinstance(error, OutcomeUnknown)
    assert "no standby confirmed: canceling wait" in str(error)
    assert reply_of(error) is Reply.UNKNOWN
    assert counts(conn) == (1, 1), "visible here, and on no standby"

    retry = pool.submit(place_alone, dsn, buy)
    backend_waiting(conn, "SyncRep")
    assert not retry.done()
    no_standby_answers.wait_for_standby("")
    assert retry.result(timeout=10).retried


@on_postgresql
def test_the_async_variant_sees_a_cancelled_wait_too(
    dsn: str,
    conn: psycopg.Connection,
    buy: Order,
    pool: ThreadPoolExecutor,
    no_standby_answers: Server,
) -> None:
    async def place() -> Receipt:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            return await place_order_async(conn, buy)

    attempt = pool.submit(lambda: asyncio.run(place()))
    conn.execute("SELECT pg_cancel_backend(%s)", (backend_waiting(conn, "SyncRep"),))
    assert isinstance(attempt.exception(timeout=10), OutcomeUnknown)


@on_postgresql
def test_an_order_killed_after_its_commit_is_unknown_and_the_retry_finds_it(
    dsn: str,
    conn: psycopg.Connection,
    buy: Order,
    pool: ThreadPoolExecutor,
    no_standby_answers: Server,
) -> None:
    attempt = pool.submit(place_alone, dsn, buy)
    conn.execute("SELECT pg_terminate_backend(%s)", (backend_waiting(conn, "SyncRep"),))
    error = attempt.exception(timeout=10)
    assert isinstance(error, psycopg.OperationalError)
    assert reply_of(error) is Reply.UNKNOWN
    no_standby_answers.wait_for_standby("")
    assert place_order(conn, buy).retried
    assert counts(conn) == (1, 1)


def test_hanging_up_ends_the_wait_for_an_answer(
    dsn: str, conn: psycopg.Connection, buy: Order
) -> None:
    with psycopg.connect(dsn) as blocker, psycopg.connect(dsn, autocommit=True) as waiting:
        blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
        with pytest.raises(psycopg.OperationalError) as caught, hanging_up_after(waiting, 0.2):
            place_order(waiting, buy)
        assert reply_of(caught.value) is Reply.UNKNOWN
        assert waiting.closed


# ---- what errors mean


@on_postgresql
@pytest.mark.parametrize(
    ("statement", "reply"),
    [
        ("SET TRANSACTION READ ONLY; UPDATE users SET name = name", Reply.ROLLED_BACK),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", Reply.ROLLED_BACK),
        ("DO $$ BEGIN RAISE SQLSTATE '57014'; END $$", Reply.UNKNOWN),
        ("DO $$ BEGIN RAISE SQLSTATE '40003'; END $$", Reply.UNKNOWN),
        ("DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", Reply.UNKNOWN),
        ("DO $$ BEGIN RAISE SQLSTATE 'XX000'; END $$", Reply.UNKNOWN),
        ("DO $$ BEGIN RAISE SQLSTATE '58C00'; END $$", Reply.UNKNOWN),
        ("DO $$ BEGIN RAISE SQLSTATE '23505'; END $$", Reply.ROLLED_BACK),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Reply.UNKNOWN),
        ("SELECT no_such_column", Reply.REFUSED),
    ],
)
def test_an_error_says_whether_the_order_can_be_there(
    conn: psycopg.Connection, statement: str, reply: Reply
) -> None:
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(statement)
    assert reply_of(caught.value) is reply
