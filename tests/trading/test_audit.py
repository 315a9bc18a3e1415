from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import pandas as pd
import psycopg
import pytest
from ports import free_port

from labkit.errors import ClusterError, NotReady
from labkit.trading.accounts import Deposit, make_deposit
from labkit.trading.audit import OPENING, ORDER_COLUMNS, FinalRead, final_read, opening_read
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order

from .plain_server import Server

pytestmark = pytest.mark.both_engines


@pytest.fixture
def placed(conn: psycopg.Connection, run: RunId, demo_may_short: None) -> list[Order]:
    """Two buys and a sell of the run, the first asked twice, and a buy of nobody's run."""
    orders = [
        Order(run.order_id(0, 0), DEMO_ACCOUNT, "DIS", Side.BUY, 2),
        Order(run.order_id(0, 1), DEMO_ACCOUNT, "DIS", Side.BUY, 1),
        Order(run.order_id(1, 0), DEMO_ACCOUNT, "DIS", Side.SELL, 5),
    ]
    for order in [orders[0], *orders, Order(uuid4(), DEMO_ACCOUNT, "DIS", Side.BUY, 1)]:
        place_order(conn, order)
    return orders


UNIQUE_NO_MORE = """
DO $$ BEGIN EXECUTE (
    SELECT 'ALTER TABLE {0} DROP CONSTRAINT ' || conname FROM pg_constraint
    WHERE conrelid = '{0}'::regclass AND contype = 'u'
        AND pg_get_constraintdef(oid) LIKE '%{1})'
); END $$
"""


def row(frame: pd.DataFrame, key: str, value: str) -> dict[str, object]:
    [found] = frame[frame[key] == value].to_dict("records")
    return found


def test_final_read_has_this_runs_orders_and_everybodys_sums(
    dsn: str, run: RunId, placed: list[Order]
) -> None:
    read = final_read(dsn, run)
    assert read.orders["order_id"].tolist() == [str(order.order_id) for order in placed]
    assert row(read.orders, "order_id", str(placed[2].order_id)) == {
        "order_id": str(placed[2].order_id),
        "account_nbr": DEMO_ACCOUNT,
        "symbol": "DIS",
        "side": "sell",
        "quantity": 5,
        "unit_price_cents": 10149,
        "move_nbr": 3,
        "received": 1,
        "statuses": "order_received",
        "executions": 0,
        "trades": 0,
        "trades_off": 0,
        "status": "received",
    }
    assert row(read.instruments, "symbol", "DIS") == {
        "symbol": "DIS",
        "initial_price_cents": 10129,
        "current_price_cents": 10149,
        "moves": 4,
        "buys": 3,
        "sells": 1,
        "strange": 1,
    }
    assert row(read.accounts, "account_nbr", DEMO_ACCOUNT) == {
        "account_nbr": DEMO_ACCOUNT,
        "opening_balance_cents": 10_000_000,
        "deposits_cents": 0,
        "balance_cents": 10_000_000 - (2 * 10129 + 10139 + 10139) + 5 * 10149,
        "bought_cents": 2 * 10129 + 10139 + 10139,
        "sold_cents": 5 * 10149,
        "positions_off": 0,
        "oversold": 0,
    }
    assert (len(read.instruments), len(read.accounts)) == (309, 301)


def test_final_read_shows_an_order_received_twice_or_never(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order]
) -> None:
    conn.execute(
        "INSERT INTO order_activity (order_id, order_status) VALUES (%s, 'order_received')",
        (placed[0].order_id,),
    )
    conn.execute("DELETE FROM order_activity WHERE order_id = %s", (placed[1].order_id,))
    assert final_read(dsn, run).orders["received"].tolist() == [2, 0, 1]


def test_final_read_shows_what_was_deposited(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    for amount in ("12.34", "0.66"):
        make_deposit(conn, Deposit.new(DEMO_ACCOUNT, Decimal(amount)))
    account = row(final_read(dsn, run).accounts, "account_nbr", DEMO_ACCOUNT)
    assert account["deposits_cents"] == 1300
    assert account["balance_cents"] == 10_000_000 + 1300


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE positions SET quantity = quantity + 1 WHERE account_nbr = '0005821112'",
        "DELETE FROM positions WHERE account_nbr = '0005821112'",
        "UPDATE positions SET net_cost = net_cost + 0.01 WHERE account_nbr = '0005821112'",
        "UPDATE positions SET symbol = 'AAPL' WHERE account_nbr = '0005821112'",
    ],
)
def test_final_read_shows_positions_that_are_not_what_was_traded(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order], change: LiteralString
) -> None:
    conn.execute(change)
    accounts = final_read(dsn, run).accounts
    assert row(accounts, "account_nbr", DEMO_ACCOUNT)["positions_off"] == change.count("symbol") + 1
    assert accounts["positions_off"].sum() == change.count("symbol") + 1


def test_final_read_shows_executions_trades_and_the_way_of_each_order(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order]
) -> None:
    """The first order is processed; the second has two executions, one of them with two trades.

    The tables have no room for that, so it must be made.
    """
    for table, column in (("order_processing", "order_id"), ("trades", "execution_id")):
        conn.execute(UNIQUE_NO_MORE.format(table, column))  # type: ignore[arg-type]
    for order, executions in ((placed[0], [1]), (placed[1], [0, 2])):
        for status in ("processing", "order_processed"):
            conn.execute(
                "INSERT INTO order_activity (order_id, order_status) VALUES (%s, %s)",
                (order.order_id, status),
            )
        for trades in executions:
            execution = conn.execute(
                "INSERT INTO order_processing (order_id, order_status)"
                " VALUES (%s, 'order_processed') RETURNING execution_id",
                (order.order_id,),
            ).fetchone()
            assert execution
            for _ in range(trades):
                conn.execute(
                    "INSERT INTO trades (execution_id, symbol, order_type, trade_price, quantity)"
                    " VALUES (%s, 'DIS', 'buy', 1, 1)",
                    execution,
                )
    orders = final_read(dsn, run).orders
    assert orders["received"].tolist() == [1, 1, 1]
    assert orders["executions"].tolist() == [1, 2, 0]
    assert orders["trades"].tolist() == [1, 2, 0]
    assert orders["trades_off"].tolist() == [1, 2, 0]  # none of the order's price and quantity
    processed = "order_received,processing,order_processed"
    assert orders["statuses"].tolist() == [processed, processed, "order_received"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trades SET symbol = 'AAPL'",
        "UPDATE trades SET order_type = 'sell'",
        "UPDATE trades SET trade_price = trade_price + 0.01",
        "UPDATE trades SET quantity = 9",
    ],
)
def test_final_read_shows_a_trade_that_is_not_of_its_order(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order], change: LiteralString
) -> None:
    execution = conn.execute(
        "INSERT INTO order_processing (order_id, order_status) VALUES (%s, 'order_processed')"
        " RETURNING execution_id",
        (placed[0].order_id,),
    ).fetchone()
    conn.execute(
        "INSERT INTO trades (execution_id, symbol, order_type, trade_price, quantity)"
        " SELECT %s, symbol, order_type, unit_price, total_qty FROM orders WHERE order_id = %s",
        (*execution, placed[0].order_id),
    )
    assert final_read(dsn, run).orders["trades_off"].tolist() == [0, 0, 0]
    conn.execute(change)
    assert final_read(dsn, run).orders["trades_off"].tolist() == [1, 0, 0]


def test_final_read_shows_what_an_account_may_not_hold(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order]
) -> None:
    """It sold five and had bought four; the test's account may sell short until it may not."""
    assert final_read(dsn, run).accounts["oversold"].sum() == 0
    conn.execute("UPDATE accounts SET may_short = false WHERE account_nbr = %s", (DEMO_ACCOUNT,))
    assert row(final_read(dsn, run).accounts, "account_nbr", DEMO_ACCOUNT)["oversold"] == 1


def test_a_read_before_the_load_has_the_books_and_no_order(
    dsn: str, run: RunId, placed: list[Order], tmp_path: Path
) -> None:
    before, after = opening_read(dsn), final_read(dsn, run)
    assert before.orders.empty
    pd.testing.assert_frame_equal(before.accounts, after.accounts)
    pd.testing.assert_frame_equal(before.instruments, after.instruments)
    before.save(tmp_path, OPENING)
    pd.testing.assert_frame_equal(FinalRead.load(tmp_path, OPENING).accounts, before.accounts)


def test_final_read_shows_a_price_that_is_lost(
    dsn: str, conn: psycopg.Connection, run: RunId, placed: list[Order]
) -> None:
    conn.execute("DELETE FROM prices WHERE symbol IN ('DIS', 'LK007')")
    read = final_read(dsn, run)
    assert row(read.instruments, "symbol", "DIS")["current_price_cents"] == 0
    assert row(read.instruments, "symbol", "LK007")["current_price_cents"] == 0
    assert row(read.instruments, "symbol", "DIS")["moves"] == 0
    assert len(read.instruments) == 309


def test_final_read_of_a_run_without_orders_has_the_same_columns(dsn: str, run: RunId) -> None:
    read = final_read(dsn, run)
    assert read.orders.empty
    assert {name: str(kind) for name, kind in read.orders.dtypes.items()} == ORDER_COLUMNS
    assert read.instruments["buys"].sum() == 0


def test_a_saved_final_read_loads_as_it_was(
    dsn: str, run: RunId, placed: list[Order], tmp_path: Path
) -> None:
    read = final_read(dsn, run)
    read.save(tmp_path)
    loaded = FinalRead.load(tmp_path)
    for name in ("orders", "instruments", "accounts"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(read, name))


@pytest.mark.parametrize("engine", ["postgresql"])
def test_final_read_waits_for_a_server_that_comes_back(
    server: Server, dsn: str, run: RunId
) -> None:
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(final_read, dsn, run, timeout_s=30)
        server.start()
        assert len(reading.result(timeout=30).accounts) == 301


@pytest.mark.parametrize("engine", ["postgresql"])
def test_final_read_needs_its_node_to_still_commit(
    dsn: str, run: RunId, no_standby_answers: Server
) -> None:
    """A node that can read but gets no commit acknowledged may have lost its place."""
    with pytest.raises(NotReady, match=rf"final read of run {run}: not done after 0 s"):
        final_read(dsn, run, timeout_s=0, attempt_timeout_s=0.5)


def test_final_read_gives_up_on_a_server_that_stays_away(run: RunId) -> None:
    dsn = f"postgresql://postgres@127.0.0.1:{free_port()}/trade"
    with pytest.raises(NotReady, match="Connection refused"):
        final_read(dsn, run, timeout_s=0)


def test_final_read_of_a_database_without_the_application_is_an_error_at_once(
    server: Server, run: RunId
) -> None:
    with pytest.raises(ClusterError, match=r'relation "\w+" does not exist'):
        final_read(server.dsn("postgres"), run)
