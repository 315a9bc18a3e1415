from __future__ import annotations

import threading
from decimal import Decimal
from time import time

import psycopg
import pytest
from answering import PATIENCE_S, Server

from labkit.clock import wait_until
from labkit.errors import BadInput, UnknownAccount
from labkit.testing import FakeCluster
from labkit.trading.accounts import Deposit, DepositReceipt
from labkit.ui import teller
from labkit.ui.teller import Slip, Teller


class Deposits(Server):
    """A server that keeps the deposits it was asked to make."""

    def __init__(self) -> None:
        super().__init__()
        self.deposits: list[Deposit] = []

    def make(self, _conn: object, deposit: Deposit) -> DepositReceipt:
        self.deposits.append(deposit)
        self.answer()
        return DepositReceipt(deposit.deposit_id, deposit.amount, retried=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Deposits:
    server = Deposits()
    monkeypatch.setattr(teller, "Line", lambda _dsn: server)
    monkeypatch.setattr(teller, "make_deposit", server.make)
    return server


@pytest.fixture
def desk(server: Deposits) -> Teller:
    return Teller(FakeCluster(), "0005821112", lambda: "us-west-2", lambda _slip: None)


def ended(desk: Teller, state: str) -> Slip:
    wait_until(lambda: desk.slip.state == state, what=state, timeout_s=10)
    return desk.slip


HUNDRED = Decimal("100.00")


def test_a_deposit_is_made_once_however_often_it_is_pressed(desk: Teller, server: Deposits) -> None:
    assert desk.deposit(HUNDRED, time())
    assert not desk.deposit(HUNDRED, time())
    server.answers.put(None)
    assert ended(desk, "acked").text == "100.00 added"
    assert len(server.deposits) == 1


def test_a_lost_answer_is_asked_for_again_under_the_same_id(desk: Teller, server: Deposits) -> None:
    server.answers.put(psycopg.OperationalError("server closed the connection"))
    server.answers.put(None)
    desk.deposit(HUNDRED, time())
    ended(desk, "acked")
    first, second = server.deposits
    assert first == second


def test_the_next_deposit_has_another_id(desk: Teller, server: Deposits) -> None:
    for _ in range(2):
        server.answers.put(None)
        desk.deposit(HUNDRED, time())
        ended(desk, "acked")
    first, second = server.deposits
    assert first.deposit_id != second.deposit_id


def test_an_unknown_deposit_is_asked_for_again_by_adding_the_same_amount(
    desk: Teller, server: Deposits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "GIVE_UP_S", PATIENCE_S)
    server.answer_too_late(psycopg.OperationalError("server closed the connection"))
    desk.deposit(HUNDRED, time())
    assert "add the same amount again" in ended(desk, "unknown").text
    monkeypatch.setattr(teller, "GIVE_UP_S", 10.0)
    server.answers.put(None)
    desk.deposit(HUNDRED, time())
    ended(desk, "acked")
    first, second = server.deposits
    assert first == second


def test_a_refusal_is_told_and_not_repeated(desk: Teller, server: Deposits) -> None:
    server.answers.put(UnknownAccount("no account 0005821112"))
    desk.deposit(HUNDRED, time())
    assert "no account 0005821112" in ended(desk, "refused").text
    assert len(server.deposits) == 1


def test_a_bug_is_told_and_leaves_no_deposit_that_is_sent_for_ever(
    desk: Teller, server: Deposits, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    server.answers.put(ZeroDivisionError("of ours"))
    desk.deposit(HUNDRED, time())
    ended(desk, "unknown")
    wait_until(lambda: told, what="the traceback", timeout_s=10)
    assert told[0].exc_type is ZeroDivisionError


@pytest.mark.parametrize("amount", ["0", "-5", "0.001", "NaN", "Infinity"])
def test_what_is_no_amount_is_refused(desk: Teller, amount: str) -> None:
    with pytest.raises(BadInput):
        desk.deposit(Decimal(amount), time())
    assert desk.slip.state == "none"


def test_a_click_that_came_late_is_not_obeyed(desk: Teller, server: Deposits) -> None:
    assert not desk.deposit(HUNDRED, time() - teller.TOO_LATE_S - 1)
    assert server.deposits == []
