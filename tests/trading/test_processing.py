from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.engines import dialect_of
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side
from labkit.trading.processing import (
    Claim,
    Queue,
    claim_orders,
    claim_orders_async,
    complete_orders,
    complete_orders_async,
)

from .conftest import on_postgresql
from .executing import (
    HOME,
    OVER_AT_ONCE,
    QUEUE,
    fill_history,
    not_once,
    place_some,
    process_all,
    rows_read,
    statuses,
)
from .placing import place

pytestmark = pytest.mark.both_engines


# ---- one processor


def test_an_order_is_received_then_processing_then_processed(
    conn: psycopg.Connection, run: RunId
) -> None:
    placed = place_some(conn, run, 3)
    assert statuses(conn) == {"received": 3}
    claim = claim_orders(conn, QUEUE)
    assert sorted(claim.order_ids) == placed
    assert statuses(conn) == {"processing": 3}
    assert complete_orders(conn, claim) == 3
    assert not_once(conn) == []
    assert claim_orders(conn, QUEUE).order_ids == ()


def test_the_async_variants_process_the_same_orders(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    placed = place_some(conn, run, 2)

    async def process() -> tuple[Claim, int]:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            claim = await claim_orders_async(conn, QUEUE)
            return claim, await complete_orders_async(conn, claim)

    claim, executed = asyncio.run(process())
    assert (sorted(claim.order_ids), executed) == (placed, 2)
    assert not_once(conn) == []


def test_each_step_of_an_order_has_its_time(conn: psycopg.Connection, run: RunId) -> None:
    place_some(conn, run, 1)
    process_all(conn)
    times = conn.execute("SELECT activity_ts FROM order_activity ORDER BY activity_id").fetchall()
    assert len(times) == 3
    assert times == sorted(times)
    assert len(set(times)) == 3


def test_the_oldest_orders_are_taken_first_and_no_more_than_asked_for(
    conn: psycopg.Connection, run: RunId
) -> None:
    placed = place_some(conn, run, 5)
    two = Queue(HOME, batch=2)
    assert [sorted(claim_orders(conn, two).order_ids) for _ in range(4)] == [
        placed[:2],
        placed[2:4],
        placed[4:],
        [],
    ]


def test_completing_again_executes_nothing(conn: psycopg.Connection, run: RunId) -> None:
    place_some(conn, run, 2)
    claim = claim_orders(conn, QUEUE)
    assert [complete_orders(conn, claim) for _ in range(3)] == [2, 0, 0]
    assert not_once(conn) == []


# ---- leases


def test_a_claim_is_its_processors_until_the_lease_is_over(
    conn: psycopg.Connection, run: RunId
) -> None:
    placed = place_some(conn, run, 2)
    first = claim_orders(conn, QUEUE)
    assert claim_orders(conn, QUEUE).order_ids == ()
    second = claim_orders(conn, OVER_AT_ONCE)
    assert sorted(second.order_ids) == placed
    assert complete_orders(conn, first) == 0, "the lease is lost, so is the claim"
    assert complete_orders(conn, second) == 2
    assert not_once(conn) == []


def test_what_was_completed_in_time_is_not_taken_again(
    conn: psycopg.Connection, run: RunId
) -> None:
    place_some(conn, run, 2)
    complete_orders(conn, claim_orders(conn, QUEUE))
    assert claim_orders(conn, OVER_AT_ONCE).order_ids == ()


# ---- several processors


def test_concurrent_processors_execute_each_order_once(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    """With leases that are over at once, so that they also take from each other."""
    place_some(conn, run, 120)

    def process(number: int) -> int:
        queue = Queue(HOME, batch=7, lease_s=0 if number % 2 else 10)
        with psycopg.connect(dsn, autocommit=True) as conn:
            return process_all(conn, queue)

    with ThreadPoolExecutor(8) as pool:
        executed = sum(pool.map(process, range(8)))
    executed += process_all(conn, OVER_AT_ONCE)
    assert executed == 120
    assert not_once(conn) == []


def test_what_another_processor_is_taking_is_passed_over(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    placed = place_some(conn, run, 3)
    with psycopg.connect(dsn) as other:
        other.execute("SELECT FROM orders WHERE order_id = %s FOR UPDATE", (placed[0],))
        assert sorted(claim_orders(conn, QUEUE).order_ids) == placed[1:]
    assert list(claim_orders(conn, QUEUE).order_ids) == placed[:1]


@pytest.mark.parametrize("table", ["order_processing", "trades"])
def test_the_tables_have_room_for_one_execution_and_one_trade(
    conn: psycopg.Connection, run: RunId, table: str
) -> None:
    place_some(conn, run, 1)
    process_all(conn)
    rows = conn.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
        " AND column_name NOT IN ('execution_id', 'trade_id') AND is_generated = 'NEVER'",
        (table,),
    ).fetchall()
    columns = [name for (name,) in rows] + (["execution_id"] if table == "trades" else [])
    again = SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {0}").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute(again)


# ---- the cost of a batch


@on_postgresql
@pytest.mark.parametrize("processed", [300, 6000])
def test_a_batch_reads_its_own_orders_however_many_were_processed_before(
    conn: psycopg.Connection, run: RunId, processed: int
) -> None:
    fill_history(conn, run, processed)
    place_some(conn, run, 30)
    queue = Queue(HOME, batch=10)
    with conn.transaction():
        arguments = {
            "claim_id": UUID(int=1),
            "region": HOME,
            "batch": queue.batch,
            "lease_s": queue.lease_s,
        }
        before = rows_read(conn, "orders")
        rows = conn.execute(dialect_of(conn).claim_orders, arguments).fetchall()
        assert len(rows) == 10
        claiming = rows_read(conn, "orders") - before
        completing = {**arguments, "order_ids": [row[0] for row in rows]}
        assert conn.execute(dialect_of(conn).complete_orders, completing).fetchone() == (10,)
        both = rows_read(conn, "orders") - before
    # taken, looked up to be written, and by the foreign keys of what belongs to them
    assert claiming <= 4 * queue.batch
    assert both <= 10 * queue.batch


# ---- regions


@pytest.mark.parametrize("engine", ["cockroachdb"])
def test_on_cockroachdb_a_processor_takes_its_regions_orders_alone(
    conn: psycopg.Connection, run: RunId
) -> None:
    for worker in range(3):
        place(conn, Order(run.order_id(worker, 0), DEMO_ACCOUNT, "DIS", Side.BUY, 1))
    for worker, region in enumerate(("us-west-2", "us-east-1", "eu-west-1")):
        claim = claim_orders(conn, Queue(region))
        assert claim.order_ids == (run.order_id(worker, 0),)
        assert complete_orders(conn, claim) == 1
    assert not_once(conn) == []


@on_postgresql
def test_on_postgresql_there_is_one_queue_for_all_regions(
    conn: psycopg.Connection, run: RunId
) -> None:
    for worker in range(3):
        place(conn, Order(run.order_id(worker, 0), DEMO_ACCOUNT, "DIS", Side.BUY, 1))
    assert process_all(conn, Queue("eu-west-1")) == 3
    assert not_once(conn) == []
