"""CockroachDB's statements on PostgreSQL: a test double, good for their logic alone.

What tests on it show: the statements' results, refusals, arithmetic and idempotence, and that
transactions which PostgreSQL runs as SERIALIZABLE, each begun again on 40001, leave prices and
money exact.

What they do not show: anything about CockroachDB's own planner, locks, retries, regions, GLOBAL
tables, latencies or types. `LOCALITY` is cut out, indexes inside CREATE TABLE are made after it, a
region is plain text, the gateway's region is a setting of the session, unique_rowid() is a
sequence, and the application is told that it speaks to CockroachDB by patching the function that
asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

import psycopg
import pytest

from labkit.topology import DEFAULT
from labkit.trading import (
    accounts,
    attempts,
    engines,
    order_statement,
    orders,
    processing,
    quotes,
    schema,
)
from labkit.trading.connection import AnyConnection

PREFIX = "crdb_"
"""Databases whose names begin so are spoken to as CockroachDB."""

BUILTINS = """
CREATE DOMAIN crdb_internal_region AS TEXT;
CREATE SEQUENCE rowids;
CREATE FUNCTION unique_rowid() RETURNS BIGINT LANGUAGE SQL AS $$ SELECT nextval('rowids') $$;
CREATE FUNCTION gateway_region() RETURNS TEXT LANGUAGE SQL AS $$
    SELECT current_setting('double.gateway_region')
$$;
CREATE FUNCTION default_to_database_primary_region(TEXT) RETURNS TEXT LANGUAGE SQL AS $$
    SELECT $1
$$;
"""


def translated(statement: str) -> str:
    """A statement of CockroachDB's schema as PostgreSQL takes it: an index is one of its own."""
    index = re.compile(r",\n\s+INDEX (\w+) (\([^)]*\)(?: STORING \([^)]*\))?(?: WHERE [^\n,]+)?)")
    created = re.match(r"CREATE TABLE IF NOT EXISTS (\w+)", statement)
    indexes = [
        f"CREATE INDEX IF NOT EXISTS {name} ON {created.group(1)} {rest}".replace(
            " STORING ", " INCLUDE "
        )
        for name, rest in index.findall(statement)
        if created
    ]
    table = re.sub(r"\) LOCALITY [A-Z ]+(crdb_region)?$", ")", index.sub("", statement))
    return ";\n".join([table, *indexes])


def with_options(dsn: str, gateway_region: str = "us-west-2") -> str:
    """The dsn of a session through a gateway in that region."""
    options = (
        f"-c default_transaction_isolation=serializable -c double.gateway_region={gateway_region}"
    )
    return f"{dsn}&options={quote(options)}"


def speak(patch: pytest.MonkeyPatch) -> None:
    """Let the application take databases named with PREFIX for CockroachDB's."""
    real, statements = engines.dialect_of, schema.cockroachdb_statements

    def dialect_of(conn: AnyConnection) -> engines.Dialect:
        return engines.COCKROACHDB if conn.info.dbname.startswith(PREFIX) else real(conn)

    def cockroachdb_statements(regions: Sequence[str]) -> tuple[str, ...]:
        return tuple(translated(statement) for statement in statements(regions))

    for module in (accounts, order_statement, attempts, orders, processing, quotes, schema):
        patch.setattr(module, "dialect_of", dialect_of)
    patch.setattr(schema, "cockroachdb_statements", cockroachdb_statements)


def load(dsn: str, regions: Sequence[str] = DEFAULT.region_names) -> None:
    """Make the application's tables in a fresh database whose name begins with PREFIX."""
    with psycopg.connect(dsn) as conn:
        conn.execute(BUILTINS)
    with pytest.MonkeyPatch.context() as patch:
        speak(patch)
        schema.load(with_options(dsn), regions)
