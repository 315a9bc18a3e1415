"""The order processor of a region, beside the region's load."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from time import monotonic

from labkit.trading.processing import Queue, claim_orders_async, complete_orders_async
from labkit.trading.retries import insist_async
from labkit.workload.pool import Pool

IDLE_S = 0.25
"""A processor that found no order looks again after so many seconds."""

ATTEMPT_TIMEOUT_S = 2.0

PATIENCE_S = 2.0
"""A statement is attempted for so many seconds. After that a claim ends with its lease."""

LAST_CALL_S = 1.0
"""A processor that was told to end begins attempts for so many seconds more."""


class Processor:
    """A processor of a region's orders, batch by batch, on a connection of its own."""

    def __init__(self, pool: Pool, queue: Queue) -> None:
        self._pool = pool
        self._queue = queue
        self._told_to_end = asyncio.Event()
        self._last_call_s = float("inf")

    async def work(self) -> None:
        """Process until told to end, and then until no order is due or `LAST_CALL_S` have passed.

        Raises:
            LabError, psycopg.Error: the database refuses for a reason that does not pass.
        """
        while True:
            taken = await self._process_batch()
            if self._told_to_end.is_set() and (not taken or monotonic() >= self._last_call_s):
                return
            if not taken:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told_to_end.wait(), IDLE_S)

    def end(self) -> None:
        """Tell the processor that no further orders come."""
        self._last_call_s = monotonic() + LAST_CALL_S
        self._told_to_end.set()

    async def _process_batch(self) -> int:
        """Claim a batch and execute it; return how many orders it had."""
        attempts, claim = await insist_async(
            self._pool,
            partial(claim_orders_async, queue=self._queue),
            deadline_s=self._deadline_s(),
            attempt_timeout_s=ATTEMPT_TIMEOUT_S,
        )
        if claim and claim.order_ids:
            attempts, _ = await insist_async(
                self._pool,
                partial(complete_orders_async, claim=claim),
                deadline_s=self._deadline_s(),
                attempt_timeout_s=ATTEMPT_TIMEOUT_S,
            )
        if attempts.refused and attempts.error:
            raise attempts.error
        return len(claim.order_ids) if claim else 0

    def _deadline_s(self) -> float:
        return min(monotonic() + PATIENCE_S, self._last_call_s)
