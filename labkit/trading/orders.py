"""Placing an order: one statement, one round trip, one transaction.

The price, the balance check and the money are the database's work: a function on PostgreSQL
(`sql/postgresql/functions.sql`), a statement on CockroachDB (`sql/cockroachdb/place_order.sql`).
The client only says what it wants, under an id it made. When no answer comes, it asks again under
the same id: an order that is there already is answered, not placed again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from labkit.errors import (
    BadInput,
    InsufficientFunds,
    LabError,
    OrderConflict,
    OutcomeUnknown,
    PriceFloor,
    UnknownAccount,
    UnknownSymbol,
)
from labkit.trading.connection import AnyConnection
from labkit.trading.engines import dialect_of
from labkit.trading.ids import SEQUENCE_BITS, RunId

MAX_QUANTITY: Final = 1_000_000

REFUSALS: Final[dict[str, type[LabError]]] = {
    "LK001": UnknownAccount,
    "LK002": UnknownSymbol,
    "LK003": InsufficientFunds,
    "LK004": PriceFloor,
    "LK005": OrderConflict,
    "LK006": BadInput,
}
"""The application's own SQLSTATEs. PostgreSQL raises them; on CockroachDB they are returned."""


def cents(amount: Decimal) -> int:
    """An amount of money as whole cents, which is what DECIMAL(20,2) holds."""
    return int(amount * 100)


class Side(StrEnum):
    """What the account does."""

    BUY = "buy"
    SELL = "sell"


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants.

    Attributes:
        order_id: made by the client before the first attempt (labkit.trading.ids).
        quantity: shares, 1 to 1,000,000.

    Raises:
        BadInput: the quantity is outside that range.
    """

    order_id: UUID
    account_nbr: str
    symbol: str
    side: Side
    quantity: int

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MAX_QUANTITY:
            raise BadInput(
                f"quantity {self.quantity} refused: an order has 1 to {MAX_QUANTITY:,} shares"
            )

    @classmethod
    def new(
        cls, account_nbr: str, symbol: str, side: Side, quantity: int, *, region_index: int = 0
    ) -> Order:
        """An order of a person at a keyboard, under a fresh id.

        Args:
            region_index: the person's region, by its place in the topology. CockroachDB keeps the
                order there (labkit.trading.ids); elsewhere it makes no difference.

        Raises:
            BadInput: the quantity is outside its range.
            ValueError: `region_index` is negative, or has more than 12 bits.
        """
        sequence = secrets.randbits(SEQUENCE_BITS)
        order_id = RunId.new().order_id(worker=region_index, sequence=sequence)
        return cls(order_id, account_nbr, symbol, side, quantity)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The database's word that an order is placed.

    Attributes:
        order_nbr: the number people use.
        unit_price: the price before this order moved it.
        move_nbr: this order's place among those that moved the symbol's price; the first is 1.
        amount: unit price times quantity; debited on a buy, credited on a sell.
        retried: an earlier attempt had placed it; this is that attempt's result.
    """

    order_id: UUID
    order_nbr: int
    unit_price: Decimal
    amount: Decimal
    move_nbr: int
    retried: bool

    @property
    def price_cents(self) -> int:
        """The unit price in cents."""
        return cents(self.unit_price)


class Reply(Enum):
    """What an attempt's error says about the order."""

    REFUSED = auto()
    """Not applied, and the same attempt would be refused again."""
    ROLLED_BACK = auto()
    """Not applied; another attempt may succeed."""
    UNKNOWN = auto()
    """Applied or not. Only another attempt under the same id can tell."""


def reply_of(error: psycopg.Error | LabError) -> Reply:
    """What an error of `place_order` says about the order.

    An ERROR of the server aborts its transaction, so it proves that nothing was applied; the
    exceptions are listed below. A FATAL error or a lost connection proves nothing: the commit may
    be in the log already.
    """
    if isinstance(error, LabError):
        return Reply.UNKNOWN if isinstance(error, OutcomeUnknown) else Reply.REFUSED
    sqlstate = error.sqlstate or ""
    if error.diag.severity_nonlocalized != "ERROR" or sqlstate.startswith(_PROVES_NOTHING):
        return Reply.UNKNOWN
    return Reply.ROLLED_BACK if sqlstate.startswith(_PASSES) else Reply.REFUSED


def sqlstate_of(error: psycopg.Error | LabError) -> str:
    """The SQLSTATE behind an error of `place_order`, empty when the link died."""
    for sqlstate, refusal in REFUSALS.items():
        if type(error) is refusal:
            return sqlstate
    cause = error.__cause__ if isinstance(error, LabError) else error
    return (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""


_PROVES_NOTHING = (
    "08",  # connection exception: a gateway lost the node that did the work
    "40003",  # CockroachDB: result is ambiguous (common-errors.md, v25.4)
    "57014",  # cancelled; CockroachDB says it in place of what became of a commit under way
    "57P01",  # shutting down
    "57P02",  # crashed
    "58",  # system error; CockroachDB: 58C00 range unavailable, 58C01 link between nodes broken
    "XX",  # internal error
)
_PASSES = (
    "23505",  # another attempt under this id came first; the next one will find its order
    "25006",  # read-only: this node is not the primary, or not any more
    "40",  # serialization failure, deadlock
    "53",  # out of connections, memory or disk
    "55P03",  # lock not available
    "57",  # starting up
)


def place_order(conn: psycopg.Connection[Any], order: Order) -> Receipt:
    """Place an order, or learn how an earlier attempt under its id ended.

    Args:
        conn: in autocommit mode and outside a transaction, so that success is the commit's.

    Raises:
        TradingError: the application refused; nothing was written.
        OutcomeUnknown: the server gave up waiting for its standbys.
        BadInput: `conn` is in a transaction.
        psycopg.Error: the attempt failed; `reply_of` says what that means.
    """
    with _one_attempt(conn) as waited:
        row = conn.execute(_statement(conn), _arguments(order), prepare=False).fetchone()
        waited.check()
    return _receipt(order, row)


async def place_order_async(conn: psycopg.AsyncConnection[Any], order: Order) -> Receipt:
    """`place_order` for an async connection."""
    with _one_attempt(conn) as waited:
        cursor = await conn.execute(_statement(conn), _arguments(order), prepare=False)
        row = await cursor.fetchone()
        waited.check()
    return _receipt(order, row)


def _statement(conn: AnyConnection) -> str:
    # Sent unprepared: preparing costs a round trip of its own, and balancers may give every
    # connection another server. PostgreSQL plans the function's statements once a session all the
    # same.
    return dialect_of(conn).place_order


def _arguments(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "account_nbr": order.account_nbr,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": order.quantity,
    }


def _receipt(order: Order, row: tuple[Any, ...] | None) -> Receipt:
    assert row is not None
    order_nbr, unit_price, move_nbr, retried, refusal, reason = row
    if refusal is not None:
        raise REFUSALS[refusal](reason)
    amount = unit_price * order.quantity
    return Receipt(order.order_id, order_nbr, unit_price, amount, move_nbr, retried)


class SyncWait:
    """Watches one commit for PostgreSQL's warning that it did not wait for the standbys.

    Cancelled or shut down while it waits, PostgreSQL reports success all the same, with a WARNING
    of SQLSTATE 01000 or 57P01 ("canceling wait for synchronous replication"). Its text may be in
    any language, and no other warning is expected here, so the SQLSTATE decides.
    """

    def __init__(self) -> None:
        self._warning = ""

    def on_notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        """A notice handler for the connection."""
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


@contextmanager
def _one_attempt(conn: AnyConnection) -> Iterator[SyncWait]:
    if not conn.autocommit or conn.info.transaction_status in (
        TransactionStatus.INTRANS,
        TransactionStatus.INERROR,
    ):
        raise BadInput("place_order: needs a connection in autocommit, outside a transaction")
    try:
        with watch_sync_wait(conn) as waited:
            yield waited
    except psycopg.Error as error:
        refusal = REFUSALS.get(error.sqlstate or "")
        if refusal is None:
            raise
        raise refusal(error.diag.message_primary) from error
