"""The client that cannot hide an outage: every scheduled order ends as OK, FAIL or INFO.

- Latency counts from the scheduled moment, so waiting for a connection is part of it.
- An order whose answer was lost is sent again under the same id until its deadline.
- OK: acknowledged, and in the ledger before it is counted.
- FAIL: certainly not applied. It was never sent, or each attempt was answered with an error that
  rolled it back. Also a refusal by the application, unless an attempt before it went unanswered:
  that one may be stuck on its way and be applied after the refusal.
- INFO: everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from labkit.trading.asking import TYPES, OrderTalk, Placed
from labkit.trading.orders import Order
from labkit.trading.retries import Patience
from labkit.workload.connection import Connection
from labkit.workload.ledger import Ledger
from labkit.workload.oplog import FinishedOp
from labkit.workload.persist import persist
from labkit.workload.pool import Pool


class TradingClient:
    """Places the orders of one region."""

    def __init__(
        self,
        region: str,
        pool: Pool,
        patience: Patience,
        ledger: Ledger,
        record: Callable[[FinishedOp], None],
    ) -> None:
        self._region = region
        self._pool = pool
        self._patience = patience
        self._ledger = ledger
        self._record = record

    async def place(self, scheduled_s: float, order: Order, *, session: int) -> None:
        """Place one order, whatever it takes until its deadline, and record how it ended.

        Args:
            session: the customer's number.
        """
        fate, placed = await persist(
            self._pool,
            partial(_attempt, order=order),
            deadline_s=scheduled_s + self._patience.deadline_s,
            attempt_timeout_s=self._patience.attempt_timeout_s,
        )
        finished_s = monotonic()
        order_id = str(order.order_id)
        if fate.outcome == "ok":
            self._ledger.acknowledged(order_id)
        self._record(
            FinishedOp(
                scheduled_s=scheduled_s,
                sent_s=fate.sent_s,
                finished_s=finished_s,
                region=self._region,
                kind="order",
                outcome=fate.outcome,
                order_id=order_id,
                symbol=order.symbol,
                side=order.side.value,
                session=session,
                move_nbr=placed.move_nbr if placed else None,
                price_cents=placed.price_cents if placed else None,
                attempts=fate.attempts,
                sqlstate=fate.sqlstate,
            )
        )


async def _attempt(conn: Connection, order: Order) -> Placed:
    talk = conn.order_talk
    if talk is None:
        talk = conn.order_talk = OrderTalk(conn)
    return talk.placed(await conn.ask(talk.statement, talk.values(order), TYPES))
