"""The classes of workloads/ under the program they are written for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from stock import dbworkload

from labkit.assets import asset
from labkit.clock import wait_until
from labkit.errors import OutcomeUnknown, PriceFloor
from labkit.trading.ids import parts

from .plain_server import Server


@pytest.fixture
def workload_of_accounts(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(asset("workloads"))
    import trade_accounts

    yield trade_accounts
    del sys.modules["trade_accounts"]


@pytest.fixture
def workload(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(asset("workloads"))
    import trade_orders

    yield trade_orders
    del sys.modules["trade_orders"]


def test_the_stock_program_places_orders(
    dsn: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    said = dbworkload("trade_orders", dsn, tmp_path, "-c", "4", "-i", "80")
    assert "error" not in said.lower()
    assert "process_orders" in said
    rows = conn.execute("SELECT order_id, account_nbr, retries FROM orders").fetchall()
    assert 20 <= len(rows) <= 80
    assert all(parts(order_id) and retries == 0 for order_id, _, retries in rows)
    assert len({account for _, account, _ in rows}) > 4


def test_arguments_name_the_region_and_the_seed(
    dsn: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    args = json.dumps({"region_index": 2, "regions": 3, "seed": 7})
    placed = []
    for _ in range(2):
        dbworkload("trade_orders", dsn, tmp_path, "-c", "1", "-i", "20", "--args", args)
        rows = conn.execute(
            "SELECT order_id, account_nbr, symbol, order_type, total_qty FROM orders"
            " ORDER BY account_nbr, order_nbr"
        ).fetchall()
        assert {found.worker for order_id, *_ in rows if (found := parts(order_id))} == {2}
        placed.append([what for _, *what in rows])
        conn.execute("TRUNCATE orders CASCADE")
    assert placed[0] == placed[1]


def test_threads_of_all_regions_trade_different_rows(workload: ModuleType) -> None:
    rows = []
    for region in range(3):
        for thread in range(4):
            one = workload.TradeOrders({"region_index": region, "regions": 3})
            one.setup(None, thread, 4)
            rows.append({*one._accounts, *one._symbols})
    assert sum(map(len, rows)) == len(set().union(*rows)) == 600


def test_an_order_without_an_answer_is_sent_again_under_its_id(
    dsn: str, conn: psycopg.Connection, workload: ModuleType, no_standby_answers: Server
) -> None:
    """Its session is ended when the row is written and the answer is not out yet."""
    one = workload.TradeOrders({"process": False})
    with psycopg.connect(dsn, autocommit=True) as doomed, ThreadPoolExecutor() as threads:
        one.setup(doomed, 0, 1)
        [place_order] = one.loop()
        placing = threads.submit(place_order, doomed)
        wait_until(lambda: ended(conn, doomed), what="the wait for a standby", timeout_s=10)
        with pytest.raises((psycopg.OperationalError, OutcomeUnknown)):
            placing.result(20)
    no_standby_answers.wait_for_standby("")
    for _ in range(2):  # after it has reconnected, dbworkload calls `loop` again
        [place_order] = one.loop()
        place_order(conn)
    retries = conn.execute("SELECT retries FROM orders ORDER BY retries DESC").fetchall()
    assert retries == [(1,), (0,)]


def ended(conn: psycopg.Connection, session: psycopg.Connection) -> bool:
    return bool(
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid = %s AND wait_event = 'SyncRep'",
            (session.info.backend_pid,),
        ).fetchall()
    )


def test_a_refused_order_is_given_up(conn: psycopg.Connection, workload: ModuleType) -> None:
    one = workload.TradeOrders({"seed": 1, "process": False})
    one.setup(conn, 0, 1)
    conn.execute("UPDATE prices SET current_price = 0.10")
    refused = 0
    for _ in range(20):
        [place_order] = one.loop()
        try:
            place_order(conn)
        except PriceFloor:
            refused += 1
    assert refused > 0
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (20 - refused,)


def test_a_loop_also_processes_what_is_due(conn: psycopg.Connection, workload: ModuleType) -> None:
    one = workload.TradeOrders({})
    one.setup(conn, 0, 1)
    for _ in range(3):
        for function in one.loop():
            function(conn)
    assert conn.execute("SELECT DISTINCT order_status FROM orders").fetchall() == [("processed",)]
    assert conn.execute("SELECT count(*) FROM trades").fetchone() == (3,)


def test_the_stock_program_opens_and_funds_accounts(
    dsn: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    before = accounts(conn)
    said = dbworkload("trade_accounts", dsn, tmp_path, "-c", "4", "-i", "20")
    assert "error" not in said.lower()
    assert all(step in said for step in ("create_account", "deposit", "look_up"))
    opened = accounts(conn) - before
    assert 5 <= opened <= 20
    row = conn.execute(
        "SELECT count(*) FROM accounts WHERE opening_balance = 0 AND balance BETWEEN 1 AND 10000"
    ).fetchone()
    assert row == (opened,)


def accounts(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM accounts").fetchone()
    assert row
    return int(row[0])


def test_a_customer_without_an_answer_is_not_opened_or_paid_twice(
    conn: psycopg.Connection, workload_of_accounts: ModuleType
) -> None:
    """Each step is done, its answer gets lost, and it is done again."""
    one = workload_of_accounts.TradeAccounts({"seed": 1})
    one.setup(conn, 0, 1)
    before = accounts(conn)
    create_account, *_ = one.loop()
    account, deposit = one._account, one._deposit
    create_account(conn)
    one._account = account
    create_account, make_deposit, _ = one.loop()
    create_account(conn)
    make_deposit(conn)
    one._deposit = deposit
    make_deposit, look_up = one.loop()
    make_deposit(conn)
    look_up(conn)
    assert accounts(conn) == before + 1
    assert conn.execute(
        "SELECT balance FROM accounts WHERE account_nbr = %s", (account.account_nbr,)
    ).fetchone() == (deposit.amount,)
