"""When a write is attempted again, and what all its attempts prove together.

The one policy of everything that writes: orders, deposits, accounts, the order processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from time import monotonic, sleep
from typing import Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from labkit.errors import LabError, NotReady, OutcomeUnknown
from labkit.record import Outcome
from labkit.trading.attempts import Reply, reply_of, sqlstate_of
from labkit.trading.connection import hanging_up_after

Result = TypeVar("Result")

FIRST_BACKOFF_S: Final = 0.02
LONGEST_BACKOFF_S: Final = 0.5

READ_ONLY: Final = "25006"
"""The SQLSTATE of a node that is not the primary, or not any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the client waits.

    Attributes:
        deadline_s: from a write's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt, the last one too. An attempt cut short
            by the deadline would end as INFO and cost its connection; after an outage, a queue of
            such writes would keep a healthy service down.
    """

    deadline_s: float
    attempt_timeout_s: float


@dataclass(slots=True)
class Fate:
    """What became of one write so far: its attempts under one id, and what they prove.

    Attributes:
        outcome: as it stands now: acknowledged, certainly not applied, or unknown.
        attempts: how many were begun.
        sent_s: when the first of them was, by `time.monotonic`; None when none was.
        sqlstate: of the last error, empty when there was none or the link died.
        refusal: the error that another attempt would meet again.
    """

    outcome: Outcome = Outcome.FAIL
    attempts: int = 0
    sent_s: float | None = None
    sqlstate: str = ""
    refusal: psycopg.Error | LabError | None = None

    def attempt(self) -> None:
        """One more is begun."""
        self.attempts += 1
        if self.sent_s is None:
            self.sent_s = monotonic()

    def succeeded(self) -> None:
        """Record that the attempt was acknowledged."""
        self.outcome, self.sqlstate, self.refusal = Outcome.OK, "", None

    def failed(self, error: psycopg.Error | LabError) -> Reply:
        """Record that the attempt ended with an error, and say what the error proves.

        A refusal does not make an outcome known that was unknown: an attempt before it may be
        stuck on its way and be applied after the refusal.
        """
        reply, self.sqlstate = reply_of(error), sqlstate_of(error)
        if reply is Reply.UNKNOWN:
            self.outcome = Outcome.INFO
        if reply is Reply.REFUSED:
            self.refusal = error
        return reply

    def leaves_the_connection(self, reply: Reply) -> bool:
        """Tell whether the next attempt needs another connection, perhaps to another node."""
        return reply is Reply.UNKNOWN or self.sqlstate == READ_ONLY

    @property
    def backoff_s(self) -> float:
        """Tell how long to wait before the next attempt: longer each time, and never the same."""
        longest_s = min(FIRST_BACKOFF_S * 2.0 ** (self.attempts - 1), LONGEST_BACKOFF_S)
        return longest_s * uniform(0.5, 1.0)

    def check(self, what: str) -> None:
        """For those who want an error rather than an outcome.

        Args:
            what: names the write in the error, such as "deposit".

        Raises:
            LabError, psycopg.Error: the refusal that it met.
            OutcomeUnknown: it may be there or not.
            NotReady: it is certainly not there, and may be tried again at any time.
        """
        tried = f"{what}: {self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        if self.outcome is Outcome.INFO:
            raise OutcomeUnknown(
                f"{tried}, no answer that counts: it may be there or not; "
                "ask again under the same id"
            )
        if self.refusal:
            raise self.refusal
        if self.outcome is Outcome.FAIL:
            raise NotReady(f"{tried}, and no service in time: nothing was written")


def reconnect_pause_s() -> float:
    """Tell how long to wait when there was no connection to be had: never the same."""
    return LONGEST_BACKOFF_S * uniform(0.5, 1.0)


def insist(
    connect: Callable[[], psycopg.Connection[Any]],
    write: Callable[[psycopg.Connection[Any]], Result],
    *,
    deadline_s: float,
    attempt_timeout_s: float,
    fate: Fate | None = None,
) -> tuple[Fate, Result | None]:
    """Attempt a write until it is acknowledged, refused, or its deadline has passed.

    For threads and people; `labkit.workload.persist` does the same in an event loop.

    Args:
        connect: gives a connection in autocommit, the one of the last attempt if it is still open.
            What cannot be used any more is closed here.
        write: one attempt, under the same id each time.
        deadline_s: by `time.monotonic`; no attempt is begun after it.
        attempt_timeout_s: seconds for the answer to one attempt, the last one too.
        fate: of a write whose outcome is not known yet, to go on with it.

    Returns:
        How it ended, and the write's result if it was acknowledged.
    """
    fate = fate or Fate()
    while monotonic() < deadline_s:
        try:
            conn = connect()
        except psycopg.OperationalError:  # nothing was sent
            _pause(reconnect_pause_s(), deadline_s)
            continue
        fate.attempt()
        try:
            with hanging_up_after(conn, attempt_timeout_s):
                result = write(conn)
        except (psycopg.Error, LabError) as error:
            reply = fate.failed(error)
            if fate.leaves_the_connection(reply) or not _ready(conn):
                conn.close()
            if reply is Reply.REFUSED:
                break
            _pause(fate.backoff_s, deadline_s)
        else:
            fate.succeeded()
            return fate, result
    return fate, None


def _pause(pause_s: float, deadline_s: float) -> None:
    sleep(max(0.0, min(pause_s, deadline_s - monotonic())))


def _ready(conn: psycopg.Connection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status is TransactionStatus.IDLE
