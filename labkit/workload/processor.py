"""The order processor of a region, beside the region's load."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from time import monotonic

from labkit.trading.processing import Queue, claim_orders_async, complete_orders_async
from labkit.workload.persist import persist
from labkit.workload.pool import Pool

IDLE_S = 0.25
"""Between looking for orders when there were none."""

ATTEMPT_TIMEOUT_S = 2.0

PATIENCE_S = 2.0
"""From the first attempt at a statement until no further one is begun. Then a claim is left to its
lease."""

LAST_CALL_S = 1.0
"""After it was told to end, until it begins no further attempt."""


class Processor:
    """Processes a region's orders batch after batch, on one connection of its own."""

    def __init__(self, pool: Pool, queue: Queue) -> None:
        self._pool = pool
        self._queue = queue
        self._told_to_end = asyncio.Event()
        self._last_call_s = float("inf")

    async def work(self) -> None:
        """Until it was told to end, and nothing is due any more or `LAST_CALL_S` have passed.

        Raises:
            LabError, psycopg.Error: the database refuses in a way that waiting does not cure.
        """
        while True:
            taken = await self._process_batch()
            if self._told_to_end.is_set() and (not taken or monotonic() >= self._last_call_s):
                return
            if not taken:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told_to_end.wait(), IDLE_S)

    def end(self) -> None:
        """Tell it that no further orders come."""
        self._last_call_s = monotonic() + LAST_CALL_S
        self._told_to_end.set()

    async def _process_batch(self) -> int:
        """Take a batch and execute it; how many orders were taken."""
        fate, claim = await persist(
            self._pool,
            partial(claim_orders_async, queue=self._queue),
            deadline_s=self._deadline_s(),
            attempt_timeout_s=ATTEMPT_TIMEOUT_S,
        )
        if claim and claim.order_ids:
            fate, _ = await persist(
                self._pool,
                partial(complete_orders_async, claim=claim),
                deadline_s=self._deadline_s(),
                attempt_timeout_s=ATTEMPT_TIMEOUT_S,
            )
        if fate.refusal:
            raise fate.refusal
        return len(claim.order_ids) if claim else 0

    def _deadline_s(self) -> float:
        return min(monotonic() + PATIENCE_S, self._last_call_s)
