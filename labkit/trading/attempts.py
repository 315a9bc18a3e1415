"""One attempt at a write, and what its error says about it.

What is written is named by an id that the client made. So an attempt that got no answer is made
again under the same id, and what is there already is answered, not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from labkit import libpq
from labkit.errors import (
    AccountConflict,
    BadInput,
    DepositConflict,
    InsufficientFunds,
    InsufficientShares,
    LabError,
    OrderConflict,
    OutcomeUnknown,
    PriceFloor,
    UnknownAccount,
    UnknownSymbol,
)
from labkit.trading.connection import AnyConnection
from labkit.trading.engines import dialect_of

REFUSALS: Final[dict[str, type[LabError]]] = {
    "LK001": UnknownAccount,
    "LK002": UnknownSymbol,
    "LK003": InsufficientFunds,
    "LK004": PriceFloor,
    "LK005": OrderConflict,
    "LK006": BadInput,
    "LK007": InsufficientShares,
    "LK008": AccountConflict,
    "LK009": DepositConflict,
}
"""The application's own SQLSTATEs. PostgreSQL raises them; on CockroachDB they are returned."""


class Reply(Enum):
    """The meaning of an attempt's error for what it was to write."""

    REFUSED = auto()
    """Not applied, and the same attempt would be refused again."""
    ROLLED_BACK = auto()
    """Not applied; another attempt may succeed."""
    UNKNOWN = auto()
    """Applied or not. Only another attempt under the same id can tell."""


def reply_of(error: psycopg.Error | LabError) -> Reply:
    """Say what an attempt's error proves about what it was to write.

    An ERROR of the server aborts its transaction, so it proves that nothing was applied; the
    exceptions are listed below. A FATAL error or a lost connection proves nothing: the commit may
    be in the log already.
    """
    if isinstance(error, LabError):
        return Reply.UNKNOWN if isinstance(error, OutcomeUnknown) else Reply.REFUSED
    sqlstate = error.sqlstate or ""
    if sqlstate == libpq.THROTTLED:  # refused before it ran
        return Reply.ROLLED_BACK
    if error.diag.severity_nonlocalized != "ERROR" or sqlstate.startswith(_PROVES_NOTHING):
        return Reply.UNKNOWN
    return Reply.ROLLED_BACK if sqlstate.startswith(_PASSES) else Reply.REFUSED


def sqlstate_of(error: psycopg.Error | LabError) -> str:
    """Find the SQLSTATE behind an attempt's error; empty when the link died."""
    for sqlstate, refusal in REFUSALS.items():
        if type(error) is refusal:
            return sqlstate
    cause = error.__cause__ if isinstance(error, LabError) else error
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


# CockroachDB's own: common-errors.md, v25.4, "result is ambiguous"; cockroachdb/cockroach
# pkg/sql/conn_executor_exec.go, which puts a cancellation in place of any other outcome, and
# pkg/sql/pgwire/pgcode/codes.go
_PROVES_NOTHING = (
    "08",  # connection exception: a gateway lost the node that did the work
    "40003",  # CockroachDB: result is ambiguous
    "57014",  # cancelled; CockroachDB says it in place of what became of a commit under way
    "57P01",  # shutting down
    "57P02",  # crashed
    "58",  # system error; CockroachDB: 58C00 range unavailable, 58C01 link between nodes broken
    "XX",  # internal error
)
_PASSES = (
    "23505",  # another attempt under this id came first; the next one will find its work
    "25006",  # read-only: this node is not the primary, or not any more
    "40",  # serialization failure, deadlock
    "53",  # out of connections, memory or disk
    "55P03",  # lock not available
    "57",  # starting up
)


class SyncWait:
    """Watches one commit for PostgreSQL's warning that it did not wait for the standbys.

    Cancelled or shut down while it waits, PostgreSQL reports success all the same, with a WARNING
    of SQLSTATE 01000 or 57P01 ("canceling wait for synchronous replication"). Its text may be in
    any language, and no other warning is expected here, so the SQLSTATE decides.
    """

    def __init__(self) -> None:
        self._warning = ""

    def on_notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """Take a notice of the connection; to be added as its notice handler."""
        if diagnostic.severity_nonlocalized == "WARNING" and diagnostic.sqlstate in (
            "01000",
            "57P01",
        ):
            self._warning = diagnostic.message_primary or "no text"

    def check(self) -> None:
        """Call it after the commit.

        Raises:
            OutcomeUnknown: the warning came.
        """
        if self._warning:
            raise OutcomeUnknown(f"written on one node only, no standby confirmed: {self._warning}")


@contextmanager
def watch_sync_wait(conn: AnyConnection) -> Iterator[SyncWait]:
    """Watch what is committed in the block, on an engine that may not have waited."""
    waited = SyncWait()
    if not dialect_of(conn).warns_of_sync_wait:
        yield waited
        return
    conn.add_notice_handler(waited.on_notice)
    try:
        yield waited
    finally:
        conn.remove_notice_handler(waited.on_notice)


Rows = list[tuple[Any, ...]]


def attempt(conn: psycopg.Connection[Any], statement: str, arguments: Mapping[str, object]) -> Rows:
    """Run one statement that is a transaction of its own; its success is the commit's.

    Args:
        conn: in autocommit mode and outside a transaction.

    Raises:
        TradingError: the application refused; nothing was written.
        OutcomeUnknown: the server gave up waiting for its standbys.
        BadInput: `conn` is in a transaction, or the application refused a value.
        psycopg.Error: the attempt failed; `reply_of` says what that means.
    """
    # Sent unprepared: preparing costs a round trip of its own, and balancers may give every
    # connection another server. PostgreSQL plans a function's statements once a session all the
    # same.
    with _one_attempt(conn) as waited:
        rows = (
            conn.cursor(row_factory=tuple_row)
            .execute(statement, arguments, prepare=False)
            .fetchall()
        )
        waited.check()
    return rows


async def attempt_async(
    conn: psycopg.AsyncConnection[Any], statement: str, arguments: Mapping[str, object]
) -> Rows:
    """`attempt` for an async connection."""
    with _one_attempt(conn) as waited:
        cursor = conn.cursor(row_factory=tuple_row)
        await cursor.execute(statement, arguments, prepare=False)
        rows = await cursor.fetchall()
        waited.check()
    return rows


def raise_refusal(refusal: str | None, reason: str | None) -> None:
    """Raise what CockroachDB's statements return instead.

    Raises:
        LabError: `refusal` is one of REFUSALS.
    """
    if refusal is not None:
        raise REFUSALS[refusal](reason)


@contextmanager
def _one_attempt(conn: AnyConnection) -> Iterator[SyncWait]:
    if not conn.autocommit or conn.info.transaction_status in (
        TransactionStatus.INTRANS,
        TransactionStatus.INERROR,
    ):
        raise BadInput("a write needs a connection in autocommit, outside a transaction")
    try:
        with watch_sync_wait(conn) as waited:
            yield waited
    except psycopg.Error as error:
        refusal = REFUSALS.get(error.sqlstate or "")
        if refusal is None:
            raise
        raise refusal(error.diag.message_primary) from error
