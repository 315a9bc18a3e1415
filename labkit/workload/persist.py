"""A write that is retried on the connections of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import psycopg

from labkit.errors import LabError
from labkit.trading.attempts import Reply
from labkit.trading.connection import hanging_up_after_async
from labkit.trading.retries import Fate
from labkit.workload.connection import Connection
from labkit.workload.pool import Pool

Result = TypeVar("Result")


async def persist(
    pool: Pool,
    write: Callable[[Connection], Awaitable[Result]],
    *,
    deadline_s: float,
    attempt_timeout_s: float,
    fate: Fate | None = None,
) -> tuple[Fate, Result | None]:
    """Attempt a write until it is acknowledged, refused, or its deadline has passed.

    Args:
        write: makes one attempt, under the same id each time.
        deadline_s: the time of `time.monotonic` after which no attempt is begun.
        attempt_timeout_s: seconds for the answer to one attempt, the last one too.
        fate: the state of a write that was attempted before and goes on.

    Returns:
        The state of the write at its end, and its result if it was acknowledged.
    """
    fate = fate or Fate()
    while True:
        if fate.attempts:
            await asyncio.sleep(min(fate.backoff_s, deadline_s - monotonic()))
        conn = await pool.lease(deadline_s - monotonic())
        if conn is None:
            return fate, None
        fate.attempt()
        try:
            with hanging_up_after_async(conn, attempt_timeout_s):
                result = await write(conn)
        except (psycopg.Error, LabError) as error:
            if attempt_failed(fate, error, pool, conn) is Reply.REFUSED:
                return fate, None
        else:
            pool.give_back(conn)
            fate.succeeded()
            return fate, result


def attempt_failed(
    fate: Fate, error: psycopg.Error | LabError, pool: Pool, conn: Connection
) -> Reply:
    """Record the error of an attempt, end its lease, and return what the error proves."""
    reply = fate.failed(error)
    if conn.closed or fate.leaves_the_connection(reply):
        pool.discard(conn)
    else:
        pool.give_back(conn)
    return reply
