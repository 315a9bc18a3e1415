from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from labkit.errors import OutcomeUnknown
from labkit.trading.attempts import Reply, attempt_async, reply_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.connection import hanging_up_after
from labkit.trading.engines import POSTGRESQL
from labkit.trading.orders import Order, Receipt, place_order

from .conftest import on_postgresql
from .placing import backend_waiting, counts, place_alone
from .plain_server import Server

pytestmark = pytest.mark.both_engines


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
def test_an_attempt_in_an_event_loop_sees_a_cancelled_wait_too(
    dsn: str, conn: psycopg.Connection, pool: ThreadPoolExecutor, no_standby_answers: Server
) -> None:
    deposit = {"deposit_id": uuid4(), "account_nbr": DEMO_ACCOUNT, "amount": Decimal(1)}

    async def make_deposit() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await attempt_async(conn, POSTGRESQL.deposit, deposit)

    attempt = pool.submit(lambda: asyncio.run(make_deposit()))
    pid = backend_waiting(conn, "SyncRep", query="deposit")
    conn.execute("SELECT pg_cancel_backend(%s)", (pid,))
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
        ("DO $$ BEGIN RAISE SQLSTATE 'XXC02'; END $$", Reply.ROLLED_BACK),  # throttled
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
