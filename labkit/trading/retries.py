"""The rules by which a write is attempted again, and what its attempts prove together.

Everything that writes uses it: orders, deposits, accounts, the order processor. `insist` is for
threads and people, `insist_async` for the clients of a load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import uniform
from time import monotonic, sleep
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from labkit.errors import LabError, NotReady, OutcomeUnknown
from labkit.record import Outcome
from labkit.trading.attempts import Reply, reply_of, sqlstate_of
from labkit.trading.connection import hanging_up_after, hanging_up_after_async

Result = TypeVar("Result")
Conn = TypeVar("Conn", bound=psycopg.AsyncConnection[Any])

FIRST_BACKOFF_S: Final = 0.02
LONGEST_BACKOFF_S: Final = 0.5

READ_ONLY: Final = "25006"
"""The SQLSTATE of a node that is not the primary, or not any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The times that a client waits.

    Attributes:
        deadline_s: from a write's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt, the last one too. An attempt cut short
            by the deadline would end as INFO and cost its connection; after an outage, a queue of
            such writes would keep a healthy service down.
    """

    deadline_s: float
    attempt_timeout_s: float


@dataclass(slots=True)
class Attempts:
    """The attempts at one write under one id, and what they prove together.

    Attributes:
        outcome: as it stands now: acknowledged, certainly not applied, or unknown.
        count: how many attempts were begun.
        sent_s: the time of the first attempt by `time.monotonic`; None if none was begun.
        sqlstate: of the last attempt's error; empty if there was none or the link died.
        error: the last error, also one of connecting; None after an acknowledgement.
        refused: whether another attempt would meet that error again.
    """

    outcome: Outcome = Outcome.FAIL
    count: int = 0
    sent_s: float | None = None
    sqlstate: str = ""
    error: psycopg.Error | LabError | None = None
    refused: bool = False

    def begin(self) -> None:
        """Count an attempt that begins now."""
        self.count += 1
        if self.sent_s is None:
            self.sent_s = monotonic()

    def succeeded(self) -> None:
        """Record that the attempt was acknowledged."""
        self.outcome, self.sqlstate, self.error, self.refused = Outcome.OK, "", None, False

    def failed(self, error: psycopg.Error | LabError) -> Reply:
        """Record that the attempt ended with an error, and return what the error proves.

        A refusal does not make an outcome known that was unknown: an attempt before it may be
        stuck on its way and be applied after the refusal.
        """
        reply = reply_of(error)
        self.error, self.sqlstate = error, sqlstate_of(error)
        self.refused = reply is Reply.REFUSED
        if reply is Reply.UNKNOWN:
            self.outcome = Outcome.INFO
        return reply

    @property
    def needs_another_connection(self) -> bool:
        """Whether the next attempt needs another connection, perhaps to another node."""
        assert self.error
        return reply_of(self.error) is Reply.UNKNOWN or self.sqlstate == READ_ONLY

    @property
    def backoff_s(self) -> float:
        """The pause before the next attempt in seconds: longer each time, and never the same."""
        longest_s = min(FIRST_BACKOFF_S * 2.0 ** (self.count - 1), LONGEST_BACKOFF_S)
        return longest_s * uniform(0.5, 1.0)

    def check(self, what: str) -> None:
        """Raise an error unless the write was acknowledged.

        Args:
            what: names the write in the error, such as "deposit".

        Raises:
            LabError, psycopg.Error: the write was refused.
            OutcomeUnknown: the write may have been applied or not.
            NotReady: the write was certainly not applied. It may be tried again at any time.
        """
        tried = f"{what}: {self.count} attempt{'' if self.count == 1 else 's'}"
        if self.outcome is Outcome.INFO:
            raise OutcomeUnknown(
                f"{tried}, no answer that counts: it may be there or not; "
                "ask again under the same id"
            )
        if self.refused and self.error:
            raise self.error
        if self.outcome is Outcome.FAIL:
            raise NotReady(f"{tried}, and no service in time: nothing was written")


def insist(
    connect: Callable[[], psycopg.Connection[Any]],
    write: Callable[[psycopg.Connection[Any]], Result],
    *,
    deadline_s: float,
    attempt_timeout_s: float,
    attempts: Attempts | None = None,
    on_attempt: Callable[[], None] = lambda: None,
) -> tuple[Attempts, Result | None]:
    """Attempt a write until it is acknowledged, refused, or its deadline has passed.

    Args:
        connect: returns a connection in autocommit mode, the one of the last attempt if it is
            still open. A connection that cannot be used again is closed here.
        write: makes one attempt, under the same id each time.
        deadline_s: the time of `time.monotonic` after which no attempt is begun.
        attempt_timeout_s: seconds for the answer to one attempt, the last one too.
        attempts: earlier attempts at the same write, if its outcome is not known yet.
        on_attempt: called when an attempt begins.

    Returns:
        The attempts, and the result of the write if it was acknowledged.
    """
    attempts = attempts or Attempts()
    while monotonic() < deadline_s:
        try:
            conn = connect()
        except psycopg.OperationalError as error:  # nothing was sent
            attempts.error = error
            pause_s = LONGEST_BACKOFF_S * uniform(0.5, 1.0)
        else:
            attempts.begin()
            on_attempt()
            try:
                with hanging_up_after(conn, attempt_timeout_s):
                    result = write(conn)
            except (psycopg.Error, LabError) as error:
                reply = attempts.failed(error)
                if attempts.needs_another_connection or not _ready(conn):
                    conn.close()
                if reply is Reply.REFUSED:
                    break
                pause_s = attempts.backoff_s
            else:
                attempts.succeeded()
                return attempts, result
        sleep(max(0.0, min(pause_s, deadline_s - monotonic())))
    return attempts, None


class Leases(Protocol[Conn]):
    """A pool of connections. It waits before it connects again, so its users need not."""

    async def lease(self, timeout_s: float) -> Conn | None:
        """Wait for an idle connection, and take it; None if the time is up."""
        ...

    def give_back(self, conn: Conn) -> None:
        """Return a connection that can be used again."""
        ...

    def discard(self, conn: Conn) -> None:
        """Close a connection and have it replaced."""
        ...


async def insist_async(
    pool: Leases[Conn],
    write: Callable[[Conn], Awaitable[Result]],
    *,
    deadline_s: float,
    attempt_timeout_s: float,
) -> tuple[Attempts, Result | None]:
    """Do the same as `insist` in an event loop, on the connections of a pool."""
    attempts = Attempts()
    while conn := await pool.lease(deadline_s - monotonic()):
        attempts.begin()
        try:
            with hanging_up_after_async(conn, attempt_timeout_s):
                result = await write(conn)
        except (psycopg.Error, LabError) as error:
            reply = attempts.failed(error)
            if attempts.needs_another_connection or conn.closed:
                pool.discard(conn)
            else:
                pool.give_back(conn)
            if reply is Reply.REFUSED:
                break
            await asyncio.sleep(max(0.0, min(attempts.backoff_s, deadline_s - monotonic())))
        else:
            pool.give_back(conn)
            attempts.succeeded()
            return attempts, result
    return attempts, None


def _ready(conn: psycopg.Connection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status is TransactionStatus.IDLE
