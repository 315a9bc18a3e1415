"""What labkit can send to CockroachDB parses in its documented grammar, and all of it is checked.

The grammar of v25.4 and its checker are not part of this repository: LABKIT_CRDB_GRAMMAR names
their folder, or it lies at ../shared/crdb beside the repository.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit.topology import DEFAULT
from labkit.trading import audit, engines, page_price, portfolio, quotes, schema
from labkit.trading.statements import sent_to_cockroachdb

REPOSITORY = Path(labkit.__file__).parents[1]
GRAMMAR = Path(os.environ.get("LABKIT_CRDB_GRAMMAR", REPOSITORY.parent / "shared" / "crdb"))

ELSEWHERE = ("cluster/", "cli/prompt.py")
"""Where statements are not the trading application's: each backend answers for its own, and at the
prompt a person types them."""

needs_grammar = pytest.mark.skipif(
    not (GRAMMAR / "check.py").exists(),
    reason=f"no CockroachDB grammar at {GRAMMAR}: set LABKIT_CRDB_GRAMMAR to its folder",
)


def refused(statements: list[str], tmp_path: Path) -> list[str]:
    """The checker's complaints."""
    script = tmp_path / "statements.sql"
    script.write_text("".join(f"{statement.strip()};\n" for statement in statements))
    checked = subprocess.run(
        [sys.executable, GRAMMAR / "check.py", "--psycopg", script],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = checked.stdout.splitlines()
    assert len(lines) == len(statements), checked.stdout + checked.stderr
    return [line for line in lines if not line.startswith("ok: ")]


@needs_grammar
@pytest.mark.parametrize("regions", [("us-west-2", "us-east-1", "eu-west-1"), ("one",)])
def test_every_statement_is_in_the_grammar(tmp_path: Path, regions: tuple[str, ...]) -> None:
    assert refused(list(sent_to_cockroachdb(regions).values()), tmp_path) == []


@needs_grammar
def test_the_checker_refuses_what_only_postgresql_knows(tmp_path: Path) -> None:
    [complaint] = refused(["CREATE TABLE t (a INT) WITH (fillfactor = 50) TABLESPACE x"], tmp_path)
    assert complaint.startswith("NO: ")


# ---- all of it is checked


def executed(tree: ast.AST) -> Iterator[ast.expr]:
    """The first argument of every `.execute(...)` and its like."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("execute", "executemany", "stream")
        ):
            yield node.args[0]


def sources() -> Iterator[Path]:
    package = Path(labkit.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if not path.relative_to(package).as_posix().startswith(ELSEWHERE):
            yield path


COLLECTED = {
    "ACCOUNT",
    "CREATE_PAGES",
    "DROP_PAGES",
    "OPEN_PAGE",
    "READ_PAGE",
    "WRITE_PAGE",
    "INSTRUMENTS",
    "LAST_OF_ALL",
    "MAX_CONNECTIONS",
    "OF_EVERY_VERSION",
    "ORDER_HISTORY",
    "POSITIONS",
    "PRICE_HISTORY",
    "QUOTE",
    "QUOTE_SINCE",
    "STATEMENT_TIMEOUT.format(round(timeout_s * 1000))",
    "VERSION_THERE",
    "WRITE",
    "query",  # audit._frame: ORDERS, INSTRUMENTS, ACCOUNTS
    "statement",  # schema._insist: cockroachdb_statements; attempts.attempt: those of Dialect
    "_text(script)",  # schema.load on PostgreSQL
}
"""How what is sent is written where it is sent; each is collected by sent_to_cockroachdb."""


def test_no_statement_is_sent_that_is_not_collected() -> None:
    """Whoever adds a statement names it, collects it in labkit/trading/statements.py and here."""
    sent = {
        ast.unparse(argument)
        for path in sources()
        for argument in executed(ast.parse(path.read_text(), path))
    }
    assert sent == COLLECTED


def test_every_statement_constant_of_the_application_is_collected() -> None:
    collected = set(sent_to_cockroachdb().values())
    for module in (audit, page_price, portfolio, quotes, schema, engines):
        for name, value in vars(module).items():
            if isinstance(value, str) and name.isupper() and value.strip().split(" ")[0] in VERBS:
                if "{}" in value:
                    assert f"{module.__name__.split('.')[-1]}.{name}" in sent_to_cockroachdb()
                else:
                    assert value in collected, f"{module.__name__}.{name}"


VERBS = {"SELECT", "INSERT", "UPDATE", "DELETE", "UPSERT", "WITH", "SET", "CREATE", "ALTER", "SHOW"}


SINGLE = ("place_order", "create_account", "deposit", "claim_orders", "complete_orders")
"""Fields of a Dialect; on CockroachDB each is a script of one statement."""


def test_every_script_of_cockroachdb_is_loaded_or_placed() -> None:
    folder = REPOSITORY / "sql"
    known = {*engines.COCKROACHDB.scripts, *(f"cockroachdb/{name}.sql" for name in SINGLE)}
    there = {str(path.relative_to(folder)) for path in (folder / "cockroachdb").iterdir()}
    assert there <= known


# ---- what an order writes is never GLOBAL


def test_no_table_that_an_order_writes_is_global() -> None:
    """Its commit would wait until a time in the future has come."""
    localities = dict(
        re.findall(
            r"^CREATE TABLE IF NOT EXISTS (\w+) .*?\) LOCALITY ([^\n]+)$",
            "\n".join(schema.cockroachdb_statements(DEFAULT.region_names)),
            re.MULTILINE | re.DOTALL,
        )
    )
    order = engines.COCKROACHDB.place_order
    written = set(re.findall(r"^\s*(?:UPDATE|INSERT INTO) (\w+)", order, re.MULTILINE))
    assert written == {"accounts", "prices", "positions", "orders", "order_activity"}
    assert len(localities) == 11
    assert localities["instruments"] == "GLOBAL"
    assert localities["prices"] == "REGIONAL BY TABLE IN PRIMARY REGION"
    assert {name for name in written if localities[name] == "GLOBAL"} == set()


# ---- scripts are split into statements


def test_a_script_is_split_at_semicolons_that_end_a_line() -> None:
    script = "-- one; two;\nSELECT 'a; b' -- no\n;\n\n  -- between\nSELECT 2;\n"
    assert engines.statements(script) == ("SELECT 'a; b' -- no", "SELECT 2")


@pytest.mark.parametrize("name", SINGLE)
def test_no_comment_travels_with_a_statement(name: str) -> None:
    statement = getattr(engines.COCKROACHDB, name)
    assert "--" not in statement
    assert statement.startswith("WITH")
