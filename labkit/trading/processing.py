"""The order processor: received -> processing -> processed, each order once.

Two short transactions a batch. The first takes open orders under a claim, the second executes what
is still under that claim. A processor may die before, between and after them:

- Before the first one is committed, the orders are still there to be taken.
- After it, they are the claim's until its lease is over; then the next processor takes them.
- After the second one they are processed, whoever did or did not hear of it.

So an order is executed late at worst, and never twice: the second transaction looks whether its
claim still holds, and the tables have room for one execution an order (`sql/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from labkit.trading.attempts import Rows, attempt, attempt_async
from labkit.trading.engines import dialect_of

BATCH: Final = 100
LEASE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Queue:
    """The orders that a processor works on.

    Attributes:
        region: on CockroachDB it takes orders that live there (labkit.trading.ids); elsewhere
            there is one queue for all regions.
        batch: orders taken at once, at most.
        lease_s: seconds until another processor may take what is not completed. Longer than a
            batch takes even when commits are slow, or processors take from each other in vain.
    """

    region: str
    batch: int = BATCH
    lease_s: float = LEASE_S


@dataclass(frozen=True, slots=True)
class Claim:
    """Orders taken by a processor: its own until the lease is over.

    Attributes:
        order_ids: in no particular order; empty when nothing was due.
    """

    queue: Queue
    claim_id: UUID
    order_ids: tuple[UUID, ...]


def claim_orders(conn: psycopg.Connection[Any], queue: Queue) -> Claim:
    """Take the oldest orders that nobody works on.

    After an error that leaves it unknown whether they were taken nothing has to be done: they are
    due again when the lease is over.

    Args:
        conn: in autocommit mode and outside a transaction.

    Raises:
        OutcomeUnknown: the server gave up waiting for its standbys.
        psycopg.Error: the attempt failed; `attempts.reply_of` says what that means.
    """
    claim_id = uuid4()
    rows = attempt(conn, dialect_of(conn).claim_orders, _claim_arguments(queue, claim_id))
    return _claim(queue, claim_id, rows)


async def claim_orders_async(conn: psycopg.AsyncConnection[Any], queue: Queue) -> Claim:
    """`claim_orders` for an async connection."""
    claim_id = uuid4()
    arguments = _claim_arguments(queue, claim_id)
    return _claim(
        queue, claim_id, await attempt_async(conn, dialect_of(conn).claim_orders, arguments)
    )


def complete_orders(conn: psycopg.Connection[Any], claim: Claim) -> int:
    """Execute the orders of a claim: execution, trade and activity of each, all or none.

    May be repeated: what is processed already, or claimed by another since, is left alone.

    Returns:
        How many orders this call executed.

    Raises:
        OutcomeUnknown: the server gave up waiting for its standbys.
        psycopg.Error: the attempt failed; `attempts.reply_of` says what that means.
    """
    [(completed,)] = attempt(conn, dialect_of(conn).complete_orders, _complete_arguments(claim))
    return int(completed)


async def complete_orders_async(conn: psycopg.AsyncConnection[Any], claim: Claim) -> int:
    """`complete_orders` for an async connection."""
    statement = dialect_of(conn).complete_orders
    [(completed,)] = await attempt_async(conn, statement, _complete_arguments(claim))
    return int(completed)


def _claim_arguments(queue: Queue, claim_id: UUID) -> dict[str, object]:
    return {
        "claim_id": claim_id,
        "region": queue.region,
        "batch": queue.batch,
        "lease_s": queue.lease_s,
    }


def _claim(queue: Queue, claim_id: UUID, rows: Rows) -> Claim:
    return Claim(queue, claim_id, tuple(order_id for (order_id,) in rows))


def _complete_arguments(claim: Claim) -> dict[str, object]:
    return {
        "claim_id": claim.claim_id,
        "region": claim.queue.region,
        "order_ids": list(claim.order_ids),
    }
