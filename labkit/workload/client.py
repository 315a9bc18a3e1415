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
from time import monotonic

from labkit.record import Op, OpKind, Outcome
from labkit.trading.order_statement import TYPES, OrderStatement, Placed
from labkit.trading.orders import Order
from labkit.trading.retries import Patience, insist_async
from labkit.workload.connection import Connection
from labkit.workload.ledger import Ledger
from labkit.workload.pool import Pool


class TradingClient:
    """A client that places the orders of one region, in one event loop."""

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

    async def place(self, scheduled_s: float, *, order: Order, session: int) -> None:
        """Place one order, with retries until its deadline, and record its outcome.

        Args:
            session: the customer's number.
        """

        async def attempt(conn: Connection) -> Placed:
            statement = conn.order_statement
            if statement is None:
                statement = conn.order_statement = OrderStatement(conn)
            return statement.placed(
                await conn.answer(statement.text, statement.values(order), TYPES)
            )

        attempts, placed = await insist_async(
            self._pool,
            attempt,
            deadline_s=scheduled_s + self._patience.deadline_s,
            attempt_timeout_s=self._patience.attempt_timeout_s,
        )
        finished_s = monotonic()
        order_id = str(order.order_id)
        if attempts.outcome is Outcome.OK:
            self._ledger.acknowledged(order_id)
        self._record(
            Op(
                scheduled_s=scheduled_s,
                sent_s=attempts.sent_s,
                finished_s=finished_s,
                region=self._region,
                kind=OpKind.ORDER,
                outcome=attempts.outcome,
                order_id=order_id,
                symbol=order.symbol,
                side=order.side.value,
                session=session,
                move_nbr=placed.move_nbr if placed else None,
                price_cents=placed.price_cents if placed else None,
                attempts=attempts.count,
                sqlstate=attempts.sqlstate,
            )
        )
