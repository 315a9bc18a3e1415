"""Loading the trading application into a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from string import Template
from typing import Any, Final

import psycopg

from labkit import libpq
from labkit.assets import asset
from labkit.errors import ClusterError, LabMismatch
from labkit.topology import DEFAULT
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.engines import COCKROACHDB, dialect_of, statements

VERSION: Final = 4
"""Of the tables and functions, which a load leaves in the database. Raised with every change to
`sql/` that a database of an older load could not serve."""

ATTEMPTS = 5
"""At one statement, when the database asks for another attempt."""


def load(dsn: str, regions: Sequence[str] = DEFAULT.region_names) -> None:
    """Create tables, functions and starting data in a database.

    Idempotent: what is there already stays as it is, prices and balances included. Everything
    belongs to the role that `dsn` connects as; give the role the application uses.

    PostgreSQL takes all in one transaction. CockroachDB takes one statement after the other, as
    its documentation advises (online-schema-changes.md, v25.4: no full atomicity for schema changes
    in an explicit transaction). So there a load that failed leaves tables behind;
    load again, it goes on from there. `loaded` asks for what comes last.

    Args:
        regions: the topology's, in its order. Used on CockroachDB, whose database must have these
            regions already, the first as its primary region.

    Raises:
        LabMismatch: the database holds another version of the schema.
        ClusterError: the database cannot be reached or refused a statement.
    """
    try:
        with libpq.connect(dsn, connect_timeout=10, autocommit=True) as conn:
            _refuse_other_versions(conn)
            dialect = dialect_of(conn)
            if dialect.loads_at_once:
                with conn.transaction():
                    for script in dialect.scripts:
                        conn.execute(_text(script))
            else:
                for statement in cockroachdb_statements(regions):
                    _insist(conn, statement)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise ClusterError(
            f"the trading schema cannot be loaded: {said}; repeat the command, it goes on where it "
            "ended, or begin afresh after `labkit down --purge`"
        ) from error


def loaded(dsn: str) -> bool:
    """Tell whether `load` has been here and came to its end.

    Raises:
        LabMismatch: the database holds another version of the schema.
        ClusterError: the database cannot be reached.
    """
    try:
        with libpq.connect(dsn, connect_timeout=10, autocommit=True) as conn:
            _refuse_other_versions(conn)
            return conn.execute(LAST_OF_ALL, (DEMO_ACCOUNT,)).fetchone() is not None
    except psycopg.errors.UndefinedTable:
        return False
    except psycopg.Error as error:
        raise ClusterError(f"the database cannot be asked for its schema: {error}") from error


def _refuse_other_versions(conn: psycopg.Connection[Any]) -> None:
    found = _version(conn)
    if found not in (None, VERSION):
        raise LabMismatch(
            f"the database has version {found} of the trading schema, this labkit works with "
            f"version {VERSION}: `labkit down --purge`, then `labkit up` makes it anew"
        )


def _version(conn: psycopg.Connection[Any]) -> int | None:
    """None: there is no schema."""
    with suppress(psycopg.errors.UndefinedTable):
        row = conn.execute(VERSION_THERE).fetchone()
        return int(row[0]) if row else None
    with suppress(psycopg.errors.UndefinedTable):
        conn.execute(OF_EVERY_VERSION)
        return 1  # it kept no number
    return None


VERSION_THERE: Final = "SELECT version FROM trading_schema"
OF_EVERY_VERSION: Final = "SELECT 1 FROM accounts LIMIT 1"
LAST_OF_ALL: Final = "SELECT 1 FROM accounts WHERE account_nbr = %s"
"""The demo account is the last row of each engine's last script."""


def cockroachdb_statements(regions: Sequence[str]) -> tuple[str, ...]:
    """List what `load` sends to CockroachDB, one by one; the regions are filled in.

    Args:
        regions: the topology's, in its order.
    """
    names = _names(regions)
    return tuple(
        Template(statement).substitute(names)
        for script in COCKROACHDB.scripts
        for statement in statements(_text(script))
    )


def _text(script: str) -> str:
    return asset("sql", *script.split("/")).read_text(encoding="utf-8")


def _names(regions: Sequence[str]) -> dict[str, str]:
    quoted = ["'" + region.replace("'", "''") + "'" for region in regions]
    return {
        "regions": f"ARRAY[{', '.join(quoted)}]",
        "home_of_order": _home(quoted, "order_id"),
        "home_of_deposit": _home(quoted, "deposit_id"),
    }


def _home(quoted: Sequence[str], column: str) -> str:
    """Write SQL for the region that an id names in its hexadecimal digits 16 to 18 (ids.py)."""
    others = [f"WHEN '{number:03x}' THEN {name}" for number, name in enumerate(quoted) if number]
    if not others:
        return quoted[0]
    return " ".join([f"CASE substring({column}::TEXT, 16, 3)", *others, "ELSE", quoted[0], "END"])


def _insist(conn: psycopg.Connection[Any], statement: str) -> None:
    """Run a statement, again if the database asks for it (40001)."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            conn.execute(statement)
        except psycopg.errors.SerializationFailure:
            if attempt == ATTEMPTS:
                raise
        else:
            return
