"""Loading the trading application into a database."""

from __future__ import annotations

import psycopg

from labkit.assets import asset
from labkit.errors import ClusterError

SCRIPTS = ("postgresql/schema.sql", "postgresql/functions.sql", "instruments.sql", "postgresql/accounts.sql")


def load(dsn: str) -> None:
    """Create tables, functions and starting data in a PostgreSQL database, in one transaction.

    Idempotent: what is there already stays as it is, prices and balances included. Everything
    belongs to the role that `dsn` connects as; give the role the application uses.

    Raises:
        ClusterError: the database cannot be reached or refused a statement; nothing was loaded.
    """
    folder = asset("sql")
    try:
        with psycopg.connect(dsn, connect_timeout=10) as conn:
            for script in SCRIPTS:
                conn.execute((folder / script).read_bytes())
    except psycopg.Error as error:
        raise ClusterError(f"the trading schema cannot be loaded: {error}") from error


def loaded(dsn: str) -> bool:
    """Whether `load` has been here; it loads all or nothing, so one table tells.

    Raises:
        ClusterError: the database cannot be reached.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10) as conn:
            row = conn.execute("SELECT to_regclass('public.instruments') IS NOT NULL").fetchone()
    except psycopg.Error as error:
        raise ClusterError(f"the database cannot be asked for its schema: {error}") from error
    return row == (True,)
