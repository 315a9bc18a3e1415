"""What is written survives the death of its connection at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from time import monotonic

import psycopg
import pytest
from ports import free_port

from labkit.errors import InsufficientFunds, NotReady, OutcomeUnknown
from labkit.trading.accounts import Deposit, NewAccount, create_account, make_deposit
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.retries import Attempts, insist

from .conftest import on_postgresql
from .executing import STOP_HERE, stopped_backend
from .placing import backend_waiting
from .plain_server import Server

pytestmark = pytest.mark.both_engines


Write = Callable[[psycopg.Connection], object]

ORDER = Order.new(DEMO_ACCOUNT, "DIS", Side.BUY, 2)
DEPOSIT = Deposit.new(DEMO_ACCOUNT, Decimal(7))
ACCOUNT = NewAccount.new("Ada", "us-west-2", opening_balance=Decimal(5))

WRITES: dict[str, Write] = {
    "order": lambda conn: place_order(conn, ORDER).retried,
    "deposit": lambda conn: make_deposit(conn, DEPOSIT).retried,
    "account": lambda conn: create_account(conn, ACCOUNT),
}
STEPS = [
    ("order", "accounts", "UPDATE"),
    ("order", "prices", "UPDATE"),
    ("order", "positions", "INSERT"),
    ("order", "orders", "INSERT"),
    ("order", "order_activity", "INSERT"),
    ("deposit", "deposits", "INSERT"),
    ("deposit", "accounts", "UPDATE"),
    ("account", "users", "INSERT"),
    ("account", "accounts", "INSERT"),
]


class Line:
    """A connection that is made anew when it was closed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.made: list[psycopg.Connection] = []

    def __call__(self) -> psycopg.Connection:
        if not self.made or self.made[-1].closed:
            self.made.append(psycopg.connect(self._dsn, autocommit=True, connect_timeout=2))
        return self.made[-1]

    def close(self) -> None:
        for conn in self.made:
            conn.close()


@pytest.fixture
def line(dsn: str) -> Iterator[Line]:
    line = Line(dsn)
    yield line
    line.close()


def try_for(
    seconds: float, connect: Callable[[], psycopg.Connection], write: Write, **more: object
) -> Attempts:
    arguments = {"deadline_s": monotonic() + seconds, "attempt_timeout_s": 5.0, **more}
    attempts, _ = insist(connect, write, **arguments)
    return attempts


def written(conn: psycopg.Connection, what: str) -> tuple[object, ...]:
    """What the database holds of it: once, if it was written once."""
    query = {
        "order": (
            "SELECT (SELECT balance FROM accounts WHERE account_nbr = '0005821112'),"
            " (SELECT moves FROM prices WHERE symbol = 'DIS'),"
            " (SELECT quantity FROM positions WHERE account_nbr = '0005821112'),"
            " (SELECT count(*) FROM orders), (SELECT count(*) FROM order_activity)"
        ),
        "deposit": (
            "SELECT (SELECT balance FROM accounts WHERE account_nbr = '0005821112'),"
            " (SELECT count(*) FROM deposits)"
        ),
        "account": (
            "SELECT (SELECT sum(balance) FROM accounts WHERE account_nbr NOT LIKE '000%'),"
            " (SELECT count(*) FROM accounts), (SELECT count(*) FROM users)"
        ),
    }[what]
    row = conn.execute(query).fetchone()  # type: ignore[call-overload]
    assert row
    return row


ONCE = {
    "order": (Decimal("99797.42"), 1, 2, 1, 1),
    "deposit": (Decimal("100007.00"), 1),
    "account": (Decimal("5.00"), 302, 302),
}


@contextmanager
def stopped_at(dsn: str, conn: psycopg.Connection, table: str, verb: str) -> Iterator[None]:
    """Whoever writes to the table waits, until the block ends."""
    conn.execute(STOP_HERE)
    conn.execute(
        f"CREATE TRIGGER stop_here BEFORE {verb} ON {table} FOR EACH ROW"  # type: ignore[arg-type]
        " EXECUTE FUNCTION stop_here()"
    )
    with psycopg.connect(dsn, autocommit=True) as blocker:
        blocker.execute("SELECT pg_advisory_lock(7)")
        yield
    conn.execute("DROP FUNCTION stop_here CASCADE")


# ---- the link dies


@pytest.mark.parametrize(("what", "table", "verb"), STEPS)
def test_a_write_whose_link_dies_before_any_of_its_steps_is_there_once(
    dsn: str, conn: psycopg.Connection, line: Line, what: str, table: str, verb: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with stopped_at(dsn, conn, table, verb):
            writing = pool.submit(try_for, 20, line, WRITES[what])
            pid = stopped_backend(conn)
            conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
            stopped_backend(conn, other_than=pid)
        attempts = writing.result(20)
    assert (attempts.outcome, attempts.count) == ("ok", 2)
    assert len(line.made) == 2
    assert written(conn, what) == ONCE[what]


@on_postgresql
@pytest.mark.parametrize("what", WRITES)
def test_a_write_whose_link_dies_after_its_commit_is_there_once(
    conn: psycopg.Connection, line: Line, no_standby_answers: Server, what: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(try_for, 20, line, WRITES[what])
        query = {"order": "place_order", "deposit": "deposit", "account": "create_account"}[what]
        pid = backend_waiting(conn, "SyncRep", query=query)
        # and wait for its end, or the standby's answer could reach it before the signal does
        conn.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        no_standby_answers.wait_for_standby("")
        attempts = writing.result(20)
    assert (attempts.outcome, attempts.count) == ("ok", 2)
    assert written(conn, what) == ONCE[what]


@on_postgresql
def test_a_write_survives_a_server_that_crashes_and_comes_back(
    server: Server, dsn: str, line: Line
) -> None:
    line()
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(try_for, 60, line, WRITES["deposit"])
        server.start()
        assert writing.result(60).outcome == "ok"
    with psycopg.connect(dsn) as conn:
        assert written(conn, "deposit") == ONCE["deposit"]


# ---- which errors leave the connection


def raising(dsn_conn: psycopg.Connection, sqlstate: str, times: int) -> Write:
    left = [times]

    def write(conn: psycopg.Connection) -> object:
        if left[0]:
            left[0] -= 1
            conn.execute(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")  # type: ignore[arg-type]
        return WRITES["deposit"](conn)

    return write


@pytest.mark.parametrize(
    ("sqlstate", "connections"),
    [("40001", 1), ("40P01", 1), ("23505", 1), ("25006", 2), ("40003", 2), ("08006", 2)],
)
def test_an_error_that_passes_is_met_with_another_attempt(
    conn: psycopg.Connection, line: Line, sqlstate: str, connections: int
) -> None:
    """On another connection if this one's node may be the trouble."""
    attempts = try_for(20, line, raising(conn, sqlstate, 1))
    assert (attempts.outcome, attempts.count, attempts.sqlstate) == ("ok", 2, "")
    assert len(line.made) == connections
    assert written(conn, "deposit") == ONCE["deposit"]


# ---- it does not end well


def test_no_server_until_the_deadline_is_a_failure_that_sent_nothing() -> None:
    line = Line(f"postgresql://postgres@127.0.0.1:{free_port()}/trade")
    attempts = try_for(0.3, line, WRITES["deposit"])
    assert (attempts.outcome, attempts.count, attempts.sent_s) == ("fail", 0, None)
    with pytest.raises(NotReady, match=r"deposit: 0 attempts, and no service in time: nothing"):
        attempts.check("deposit")


def test_no_answer_until_the_deadline_is_unknown_and_can_be_asked_again(
    dsn: str, conn: psycopg.Connection, line: Line
) -> None:
    with psycopg.connect(dsn) as blocker:
        blocker.execute("SELECT FROM accounts FOR UPDATE")
        attempts = try_for(0.5, line, WRITES["deposit"], attempt_timeout_s=0.2)
    assert (attempts.outcome, attempts.sqlstate) == ("info", "")
    with pytest.raises(OutcomeUnknown, match="no answer that counts: it may be there or not"):
        attempts.check("deposit")
    before = attempts.count
    again = try_for(20, line, WRITES["deposit"], attempts=attempts)
    assert again is attempts
    assert (attempts.outcome, attempts.count > before) == ("ok", True)
    attempts.check("deposit")
    assert written(conn, "deposit") == ONCE["deposit"]


def test_a_refusal_ends_it_at_once(conn: psycopg.Connection, line: Line) -> None:
    too_much = Order.new(DEMO_ACCOUNT, "DIS", Side.BUY, 1_000_000)
    attempts = try_for(20, line, lambda conn: place_order(conn, too_much))
    assert (attempts.outcome, attempts.count, attempts.sqlstate) == ("fail", 1, "LK003")
    with pytest.raises(InsufficientFunds, match="add money"):
        attempts.check("order")
    assert len(line.made) == 1
    assert not line.made[0].closed


def test_a_refusal_after_an_attempt_without_an_answer_leaves_it_unknown(
    conn: psycopg.Connection, line: Line
) -> None:
    too_much = Order.new(DEMO_ACCOUNT, "DIS", Side.BUY, 1_000_000)
    attempts = Attempts()
    attempts.begin()
    attempts.failed(psycopg.OperationalError("the link died"))
    try_for(20, line, lambda conn: place_order(conn, too_much), attempts=attempts)
    assert (attempts.outcome, attempts.count, attempts.sqlstate) == ("info", 2, "LK003")
    with pytest.raises(OutcomeUnknown):
        attempts.check("order")


def test_the_pause_grows_to_half_a_second_and_is_never_the_same() -> None:
    attempts, pauses = Attempts(), []
    for _ in range(12):
        attempts.begin()
        pauses.append(attempts.backoff_s)
    assert len(set(pauses)) == 12
    for number, pause in enumerate(pauses):
        longest = min(0.02 * 2**number, 0.5)
        assert longest / 2 <= pause <= longest
