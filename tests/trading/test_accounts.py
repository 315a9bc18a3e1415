from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from labkit.errors import (
    AccountConflict,
    BadInput,
    DepositConflict,
    OutcomeUnknown,
    UnknownAccount,
)
from labkit.trading.accounts import (
    Deposit,
    NewAccount,
    create_account,
    make_deposit,
)
from labkit.trading.attempts import Reply, reply_of, sqlstate_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order

from .conftest import on_postgresql
from .placing import backend_waiting, balance
from .plain_server import Server

pytestmark = pytest.mark.both_engines


HOME = "us-west-2"


@pytest.fixture
def new() -> NewAccount:
    return NewAccount.new("Ada", HOME, opening_balance=Decimal("1000.50"))


@pytest.fixture
def deposit() -> Deposit:
    return Deposit.new(DEMO_ACCOUNT, Decimal("250.25"))


def insist(action, *arguments):
    """Again, if the attempt was rolled back."""
    while True:
        try:
            return action(*arguments)
        except psycopg.Error as error:
            if reply_of(error) is not Reply.ROLLED_BACK:
                raise


def users(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM users").fetchone()
    assert row
    return int(row[0])


# ---- opening an account


def test_an_account_opens_with_its_balance_and_its_user(
    conn: psycopg.Connection, new: NewAccount
) -> None:
    assert create_account(conn, new) is False
    found = conn.execute(
        "SELECT account_id, user_id, name, opening_balance, balance, may_short"
        " FROM accounts JOIN users USING (user_id) WHERE account_nbr = %s",
        (new.account_nbr,),
    ).fetchall()
    opening = Decimal("1000.50")
    assert found == [(new.account_id, new.user_id, "Ada", opening, opening, False)]


def test_a_new_account_can_trade(conn: psycopg.Connection, new: NewAccount, run: RunId) -> None:
    create_account(conn, new)
    receipt = place_order(conn, Order(run.order_id(0, 0), new.account_nbr, "DIS", Side.BUY, 1))
    assert balance(conn, new.account_nbr) == new.opening_balance - receipt.amount


def test_a_repeated_opening_is_answered_and_changes_nothing(
    conn: psycopg.Connection, new: NewAccount
) -> None:
    create_account(conn, new)
    make_deposit(conn, Deposit.new(new.account_nbr, Decimal(1)))
    assert create_account(conn, new) is True
    assert balance(conn, new.account_nbr) == Decimal("1001.50")


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": uuid4()},
        {"account_nbr": "9876543210"},
        {"user_id": uuid4()},
        {"opening_balance": Decimal(5)},
        {"may_short": True},
    ],
)
def test_a_number_or_an_id_that_another_account_has_is_a_conflict(
    conn: psycopg.Connection, new: NewAccount, change: dict[str, object]
) -> None:
    create_account(conn, new)
    before = users(conn), conn.execute("TABLE accounts ORDER BY account_nbr").fetchall()
    other = replace(new, **change)
    with pytest.raises(
        AccountConflict, match=f"account {other.account_nbr} is not to be"
    ) as caught:
        create_account(conn, other)
    assert reply_of(caught.value) is Reply.REFUSED
    assert sqlstate_of(caught.value) == "LK008"
    after = users(conn), conn.execute("TABLE accounts ORDER BY account_nbr").fetchall()
    assert after == before, "nothing was written, no user either"


def test_a_user_may_have_several_accounts(conn: psycopg.Connection, new: NewAccount) -> None:
    create_account(conn, new)
    before = users(conn)
    second = NewAccount.new("Ada", HOME)
    create_account(conn, replace(second, user_id=new.user_id))
    assert users(conn) == before


def test_concurrent_openings_of_one_account_open_it_once(
    dsn: str, conn: psycopg.Connection, new: NewAccount
) -> None:
    def opened_before(_: int) -> bool:
        with psycopg.connect(dsn, autocommit=True) as conn:
            return insist(create_account, conn, new)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(opened_before, range(8))) == [False] + [True] * 7
    assert balance(conn, new.account_nbr) == new.opening_balance


def test_concurrent_openings_under_one_number_give_it_to_one(
    dsn: str, conn: psycopg.Connection, new: NewAccount
) -> None:
    def opened(_: int) -> bool:
        with psycopg.connect(dsn, autocommit=True) as conn:
            try:
                insist(create_account, conn, replace(new, account_id=uuid4(), user_id=uuid4()))
            except AccountConflict:
                return False
            return True

    before = users(conn)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(opened, range(8))) == 1
    assert users(conn) == before + 1


@pytest.mark.parametrize("nbr", ["123", "12345678901", "abcdefghij", "\uff11" * 10])
def test_an_account_number_has_ten_digits(new: NewAccount, nbr: str) -> None:
    with pytest.raises(BadInput, match="account number"):
        replace(new, account_nbr=nbr)


@pytest.mark.parametrize("amount", ["-0.01", "0.001", "NaN", "Infinity"])
def test_an_opening_balance_is_not_negative_and_in_whole_cents(
    new: NewAccount, amount: str
) -> None:
    with pytest.raises(BadInput, match="opening balance of"):
        replace(new, opening_balance=Decimal(amount))


@pytest.mark.parametrize("engine", ["cockroachdb"])
def test_on_cockroachdb_an_account_lives_where_its_client_says(
    conn: psycopg.Connection, run: RunId
) -> None:
    new = NewAccount.new("Ada", "eu-west-1", opening_balance=Decimal(1000))
    create_account(conn, new)
    place_order(conn, Order(run.order_id(0, 0), new.account_nbr, "DIS", Side.BUY, 1))
    for table in ("accounts", "positions"):
        query = f"SELECT crdb_region FROM {table} WHERE account_nbr = %s"  # noqa: S608
        assert conn.execute(query, (new.account_nbr,)).fetchall() == [("eu-west-1",)]  # type: ignore[arg-type]


# ---- deposits


def test_a_deposit_is_credited(conn: psycopg.Connection, deposit: Deposit) -> None:
    receipt = make_deposit(conn, deposit)
    assert (receipt.balance, receipt.retried) == (Decimal("100250.25"), False)
    assert balance(conn) == Decimal("100250.25")


def test_a_repeated_deposit_is_credited_once(conn: psycopg.Connection, deposit: Deposit) -> None:
    first = make_deposit(conn, deposit)
    assert make_deposit(conn, deposit) == replace(first, retried=True)
    assert balance(conn) == Decimal("100250.25")


@pytest.mark.parametrize("change", [{"account_nbr": "0001000001"}, {"amount": Decimal("250.26")}])
def test_the_same_id_for_another_deposit_is_a_conflict(
    conn: psycopg.Connection, deposit: Deposit, change: dict[str, object]
) -> None:
    make_deposit(conn, deposit)
    text = f"deposit {deposit.deposit_id} is of 250.25 into account 0005821112"
    with pytest.raises(DepositConflict, match=text) as caught:
        make_deposit(conn, replace(deposit, **change))
    assert sqlstate_of(caught.value) == "LK009"
    assert balance(conn) == Decimal("100250.25")
    assert balance(conn, "0001000001") == Decimal(1_000_000_000)


def test_a_deposit_into_no_account_is_refused(conn: psycopg.Connection, deposit: Deposit) -> None:
    with pytest.raises(UnknownAccount, match="no account 1234567890"):
        make_deposit(conn, replace(deposit, account_nbr="1234567890"))
    assert conn.execute("SELECT count(*) FROM deposits").fetchone() == (0,)


@pytest.mark.parametrize("amount", ["0", "-1", "0.001"])
def test_an_impossible_amount_is_refused_here_and_by_the_database(
    conn: psycopg.Connection, deposit: Deposit, amount: str
) -> None:
    with pytest.raises(BadInput, match=f"deposit of {amount} refused"):
        replace(deposit, amount=Decimal(amount))
    object.__setattr__(deposit, "amount", Decimal(amount))
    with pytest.raises(BadInput, match="an amount is positive and in whole cents") as caught:
        make_deposit(conn, deposit)
    assert sqlstate_of(caught.value) == "LK006"
    assert balance(conn) == Decimal(100_000)


def test_concurrent_deposits_and_orders_leave_the_balance_exact(
    dsn: str, conn: psycopg.Connection, run: RunId
) -> None:
    """Each deposit is sent twice at once."""
    deposits = [Deposit.new(DEMO_ACCOUNT, Decimal(n) / 100) for n in range(1, 21)]

    def act(number: int) -> Decimal:
        with psycopg.connect(dsn, autocommit=True) as conn:
            if number < 40:
                receipt = insist(make_deposit, conn, deposits[number // 2])
                return Decimal(0) if receipt.retried else deposits[number // 2].amount
            order = Order(run.order_id(0, number), DEMO_ACCOUNT, "AAPL", Side.BUY, 1)
            return -insist(place_order, conn, order).amount

    with ThreadPoolExecutor(8) as pool:
        moved = sum(pool.map(act, range(60)))
    assert balance(conn) == Decimal(100_000) + moved
    assert conn.execute("SELECT sum(amount) FROM deposits").fetchone() == (Decimal("2.10"),)


# ---- the link dies, the standbys do not answer


@on_postgresql
@pytest.mark.parametrize("what", ["create_account", "deposit"])
def test_a_write_killed_after_its_commit_is_unknown_and_the_retry_finds_it(
    dsn: str,
    conn: psycopg.Connection,
    new: NewAccount,
    deposit: Deposit,
    no_standby_answers: Server,
    what: str,
) -> None:
    """And the retry waits for a standby, as the first attempt did."""

    def act() -> bool:
        with psycopg.connect(dsn, autocommit=True) as conn:
            if what == "deposit":
                return make_deposit(conn, deposit).retried
            return create_account(conn, new)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(act)
        pid = backend_waiting(conn, "SyncRep", query=what)
        conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
        error = first.exception(timeout=10)
        assert isinstance(error, psycopg.OperationalError)
        assert reply_of(error) is Reply.UNKNOWN

        retry = pool.submit(act)
        backend_waiting(conn, "SyncRep", query=what)
        assert not retry.done()
        no_standby_answers.wait_for_standby("")
        assert retry.result(timeout=10) is True


@on_postgresql
def test_a_cancelled_wait_for_the_standbys_is_no_deposit_yet(
    dsn: str, conn: psycopg.Connection, deposit: Deposit, no_standby_answers: Server
) -> None:
    def act() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            make_deposit(conn, deposit)

    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(act)
        pid = backend_waiting(conn, "SyncRep", query="deposit")
        conn.execute("SELECT pg_cancel_backend(%s)", (pid,))
        assert isinstance(attempt.exception(timeout=10), OutcomeUnknown)
