from __future__ import annotations

import re
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from labkit.assets import asset
from labkit.errors import ClusterError, LabMismatch, UnknownSymbol
from labkit.lab import bring_up
from labkit.testing import FakeCluster
from labkit.trading import catalogue, quotes, schema
from labkit.trading.attempts import REFUSALS
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order

pytestmark = pytest.mark.both_engines


TABLES = (
    "trading_schema",
    "users",
    "accounts",
    "deposits",
    "positions",
    "instruments",
    "prices",
    "orders",
    "order_activity",
    "order_processing",
    "trades",
)


def everything(conn: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: sorted(conn.execute(SQL("TABLE {}").format(Identifier(table))).fetchall(), key=repr)
        for table in TABLES
    }


def test_loading_twice_changes_nothing(dsn: str, conn: psycopg.Connection, run: RunId) -> None:
    """Not even prices and balances that have moved since the first time."""
    place_order(conn, Order(run.order_id(0, 0), catalogue.DEMO_ACCOUNT, "AAPL", Side.BUY, 2))
    before = everything(conn)
    schema.load(dsn)
    assert everything(conn) == before


@pytest.mark.parametrize("engine", ["postgresql"])
def test_load_leaves_nothing_behind_when_a_statement_is_refused(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("DROP TABLE trades, order_processing")
        conn.execute("CREATE VIEW trades AS SELECT 1 AS one")
    with pytest.raises(ClusterError, match=r"the trading schema cannot be loaded: .*trades"):
        schema.load(dsn)
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT to_regclass('order_processing')").fetchone() == (None,)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_lab_that_has_the_schema_comes_up_while_orders_are_under_way(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "dsn", lambda region: dsn)
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=1s")
    with psycopg.connect(dsn) as order:
        order.execute("UPDATE accounts SET balance = balance")
        order.execute("LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        bring_up(cluster)
        order.rollback()


@pytest.mark.parametrize(
    ("version", "change"),
    [
        (1, "DROP TABLE trading_schema"),
        (schema.VERSION - 1, "UPDATE trading_schema SET version = version - 1"),
        (schema.VERSION + 1, "UPDATE trading_schema SET version = version + 1"),
    ],
)
def test_a_database_of_another_version_is_refused_in_one_line_and_left_alone(
    dsn: str, conn: psycopg.Connection, version: int, change: LiteralString
) -> None:
    conn.execute(change)
    for use in (schema.load, schema.loaded):
        with pytest.raises(LabMismatch, match=rf"has version {version} .*labkit down --purge"):
            use(dsn)


def test_catalogue_names_what_the_database_holds(conn: psycopg.Connection) -> None:
    for query in ("SELECT symbol FROM instruments", "SELECT symbol FROM prices"):
        symbols = {row[0] for row in conn.execute(query)}
        assert symbols == {*catalogue.LISTED_SYMBOLS, *catalogue.GENERATED_SYMBOLS}
    accounts = {row[0] for row in conn.execute("SELECT account_nbr FROM accounts")}
    assert accounts == {catalogue.DEMO_ACCOUNT, *catalogue.GENERATED_ACCOUNTS}


def test_only_generated_accounts_may_short(conn: psycopg.Connection) -> None:
    rows = conn.execute("SELECT account_nbr FROM accounts WHERE may_short").fetchall()
    assert {nbr for (nbr,) in rows} == set(catalogue.GENERATED_ACCOUNTS)


def test_every_refusal_of_the_functions_has_an_error_and_is_explained() -> None:
    text = asset("sql", "postgresql", "functions.sql").read_text()
    assert set(re.findall(r"ERRCODE = '(\w+)'", text)) == set(REFUSALS)
    assert set(re.findall(r"^--   (\w+)  ", text, re.MULTILINE)) == set(REFUSALS)


def test_listed_instruments_carry_dated_sample_figures(conn: psycopg.Connection) -> None:
    listed = quotes.instruments(conn)
    assert {instrument.symbol for instrument in listed} == set(catalogue.LISTED_SYMBOLS)
    for instrument in listed:
        assert instrument.details["sample"] is True
        assert instrument.details["as_of"] == "2024-05"
    [microsoft] = [i for i in listed if i.symbol == "MSFT"]
    assert microsoft.current_price == Decimal("429.82")
    assert microsoft.details["dividend_yield_percent"] == 0.66
    assert microsoft.details["market_cap"] == "3.20T"


def test_generated_instruments_are_listed_on_request(conn: psycopg.Connection) -> None:
    assert len(quotes.instruments(conn, with_generated=True)) == 309


def test_a_quote_has_the_current_price_and_its_moves(conn: psycopg.Connection, run: RunId) -> None:
    place_order(conn, Order(run.order_id(0, 0), catalogue.DEMO_ACCOUNT, "DIS", Side.BUY, 1))
    assert quotes.quote(conn, "DIS") == quotes.Quote("DIS", Decimal("101.39"), moves=1)


def test_a_quote_of_an_unknown_symbol_is_an_error_that_names_it(conn: psycopg.Connection) -> None:
    with pytest.raises(UnknownSymbol, match="no instrument ACME"):
        quotes.quote(conn, "ACME")
