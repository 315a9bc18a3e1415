from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psycopg
import pytest

from labkit.clock import wait_until
from labkit.trading.attempts import Reply, reply_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side
from labkit.trading.processing import (
    claim_orders,
    complete_orders,
)

from .conftest import on_postgresql
from .executing import (
    OVER_AT_ONCE,
    QUEUE,
    STOP_HERE,
    not_once,
    place_some,
    process_all,
    statuses,
    stopped_backend,
)
from .placing import backend_waiting, place
from .plain_server import Server

pytestmark = pytest.mark.both_engines


STEPS = [
    ("claim", "orders"),
    ("claim", "order_activity"),
    ("complete", "orders"),
    ("complete", "order_processing"),
    ("complete", "trades"),
    ("complete", "order_activity"),
]
"""What a processor writes, in this order; it is stopped before each."""

ONE_PROCESSOR = """
import sys, psycopg
from trading import cockroachdb_double
from trading.executing import HOME, Queue, process_all
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
