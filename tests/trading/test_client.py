from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from ports import free_port

from labkit.record import Op
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side
from labkit.trading.retries import Patience
from labkit.workload.client import TradingClient
from labkit.workload.ledger import Ledger, read_ledger
from labkit.workload.pool import Pool

pytestmark = pytest.mark.both_engines


@pytest.fixture
def order(run: RunId) -> Order:
    return Order(run.order_id(0, 0), DEMO_ACCOUNT, "AAPL", Side.BUY, 1)


@dataclass
class Bench:
    """A client with a pool, and what it recorded."""

    client: TradingClient
    pool: Pool
    ops: list[Op] = field(default_factory=list)

    async def place(self, order: Order, *, late_by_s: float = 0.0) -> Op:
        await self.client.place(monotonic() - late_by_s, order=order, session=7)
        return next(op for op in self.ops if op.order_id == str(order.order_id))


@asynccontextmanager
async def a_client(
    dsn: str,
    folder: Path,
    *,
    deadline_s: float = 10.0,
    attempt_timeout_s: float = 10.0,
    connections: int = 2,
) -> AsyncIterator[Bench]:
    ops: list[Op] = []
    pool = Pool(dsn, connections, application_name="test-client")
    keep_open = asyncio.create_task(pool.keep_open())
    with Ledger(folder, "us-west-2") as ledger:
        patience = Patience(deadline_s, attempt_timeout_s)
        client = TradingClient("us-west-2", pool, patience, ledger, ops.append)
        yield Bench(client, pool, ops)
    keep_open.cancel()
    await asyncio.wait([keep_open])


async def until(condition: Callable[[], object]) -> None:
    """Poll `condition` on the event loop."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


def sessions(conn: psycopg.Connection) -> set[int]:
    rows = conn.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'test-client'"
        " AND datname = current_database()"
    )
    return {row[0] for row in rows}


def order_rows(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM orders").fetchone()
    assert row
    return int(row[0])


def test_an_acknowledged_order_is_ok_and_in_the_ledger(
    dsn: str, tmp_path: Path, order: Order
) -> None:
    async def scenario() -> Op:
        async with a_client(dsn, tmp_path) as bench:
            return await bench.place(order)

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts, op.sqlstate) == ("ok", 1, "")
    assert (op.order_id, op.region, op.kind) == (str(order.order_id), "us-west-2", "order")
    assert (op.symbol, op.side, op.session) == ("AAPL", "buy", 7)
    assert (op.move_nbr, op.price_cents) == (1, 19151)
    assert op.sent_s is not None
    assert op.scheduled_s <= op.sent_s <= op.finished_s
    assert read_ledger(tmp_path) == (str(order.order_id),)


def test_the_ledger_has_an_order_before_it_is_counted(
    dsn: str, tmp_path: Path, order: Order
) -> None:
    ledger_when_recorded: list[tuple[str, ...]] = []

    async def scenario() -> None:
        async with a_client(dsn, tmp_path) as bench:
            bench.client._record = lambda op: (
                ledger_when_recorded.append(read_ledger(tmp_path)),
                bench.ops.append(op),
            )
            await bench.place(order)

    asyncio.run(scenario())
    assert ledger_when_recorded == [(str(order.order_id),)]


def test_a_refused_order_fails_at_once(dsn: str, tmp_path: Path, order: Order) -> None:
    too_much = Order(order.order_id, DEMO_ACCOUNT, "AAPL", Side.BUY, 100_000)

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path) as bench:
            return await bench.place(too_much)

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts, op.sqlstate) == ("fail", 1, "LK003")
    assert read_ledger(tmp_path) == ()


def test_an_order_that_finds_no_server_fails_as_never_sent(tmp_path: Path, order: Order) -> None:
    dsn = f"postgresql://postgres@127.0.0.1:{free_port()}/trade"

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, deadline_s=0.3) as bench:
            return await bench.place(order)

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts, op.sent_s) == ("fail", 0, None)
    assert op.finished_s >= op.scheduled_s + 0.3


def test_an_order_begun_after_its_deadline_is_not_sent(
    dsn: str, tmp_path: Path, order: Order
) -> None:
    """The client was stopped meanwhile; now nobody waits for the order any more."""

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, deadline_s=0.5) as bench:
            await bench.pool.filled()
            return await bench.place(order, late_by_s=1.0)

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts, op.sent_s) == ("fail", 0, None)


def test_an_order_without_an_answer_is_info(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    """It was sent, so it may be applied later, and is, when the lock is free."""

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, deadline_s=1.0, attempt_timeout_s=0.3) as bench:
            with psycopg.connect(dsn) as blocker:
                blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
                op = await bench.place(order)
            await until(lambda: order_rows(conn) == 1)
            return op

    op = asyncio.run(scenario())
    assert (op.outcome, op.sqlstate) == ("info", "")
    assert op.attempts > 1
    assert read_ledger(tmp_path) == ()


def test_an_attempt_begun_before_the_deadline_gets_all_its_time(
    dsn: str, tmp_path: Path, order: Order
) -> None:
    """Cut short it would be INFO and cost its connection, for a service that is healthy again."""

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, deadline_s=0.5) as bench:
            await bench.pool.filled()
            with psycopg.connect(dsn) as blocker:
                blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
                placing = asyncio.create_task(bench.place(order))
                await asyncio.sleep(0.7)
            return await placing

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts) == ("ok", 1)
    assert op.finished_s > op.scheduled_s + 0.5


@pytest.mark.parametrize("engine", ["postgresql"])
def test_each_attempt_has_all_of_its_time_whatever_was_asked_before_it(
    dsn: str, tmp_path: Path, order: Order, run: RunId
) -> None:
    later = replace(order, order_id=run.order_id(0, 1))

    async def scenario() -> list[Op]:
        async with a_client(dsn, tmp_path, attempt_timeout_s=0.8) as bench:
            await bench.pool.filled()
            with psycopg.connect(dsn) as blocker:
                blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
                first = asyncio.create_task(bench.place(order))
                await asyncio.sleep(0.5)
                second = asyncio.create_task(bench.place(later))
                await asyncio.sleep(0.4)
            return [await first, await second]

    first, second = asyncio.run(scenario())
    assert (first.outcome, first.attempts > 1) == ("ok", True), "hung up on, and asked again"
    assert (second.outcome, second.attempts) == ("ok", 1)


def test_a_success_counts_when_its_commit_is_over(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    """The server says it is ready after the commit; what it says before proves nothing."""

    async def scenario() -> tuple[Op, int]:
        async with (
            cutting_off_what_follows_a_row(dsn) as (shortened, cuts),
            a_client(shortened, tmp_path, connections=1) as bench,
        ):
            await bench.pool.filled()
            return await bench.place(order), len(cuts)

    op, cuts = asyncio.run(scenario())
    assert cuts == 1
    assert (op.outcome, op.attempts) == ("ok", 2)
    assert order_rows(conn) == 1


@asynccontextmanager
async def cutting_off_what_follows_a_row(dsn: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A way to the server; the first row comes with its completion, then the link dies."""
    address = urlsplit(dsn)
    cuts: list[bytes] = []

    async def carry(source: asyncio.StreamReader, to: asyncio.StreamWriter, *, back: bool) -> None:
        while data := await source.read(65536):
            if back and not cuts and READY in data and ROW_COMPLETE in data:
                cuts.append(data)
                to.write(data.removesuffix(READY))
                break
            to.write(data)
        to.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(address.hostname, address.port)
        async with asyncio.TaskGroup() as both:
            both.create_task(carry(reader, server_writer, back=False))
            both.create_task(carry(server_reader, writer, back=True))

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield urlunsplit(address._replace(netloc=f"postgres@127.0.0.1:{port}")), cuts


READY, ROW_COMPLETE = b"Z\x00\x00\x00\x05I", b"SELECT 1\x00"


def test_a_timed_out_connection_is_replaced(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    async def scenario() -> None:
        async with a_client(
            dsn, tmp_path, deadline_s=0.5, attempt_timeout_s=0.4, connections=1
        ) as bench:
            await bench.pool.filled()
            before = sessions(conn)
            assert len(before) == 1
            with psycopg.connect(dsn) as blocker:
                blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
                await bench.place(order)
            replacement = await bench.pool.lease(10)
            assert replacement
            assert replacement.info.backend_pid not in before
            await until(lambda: sessions(conn) == {replacement.info.backend_pid})

    asyncio.run(scenario())


def test_a_refusal_after_an_unanswered_attempt_is_info(
    dsn: str, tmp_path: Path, order: Order
) -> None:
    """The first attempt may be stuck on its way and be applied after the refusal."""

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, attempt_timeout_s=0.5) as bench:
            with psycopg.connect(dsn) as blocker:
                blocker.execute(
                    "UPDATE accounts SET balance = 0 WHERE account_nbr = %s", (DEMO_ACCOUNT,)
                )
                placing = asyncio.create_task(bench.place(order))
                await asyncio.sleep(0.6)
            return await placing

    op = asyncio.run(scenario())
    assert (op.outcome, op.sqlstate) == ("info", "LK003")
    assert op.attempts > 1


@pytest.mark.parametrize(
    ("engine", "phase"),
    [
        ("postgresql", "transactionid"),
        ("postgresql", "SyncRep"),
        ("cockroachdb", "transactionid"),
    ],
)
def test_an_order_killed_in_flight_is_asked_again_and_placed_once(
    dsn: str,
    conn: psycopg.Connection,
    tmp_path: Path,
    order: Order,
    phase: str,
    request: pytest.FixtureRequest,
) -> None:
    """Killed while it waits for a lock, nothing is there; while it waits for a standby, it is."""

    def kill() -> bool:
        return bool(
            conn.execute(
                # with a time to wait for its end: what it waits for must not come before the signal
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'test-client' AND wait_event = %s",
                (phase,),
            ).fetchall()
        )

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path) as bench:
            await bench.pool.filled()
            with psycopg.connect(dsn) as blocker:
                if phase == "SyncRep":
                    standbys = request.getfixturevalue("no_standby_answers")
                else:
                    blocker.execute("SELECT FROM prices WHERE symbol = 'AAPL' FOR UPDATE")
                placing = asyncio.create_task(bench.place(order))
                await until(kill)
            if phase == "SyncRep":
                standbys.wait_for_standby("")
            return await placing

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts) == ("ok", 2)
    assert order_rows(conn) == 1
    assert read_ledger(tmp_path) == (str(order.order_id),)


def test_orders_refused_by_a_read_only_node_fail_at_their_deadline(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    """Every attempt was rolled back, so nothing is unknown."""
    read_only = f"{dsn}&options=-cdefault_transaction_read_only%3Don"

    async def scenario() -> Op:
        async with a_client(read_only, tmp_path, deadline_s=0.5) as bench:
            return await bench.place(order)

    op = asyncio.run(scenario())
    assert (op.outcome, op.sqlstate) == ("fail", "25006")
    assert op.attempts >= 1
    assert order_rows(conn) == 0


def test_a_session_on_a_read_only_node_is_not_used_again(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    """The balancer may know a better node by now."""

    async def scenario() -> Op:
        async with a_client(dsn, tmp_path) as bench:
            [name] = conn.execute("SELECT current_database()").fetchone() or ()
            conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            await bench.pool.filled()
            conn.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            return await bench.place(order)

    op = asyncio.run(scenario())
    assert op.outcome == "ok"
    assert 2 <= op.attempts <= 3, "one for each session that was there before"


def test_connections_that_end_while_idle_cost_no_attempt(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    async def scenario() -> Op:
        async with a_client(dsn, tmp_path, connections=4) as bench:
            await bench.pool.filled()
            before = sessions(conn)
            for pid in before:
                conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
            await until(lambda: len(sessions(conn)) == 4 and not sessions(conn) & before)
            return await bench.place(order)

    op = asyncio.run(scenario())
    assert (op.outcome, op.attempts) == ("ok", 1)


def test_a_message_on_an_idle_connection_does_not_end_it(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, order: Order
) -> None:
    async def scenario() -> tuple[set[int], set[int]]:
        async with a_client(dsn, tmp_path, connections=1) as bench:
            idle = await bench.pool.lease(10)
            assert idle
            await idle.execute("LISTEN anything")
            bench.pool.give_back(idle)
            before = sessions(conn)
            conn.execute("NOTIFY anything")
            await until(lambda: idle.pgconn.notifies())
            assert (await bench.place(order)).attempts == 1
            return before, sessions(conn)

    before, after = asyncio.run(scenario())
    assert before == after


def test_an_outage_makes_no_storm_of_connections(tmp_path: Path) -> None:
    """A balancer without servers accepts and closes; attempts come at a bounded pace."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    attempts = 0

    async def turn_away() -> None:
        nonlocal attempts
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            attempts += 1
            sock.close()

    async def scenario() -> None:
        port = listener.getsockname()[1]
        dsn = f"postgresql://postgres@127.0.0.1:{port}/trade?sslmode=disable"
        turning_away = asyncio.create_task(turn_away())
        async with a_client(dsn, tmp_path, connections=12):
            await asyncio.sleep(2.0)
        turning_away.cancel()

    with listener:
        asyncio.run(scenario())
    assert 2 <= attempts <= 12 + 2.0 / 0.05
