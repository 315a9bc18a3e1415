"""Differences between the databases that an application connection can lead to.

Nobody is told which engine it is: the connection knows. CockroachDB reports its version as the
parameter `crdb_version` when a session begins (cockroachdb/cockroach pkg/sql/pgwire/conn.go,
statusReportParams); PostgreSQL has no such parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from labkit.assets import asset
from labkit.trading.connection import AnyConnection

ORDER_COLUMNS: Final = (
    "placed_order_nbr",
    "placed_unit_price",
    "placed_move_nbr",
    "was_placed_before",
    "refusal",
    "reason",
)
"""What `Dialect.place_order` returns, one row. `refusal` is one of attempts.REFUSALS or NULL."""


MAX_CONNECTIONS: Final = "SHOW max_connections"
"""How many connections PostgreSQL takes. CockroachDB knows no such limit: it answers -1, or that it
does not know the name."""


@dataclass(frozen=True)
class Dialect:
    """The statements and settings of the trading application for one engine.

    Attributes:
        engine: its name.
        scripts: files of `sql/` that make the schema and its starting data, in this order.
        place_order: the statement that places an order; its parameters are order_id, account_nbr,
            symbol, side and quantity, its row has ORDER_COLUMNS.
        create_account: the statement that opens an account; its parameters are account_id,
            account_nbr, user_id, name, opening_balance, may_short and region, its row says whether
            it had been opened before, and has refusal and reason as above.
        deposit: the statement that makes a deposit; its parameters are deposit_id, account_nbr and
            amount, its row has the balance after it, whether it had been made before, refusal and
            reason.
        fresh_quote: the statement that reads a price and shows nothing that could be undone; its
            parameter is symbol, its row begins with symbol, current_price and moves.
        claim_orders: the statement that takes open orders; its parameters are claim_id, region,
            batch and lease_s, it gives a row with the id of each order taken.
        complete_orders: the statement that executes them; its parameters are claim_id, region and
            order_ids, its row says how many were executed.
        loads_at_once: whether tables can be made in one transaction.
        warns_of_sync_wait: whether a commit that did not wait for the standbys reports success
            with a warning (attempts.SyncWait).
    """

    engine: str
    scripts: tuple[str, ...]
    place_order: str
    create_account: str
    deposit: str
    fresh_quote: str
    claim_orders: str
    complete_orders: str
    loads_at_once: bool
    warns_of_sync_wait: bool


def dialect_of(conn: AnyConnection) -> Dialect:
    """Choose the dialect of the server at the other end; costs no round trip."""
    return COCKROACHDB if conn.info.parameter_status("crdb_version") else POSTGRESQL


def statements(script: str) -> tuple[str, ...]:
    """Split a script into its statements, without comments.

    In it, a semicolon at the end of a line ends a statement, and `--` begins a comment on a line
    of its own.
    """
    code = re.sub(r"^\s*--.*\n", "", script, flags=re.MULTILINE)
    return tuple(part.strip() for part in re.split(r";$", code, flags=re.MULTILINE) if part.strip())


def _only_statement(script: str) -> str:
    [statement] = statements(asset("sql", *script.split("/")).read_text(encoding="utf-8"))
    return statement


POSTGRESQL: Final = Dialect(
    engine="postgresql",
    scripts=(
        "postgresql/schema.sql",
        "postgresql/functions.sql",
        "instruments.sql",
        "postgresql/accounts.sql",
    ),
    # refusals are raised: `sql/postgresql/functions.sql` says which
    place_order=(
        "SELECT placed_order_nbr, placed_unit_price, placed_move_nbr, was_placed_before,"
        " NULL AS refusal, NULL AS reason"
        " FROM place_order(%(order_id)s, %(account_nbr)s, %(symbol)s, %(side)s, %(quantity)s)"
    ),
    create_account=(
        "SELECT was_created_before, NULL AS refusal, NULL AS reason"
        " FROM create_account(%(account_id)s, %(account_nbr)s, %(user_id)s, %(name)s,"
        " %(opening_balance)s, %(may_short)s)"
    ),
    deposit=(
        "SELECT new_balance, was_made_before, NULL AS refusal, NULL AS reason"
        " FROM deposit(%(deposit_id)s, %(account_nbr)s, %(amount)s)"
    ),
    # A commit shows on the primary before a standby has it, once whoever waits for it is gone. The
    # message makes the read's own transaction one that waits for the standbys, and theirs is the
    # log up to there: with it what the read saw. A node that is no primary refuses it.
    fresh_quote=(
        "SELECT symbol, current_price, moves, pg_logical_emit_message(true, 'labkit', 'read')"
        " FROM prices WHERE symbol = %(symbol)s"
    ),
    # one queue for all regions: it is read where it is written, on the primary
    claim_orders=(
        "SELECT claimed_order_id FROM claim_orders(%(claim_id)s, %(batch)s, %(lease_s)s)"
    ),
    complete_orders="SELECT complete_orders(%(claim_id)s, %(order_ids)s)",
    loads_at_once=True,
    warns_of_sync_wait=True,
)

COCKROACHDB: Final = Dialect(
    engine="cockroachdb",
    # accounts.sql last: its last row tells that all is there (schema.loaded)
    scripts=("cockroachdb/schema.sql", "instruments.sql", "cockroachdb/accounts.sql"),
    place_order=_only_statement("cockroachdb/place_order.sql"),
    create_account=_only_statement("cockroachdb/create_account.sql"),
    deposit=_only_statement("cockroachdb/deposit.sql"),
    # what is read at a leaseholder has a majority behind it (place_order.sql, "A retry only reads")
    fresh_quote="SELECT symbol, current_price, moves FROM prices WHERE symbol = %(symbol)s",
    claim_orders=_only_statement("cockroachdb/claim_orders.sql"),
    complete_orders=_only_statement("cockroachdb/complete_orders.sql"),
    loads_at_once=False,
    warns_of_sync_wait=False,
)
