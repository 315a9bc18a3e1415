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

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from time import monotonic

import psycopg

from labkit.errors import LabError
from labkit.trading.connection import hang_up
from labkit.trading.orders import Order, Receipt, Reply, place_order_async, reply_of, sqlstate_of
from labkit.workload.ledger import Ledger
from labkit.workload.oplog import FinishedOp, OutcomeName
from labkit.workload.pool import Connection, Pool

FIRST_BACKOFF_S = 0.02
LONGEST_BACKOFF_S = 0.5

READ_ONLY = "25006"
"""The SQLSTATE of a node that is not the primary, or not any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the client waits.

    Attributes:
        deadline_s: from an order's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt, the last one too. An attempt cut short
            by the deadline would end as INFO and cost its connection; after an outage, a queue of
            such orders would keep a healthy service down.
    """

    deadline_s: float
    attempt_timeout_s: float


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
        deadline_s = scheduled_s + self._patience.deadline_s
        outcome: OutcomeName = "fail"
        sent_s: float | None = None
        attempts = 0
        sqlstate = ""
        receipt: Receipt | None = None
        while conn := await self._pool.lease(deadline_s - monotonic()):
            attempts += 1
            sent_s = sent_s or monotonic()
            try:
                receipt = await self._attempt(conn, order)
            except (psycopg.Error, LabError) as error:
                reply, sqlstate = reply_of(error), sqlstate_of(error)
                if conn.closed or reply is Reply.UNKNOWN or sqlstate == READ_ONLY:
                    self._pool.discard(conn)
                else:
                    self._pool.give_back(conn)
                if reply is Reply.UNKNOWN:
                    outcome = "info"
                if reply is Reply.REFUSED:
                    break
                await asyncio.sleep(min(_backoff_s(attempts), deadline_s - monotonic()))
            else:
                self._pool.give_back(conn)
                outcome, sqlstate = "ok", ""
                break
        finished_s = monotonic()
        if outcome == "ok":
            self._ledger.acknowledged(order.order_id)
        self._record(
            FinishedOp(
                scheduled_s=scheduled_s,
                sent_s=sent_s,
                finished_s=finished_s,
                region=self._region,
                kind="order",
                outcome=outcome,
                order_id=str(order.order_id),
                symbol=order.symbol,
                side=order.side.value,
                session=session,
                move_nbr=receipt.move_nbr if receipt else None,
                price_cents=receipt.price_cents if receipt else None,
                attempts=attempts,
                sqlstate=sqlstate,
            )
        )

    async def _attempt(self, conn: Connection, order: Order) -> Receipt:
        # not asyncio.timeout: on cancellation psycopg cancels the statement, and a cancelled
        # commit reports success
        timer = asyncio.get_running_loop().call_later(
            self._patience.attempt_timeout_s, hang_up, conn
        )
        try:
            return await place_order_async(conn, order)
        finally:
            timer.cancel()


def _backoff_s(attempts: int) -> float:
    return min(FIRST_BACKOFF_S * 2.0 ** (attempts - 1), LONGEST_BACKOFF_S) * uniform(0.5, 1.0)
