"""The statement that places an order, for clients that use libpq itself to save microseconds.

What `place_order` does for any connection, taken apart for one that its caller drives: what to
send, and what the result says. It leaves out psycopg's conversions, which cost a client more than
the order.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from labkit.trading.attempts import REFUSALS, SyncWait
from labkit.trading.connection import AnyConnection
from labkit.trading.engines import ORDER_COLUMNS, dialect_of
from labkit.trading.orders import Order

PARAMETERS: Final = ("order_id", "account_nbr", "symbol", "side", "quantity")
UUID_OID, BIGINT_OID, FIND_OUT = 2950, 20, 0
TYPES: Final = (UUID_OID, FIND_OUT, FIND_OUT, FIND_OUT, BIGINT_OID)
"""Of PARAMETERS; those without a type have one in the statement."""

_PRICE, _MOVE, _REFUSAL, _REASON = (
    ORDER_COLUMNS.index(name)
    for name in ("placed_unit_price", "placed_move_nbr", "refusal", "reason")
)


class Placed(NamedTuple):
    """The answer to an order: see `Receipt.move_nbr` and `Receipt.price_cents`."""

    move_nbr: int
    price_cents: int


class OrderStatement:
    """The statement that places orders on one connection, its parameters and its result.

    It watches the connection's notices: by one PostgreSQL says that a commit did not wait for its
    standbys.

    Attributes:
        text: with PARAMETERS as $1 to $5.
    """

    def __init__(self, conn: AnyConnection) -> None:
        dialect = dialect_of(conn)
        self.text = numbered(dialect.place_order)
        self._sync_wait = SyncWait()
        if dialect.warns_of_sync_wait:
            conn.add_notice_handler(self._sync_wait.on_notice)

    def values(self, order: Order) -> tuple[bytes, ...]:
        """Write the parameters of the statement as text."""
        return (
            order.order_id.hex.encode(),
            order.account_nbr.encode(),
            order.symbol.encode(),
            order.side.encode(),
            b"%d" % order.quantity,
        )

    def placed(self, result: PGresult) -> Placed:
        """Read the result of the statement.

        Raises:
            TradingError: the application refused; nothing was written.
            OutcomeUnknown: the server gave up waiting for its standbys. The connection must not be
                used again: the warning stays.
            psycopg.Error: the attempt failed; `reply_of` says what that means.
        """
        if result.status != ExecStatus.TUPLES_OK:
            error = error_from_result(result)
            refusal = REFUSALS.get(error.sqlstate or "")
            if refusal is None:
                raise error
            raise refusal(error.diag.message_primary) from error
        self._sync_wait.check()
        if refused := result.get_value(0, _REFUSAL):
            raise REFUSALS[refused.decode()]((result.get_value(0, _REASON) or b"").decode())
        price, move_nbr = result.get_value(0, _PRICE), result.get_value(0, _MOVE)
        assert price is not None
        assert move_nbr is not None
        return Placed(int(move_nbr), int(price.replace(b".", b"")))


@lru_cache
def numbered(statement: str) -> bytes:
    """Replace psycopg's named placeholders by the numbered ones of libpq."""
    places = {name: f"${number}" for number, name in enumerate(PARAMETERS, 1)}
    text = re.sub(r"%\((\w+)\)s", lambda found: places[found[1]], statement)
    return text.replace("%%", "%").encode()
