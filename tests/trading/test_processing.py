from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from labkit.clock import wait_until
from labkit.trading.attempts import Reply, reply_of
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

from .conftest import ENGINES
from .plain_server import Server
from .test_orders import backend_waiting, place

HOME = "us-west-2"
QUEUE = Queue(HOME)
OVER_AT_ONCE = Queue(HOME, lease_s=0)

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"])


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def place_some(conn: psycopg.Connection, run: RunId, count: int) -> list[UUID]:
    """Orders of one region, alternately buys of 2 and sells of 1, the oldest first."""
    orders = [
        Order(run.order_id(0, n), DEMO_ACCOUNT, "AAPL", (Side.BUY, Side.SELL)[n % 2], 2 - n % 2)
        for n in range(count)
    ]
    for order in orders:
        place(conn, order)
    return [order.order_id for order in orders]


def insist(action, *arguments):
    """As a processor does: again, if the attempt was rolled back."""
    while True:
        try:
            return action(*arguments)
        except psycopg.Error as error:
            if reply_of(error) is not Reply.ROLLED_BACK:
                raise


def process_all(conn: psycopg.Connection, queue: Queue = QUEUE) -> int:
    """Batch after batch until nothing is due; how many were executed."""
    executed = 0
    while (claim := insist(claim_orders, conn, queue)).order_ids:
        executed += insist(complete_orders, conn, claim)
    return executed


def not_once(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    """Orders that are not processed exactly once, with what each has."""
    return conn.execute(
        """
        SELECT * FROM (
            SELECT o.order_id, o.order_status,
                (SELECT count(*) FROM order_processing e WHERE e.order_id = o.order_id) AS executed,
                (SELECT count(*) FROM order_processing e JOIN trades t USING (execution_id)
                 WHERE e.order_id = o.order_id
                    AND (t.symbol, t.order_type) = (o.symbol, o.order_type)
                    AND (t.trade_price, t.quantity) = (o.unit_price, o.total_qty)) AS traded,
                (SELECT string_agg(order_status, ',' ORDER BY activity_id)
                 FROM order_activity a WHERE a.order_id = o.order_id) AS statuses
            FROM orders o) AS found
        WHERE order_status <> 'processed' OR executed <> 1 OR traded <> 1
            OR statuses !~ '^order_received(,processing)+,order_processed$'
        """
    ).fetchall()


def statuses(conn: psycopg.Connection) -> Counter[str]:
    return Counter(row[0] for row in conn.execute("SELECT order_status FROM orders"))


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


def fill_history(conn: psycopg.Connection, run: RunId, processed: int) -> None:
    """Orders that were processed long ago, as if 1000 others had moved the price before."""
    history = [(run.order_id(0, 10_000 + n), DEMO_ACCOUNT, n + 1_000) for n in range(processed)]
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO orders (order_id, account_nbr, symbol, total_qty, order_type, unit_price,"
            " move_nbr, order_status) VALUES (%s, %s, 'DIS', 1, 'buy', 1, %s, 'processed')",
            history,
        )
    conn.execute("VACUUM ANALYZE orders")


def rows_read(conn: psycopg.Connection, table: str) -> int:
    """By this session so far, less what it has reported already."""
    row = conn.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = %s",
        (table,),
    ).fetchone()
    assert row
    return int(row[0])


# ---- a processor dies

STEPS = [
    ("claim", "orders"),
    ("claim", "order_activity"),
    ("complete", "orders"),
    ("complete", "order_processing"),
    ("complete", "trades"),
    ("complete", "order_activity"),
]
"""What a processor writes, in this order; it is stopped before each."""

STOP_HERE: LiteralString = """
CREATE FUNCTION stop_here() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7);
    RETURN NEW;
END $$;
"""

ONE_PROCESSOR = """
import sys, psycopg
from trading import cockroachdb_double
from trading.test_processing import HOME, Queue, process_all
import pytest
if "/crdb_" in sys.argv[1]:
    cockroachdb_double.speak(pytest.MonkeyPatch())
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    print("ready", flush=True)
    while True:
        process_all(conn, Queue(HOME, batch=3, lease_s=float(sys.argv[2])))
"""


@contextmanager
def a_processor(dsn: str, lease_s: float = 10) -> Iterator[subprocess.Popen[bytes]]:
    """A process that processes what is due, until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", ONE_PROCESSOR, dsn, str(lease_s)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def stopped_before(dsn: str, conn: psycopg.Connection, step: str, table: str) -> Iterator[None]:
    """Whoever writes to the table in that step waits, until the block ends."""
    status = "processing" if step == "claim" else "processed"
    writing, of = ("UPDATE", status) if table == "orders" else ("INSERT", f"order_{status}")
    of = "processing" if (step, table) == ("claim", "order_activity") else of
    when = "" if table == "trades" else f"WHEN (NEW.order_status = '{of}')"
    conn.execute(STOP_HERE)
    conn.execute(
        f"CREATE TRIGGER stop_here BEFORE {writing} ON {table} FOR EACH ROW {when}"  # type: ignore[arg-type]
        " EXECUTE FUNCTION stop_here()"
    )
    with psycopg.connect(dsn, autocommit=True) as blocker:
        blocker.execute("SELECT pg_advisory_lock(7)")
        yield
    conn.execute("DROP FUNCTION stop_here CASCADE")


def stopped_backend(conn: psycopg.Connection, *, other_than: int = 0) -> int:
    """The pid of the backend that waits there."""
    found: list[tuple[int]] = []

    def stopped() -> bool:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
            " AND datname = current_database() AND pid <> %s"
        )
        found[:] = conn.execute(query, (other_than,)).fetchall()
        return bool(found)

    wait_until(stopped, what="a backend that was stopped", timeout_s=20, poll_s=0.02)
    [(pid,)] = found
    return pid


@pytest.mark.parametrize(("step", "table"), STEPS)
def test_a_link_that_dies_before_any_write_leaves_each_order_to_be_executed_once(
    dsn: str, conn: psycopg.Connection, run: RunId, step: str, table: str
) -> None:
    place_some(conn, run, 4)
    with (
        stopped_before(dsn, conn, step, table),
        psycopg.connect(dsn, autocommit=True) as doomed,
        ThreadPoolExecutor(1) as pool,
    ):
        processing = pool.submit(process_all, doomed)
        conn.execute("SELECT pg_terminate_backend(%s)", (stopped_backend(conn),))
        error = processing.exception(timeout=10)
    assert isinstance(error, psycopg.OperationalError)
    assert reply_of(error) is Reply.UNKNOWN
    assert statuses(conn) == {"received" if step == "claim" else "processing": 4}
    assert process_all(conn, OVER_AT_ONCE) == 4
    assert not_once(conn) == []


@pytest.mark.parametrize(("step", "table"), STEPS)
def test_a_processor_killed_before_any_write_leaves_each_order_to_be_executed_once(
    dsn: str, conn: psycopg.Connection, run: RunId, step: str, table: str
) -> None:
    """The server does not notice at once: what it was doing may be committed all the same."""
    place_some(conn, run, 2)
    with stopped_before(dsn, conn, step, table), a_processor(dsn) as processor:
        pid = stopped_backend(conn)
        processor.send_signal(signal.SIGKILL)
        processor.wait(10)
    wait_until(
        lambda: not conn.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchall(),
        what="the end of its session",
        timeout_s=10,
    )
    process_all(conn, OVER_AT_ONCE)
    assert not_once(conn) == []


@on_postgresql
@pytest.mark.parametrize("step", ["claim", "complete"])
def test_a_link_that_dies_after_the_commit_leaves_each_order_to_be_executed_once(
    dsn: str,
    conn: psycopg.Connection,
    run: RunId,
    no_standby_answers: Server,
    step: str,
) -> None:
    no_standby_answers.wait_for_standby("")
    place_some(conn, run, 2)
    claim = claim_orders(conn, QUEUE) if step == "complete" else None
    no_standby_answers.wait_for_standby("absent")
    with psycopg.connect(dsn, autocommit=True) as doomed, ThreadPoolExecutor(1) as pool:
        attempt = (
            pool.submit(complete_orders, doomed, claim)
            if claim
            else pool.submit(claim_orders, doomed, QUEUE)
        )
        pid = backend_waiting(conn, "SyncRep", query=f"{step}_orders")
        conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
        error = attempt.exception(timeout=10)
    assert isinstance(error, psycopg.OperationalError)
    assert reply_of(error) is Reply.UNKNOWN
    no_standby_answers.wait_for_standby("")
    if claim:
        assert complete_orders(conn, claim) == 0, "it was executed"
    process_all(conn, OVER_AT_ONCE)
    assert not_once(conn) == []


def test_processors_killed_again_and_again_execute_each_order_once(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    """Real processes, killed at moments nobody chose, while orders come in."""
    random = Random(run.number)
    placed = 0
    for _ in range(4):
        with a_processor(dsn, 0.05) as one, a_processor(dsn, 0.05) as other:
            for n in range(random.randint(20, 40)):
                order = Order(run.order_id(0, placed), DEMO_ACCOUNT, "AAPL", Side.BUY, 1)
                place(conn, order)
                placed += 1
                if n == 15:
                    one.kill()
            other.kill()
    processed_by_the_killed = statuses(conn)["processed"]
    process_all(conn, OVER_AT_ONCE)
    assert not_once(conn) == []
    assert statuses(conn) == {"processed": placed}
    assert processed_by_the_killed > 0, "they had begun"


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
