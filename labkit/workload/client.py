"""The client that cannot hide an outage: every scheduled order ends as OK, FAIL or INFO.

- Latency counts from the scheduled moment, so waiting for a connection is part of it.
- An order whose answer was lost is sent again under the same id until its deadline.
- OK: it was acknowledged, and is in the ledger before it is counted.
- FAIL: it was certainly not applied. It was never sent, or each attempt was answered with an error
  that rolled it back. A refusal by the application is FAIL, too, unless an attempt before it was
  not answered: that attempt may be delayed, and be applied after the refusal.
- INFO: everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import psycopg

from labkit.errors import LabError
from labkit.record import Op, OpKind, Outcome
from labkit.trading.asking import TYPES, OrderTalk, Placed
from labkit.trading.attempts import Reply
from labkit.trading.orders import Order
from labkit.trading.retries import Fate, Patience
from labkit.workload.connection import Answer, Connection
from labkit.workload.ledger import Ledger
from labkit.workload.overdue import Overdue
from labkit.workload.persist import attempt_failed, persist
from labkit.workload.pool import Pool
from labkit.workload.tasks import Tasks


class TradingClient:
    """A client that places the orders of one region, in one event loop.

    Nearly every order finds an idle connection and is acknowledged at its first attempt. Callbacks
    send and record such an order; an order that needs more gets a task.
    """

    def __init__(
        self,
        region: str,
        pool: Pool,
        patience: Patience,
        ledger: Ledger,
        record: Callable[[Op], None],
    ) -> None:
        self._region = region
        self._pool = pool
        self._patience = patience
        self._ledger = ledger
        self._record = record
        self._overdue = Overdue(patience.attempt_timeout_s)
        self._tasks = Tasks()

    def place(
        self, scheduled_s: float, done: Callable[[], None], *, order: Order, session: int
    ) -> None:
        """Place one order, with retries until its deadline, and record its outcome.

        Args:
            done: called when the outcome is recorded.
            session: the customer's number.
        """
        placing = _Placing(scheduled_s, done, order, session)
        in_time = monotonic() < scheduled_s + self._patience.deadline_s
        conn = self._pool.idle() if in_time else None
        if conn is None:
            self._insist(placing)
        else:
            self._begin(placing, conn)

    def _begin(self, placing: _Placing, conn: Connection) -> None:
        def on_answer(answer: Answer) -> None:
            self._overdue.answered(conn)
            try:
                placed = _placed(conn, answer)
            except (psycopg.Error, LabError) as error:
                self._failed(placing, error, conn)
            else:
                self._pool.give_back(conn)
                placing.fate.succeeded()
                self._ended(placing, placed)

        placing.fate.attempt()
        try:
            talk = _talk(conn)
            conn.ask(talk.statement, talk.values(placing.order), TYPES, on_answer)
        except psycopg.Error as error:
            self._failed(placing, error, conn)
        else:
            self._overdue.asked(conn)

    def _failed(self, placing: _Placing, error: psycopg.Error | LabError, conn: Connection) -> None:
        if attempt_failed(placing.fate, error, self._pool, conn) is Reply.REFUSED:
            self._ended(placing, None)
        else:
            self._insist(placing)

    def _insist(self, placing: _Placing) -> None:
        async def insist() -> None:
            _, placed = await persist(
                self._pool,
                attempt,
                deadline_s=placing.scheduled_s + self._patience.deadline_s,
                attempt_timeout_s=self._patience.attempt_timeout_s,
                fate=placing.fate,
            )
            self._ended(placing, placed)

        async def attempt(conn: Connection) -> Placed:
            talk = _talk(conn)
            return _placed(
                conn, await conn.answer(talk.statement, talk.values(placing.order), TYPES)
            )

        self._tasks.start(insist())

    def _ended(self, placing: _Placing, placed: Placed | None) -> None:
        finished_s = monotonic()
        order, fate = placing.order, placing.fate
        order_id = str(order.order_id)
        if fate.outcome is Outcome.OK:
            self._ledger.acknowledged(order_id)
        self._record(
            Op(
                scheduled_s=placing.scheduled_s,
                sent_s=fate.sent_s,
                finished_s=finished_s,
                region=self._region,
                kind=OpKind.ORDER,
                outcome=fate.outcome,
                order_id=order_id,
                symbol=order.symbol,
                side=order.side.value,
                session=placing.session,
                move_nbr=placed.move_nbr if placed else None,
                price_cents=placed.price_cents if placed else None,
                attempts=fate.attempts,
                sqlstate=fate.sqlstate,
            )
        )
        placing.done()


@dataclass(slots=True)
class _Placing:
    """An order that has no outcome yet."""

    scheduled_s: float
    done: Callable[[], None]
    order: Order
    session: int
    fate: Fate = field(default_factory=Fate)


def _talk(conn: Connection) -> OrderTalk:
    talk = conn.order_talk
    if talk is None:
        talk = conn.order_talk = OrderTalk(conn)
    return talk


def _placed(conn: Connection, answer: Answer) -> Placed:
    if isinstance(answer, psycopg.OperationalError):
        raise answer
    return _talk(conn).placed(answer)
