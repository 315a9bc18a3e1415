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


@dataclass(slots=True)
class Fate:
    """What became of one operation so far: its attempts under one id, and what they prove.

    Attributes:
        outcome: as it stands now.
        sent_s: when the first attempt was begun; None when none was.
        sqlstate: of the last error, empty when there was none or the link died.
    """

    outcome: OutcomeName = "fail"
    attempts: int = 0
    sent_s: float | None = None
    sqlstate: str = ""

    def attempt(self) -> None:
        """One more is begun."""
        self.attempts += 1
        if self.sent_s is None:
            self.sent_s = monotonic()

    def succeeded(self) -> None:
        """The attempt was acknowledged."""
        self.outcome, self.sqlstate = "ok", ""

    def failed(self, error: psycopg.Error | LabError) -> Reply:
        """The attempt ended with an error; say what it proves."""
        reply, self.sqlstate = reply_of(error), sqlstate_of(error)
        if reply is Reply.UNKNOWN:
            self.outcome = "info"
        return reply

    def leaves_the_connection(self, reply: Reply) -> bool:
        """Whether the next attempt needs another connection, perhaps to another node."""
        return reply is Reply.UNKNOWN or self.sqlstate == READ_ONLY

    @property
    def backoff_s(self) -> float:
        """How long to wait before the next attempt: longer each time, and never the same."""
        longest_s = min(FIRST_BACKOFF_S * 2.0 ** (self.attempts - 1), LONGEST_BACKOFF_S)
        return longest_s * uniform(0.5, 1.0)


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
        fate = Fate()
        receipt: Receipt | None = None
        while conn := await self._pool.lease(deadline_s - monotonic()):
            fate.attempt()
            try:
                receipt = await self._attempt(conn, order)
            except (psycopg.Error, LabError) as error:
                reply = fate.failed(error)
                if conn.closed or fate.leaves_the_connection(reply):
                    self._pool.discard(conn)
                else:
                    self._pool.give_back(conn)
                if reply is Reply.REFUSED:
                    break
                await asyncio.sleep(min(fate.backoff_s, deadline_s - monotonic()))
            else:
                self._pool.give_back(conn)
                fate.succeeded()
                break
        finished_s = monotonic()
        if fate.outcome == "ok":
            self._ledger.acknowledged(order.order_id)
        self._record(
            FinishedOp(
                scheduled_s=scheduled_s,
                sent_s=fate.sent_s,
                finished_s=finished_s,
                region=self._region,
                kind="order",
                outcome=fate.outcome,
                order_id=str(order.order_id),
                symbol=order.symbol,
                side=order.side.value,
                session=session,
                move_nbr=receipt.move_nbr if receipt else None,
                price_cents=receipt.price_cents if receipt else None,
                attempts=fate.attempts,
                sqlstate=fate.sqlstate,
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
