from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from time import time
from uuid import UUID

import psycopg
import pytest
from answering import PATIENCE_S, Server

from labkit.clock import wait_until
from labkit.errors import BadInput, InsufficientFunds, OutcomeUnknown
from labkit.testing import FakeCluster
from labkit.trading.orders import Order, Receipt
from labkit.ui import line, order_desk
from labkit.ui.order_desk import OrderDesk, Ticket


class Orders(Server):
    """A server that keeps the ids of the orders it was asked to place."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[UUID] = []

    def place(self, _conn: object, order: Order) -> Receipt:
        self.attempts.append(order.order_id)
        self.answer()
        price = Decimal("190.00")
        return Receipt(order.order_id, 7, price, price * order.quantity, retried=False, move_nbr=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Orders:
    server = Orders()
    monkeypatch.setattr(line, "Line", lambda _dsn: server)
    monkeypatch.setattr(order_desk, "place_order", server.place)
    return server


@pytest.fixture
def desk(server: Orders) -> Iterator[OrderDesk]:
    desk = OrderDesk(FakeCluster(), "0005821112", "us-west-2", lambda: None)
    yield desk
    with suppress(Exception):
        server.answers.put(None)


def click(desk: OrderDesk, *, quantity: int = 10, side: str = "buy", late_s: float = 0.0) -> bool:
    ticket_id = str(desk.ticket.order.order_id)
    return desk.submit(ticket_id, "AAPL", side, quantity, time() - late_s)


def ended(desk: OrderDesk, state: str) -> Ticket:
    wait_until(lambda: desk.done and desk.done[-1].state == state, what=state, timeout_s=10)
    wait_until(lambda: desk.ticket.state != "sending", what="the end", timeout_s=10)
    return desk.done[-1]


def test_an_acknowledged_order_has_its_number_and_the_next_ticket_another_id(
    desk: OrderDesk, server: Orders
) -> None:
    first = desk.ticket.order.order_id
    server.answers.put(None)
    assert click(desk)
    ticket = ended(desk, "acked")
    assert ticket.order.order_id == first
    assert ticket.receipt
    assert ticket.receipt.order_nbr == 7
    assert ticket.took_s is not None
    assert desk.last == ticket
    assert desk.ticket.order.order_id != first


def test_a_double_click_places_one_order(desk: OrderDesk, server: Orders) -> None:
    ticket_id = str(desk.ticket.order.order_id)
    assert desk.submit(ticket_id, "AAPL", "buy", 10, time())
    assert not desk.submit(ticket_id, "AAPL", "buy", 10, time())
    server.answers.put(None)
    ended(desk, "acked")
    assert not desk.submit(ticket_id, "AAPL", "buy", 10, time()), "a click that came late"
    assert len(server.attempts) == 1


def test_a_lost_answer_is_asked_for_again_under_the_same_id(
    desk: OrderDesk, server: Orders
) -> None:
    server.answers.put(psycopg.OperationalError("server closed the connection"))
    server.answers.put(None)
    click(desk)
    ticket = ended(desk, "acked")
    assert server.attempts == [ticket.order.order_id] * 2
    assert ticket.attempts == 2


def test_a_refusal_tells_its_reason_and_kind(desk: OrderDesk, server: Orders) -> None:
    server.answers.put(InsufficientFunds("account 0005821112 has 1.00: add money"))
    click(desk)
    ticket = ended(desk, "refused")
    assert ticket.error == "InsufficientFunds"
    assert "add money" in ticket.reason


def test_a_refusal_after_a_lost_answer_is_not_known_to_be_one(
    desk: OrderDesk, server: Orders
) -> None:
    server.answers.put(OutcomeUnknown("no standby confirmed"))
    server.answers.put(InsufficientFunds("too little"))
    click(desk)
    assert ended(desk, "unknown").attempts == 2


def test_an_unknown_outcome_keeps_its_ticket_until_it_is_known(
    desk: OrderDesk, server: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "GIVE_UP_S", PATIENCE_S)
    server.answer_too_late(psycopg.OperationalError("server closed the connection"))
    click(desk)
    unknown = ended(desk, "unknown")
    assert desk.ticket == unknown
    monkeypatch.setattr(order_desk, "GIVE_UP_S", 10.0)
    server.answers.put(None)
    assert click(desk, quantity=99), "asks again; what the page shows now does not count"
    known = ended(desk, "acked")
    assert known.order == unknown.order


def test_an_unknown_outcome_can_be_left_for_a_fresh_ticket(
    desk: OrderDesk, server: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "GIVE_UP_S", PATIENCE_S)
    server.answer_too_late(psycopg.OperationalError("server closed the connection"))
    click(desk)
    unknown = ended(desk, "unknown")
    desk.drop()
    assert desk.last == unknown
    assert desk.ticket.state == "new"
    assert desk.ticket.order.order_id != unknown.order.order_id


def test_an_order_that_was_never_sent_is_not_placed(
    desk: OrderDesk, server: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "GIVE_UP_S", 0.05)
    server.unreachable = True
    click(desk)
    ticket = ended(desk, "refused")
    assert (ticket.attempts, ticket.reason) == (0, "connection refused")
    assert server.attempts == []


def test_a_click_that_waited_for_the_connection_is_not_obeyed(
    desk: OrderDesk, server: Orders
) -> None:
    assert not click(desk, late_s=order_desk.TOO_LATE_S + 5)
    assert "15 s late" in ended(desk, "refused").reason
    assert server.attempts == []


def test_a_late_click_does_not_make_an_unknown_outcome_known(
    desk: OrderDesk, server: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "GIVE_UP_S", PATIENCE_S)
    server.answer_too_late(psycopg.OperationalError("server closed the connection"))
    click(desk)
    unknown = ended(desk, "unknown")
    assert not click(desk, late_s=order_desk.TOO_LATE_S + 5)
    assert desk.ticket == unknown


def test_a_bug_is_told_and_leaves_no_ticket_that_is_sent_for_ever(
    desk: OrderDesk, server: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    server.answers.put(ZeroDivisionError("of ours"))
    click(desk)
    assert ended(desk, "unknown").reason == "of ours"
    wait_until(lambda: told, what="the traceback", timeout_s=10)
    assert told[0].exc_type is ZeroDivisionError


def test_another_region_makes_another_id_that_names_it(desk: OrderDesk) -> None:
    desk.move_to("eu-west-1")
    assert desk.ticket.region == "eu-west-1"
    assert str(desk.ticket.order.order_id)[15:18] == "002"


@pytest.mark.parametrize(("side", "quantity"), [("hold", 1), ("buy", 0), ("sell", 1_000_001)])
def test_what_is_no_order_is_refused(desk: OrderDesk, side: str, quantity: int) -> None:
    with pytest.raises(BadInput):
        click(desk, side=side, quantity=quantity)
    assert desk.ticket.state == "new"
