"""What only CockroachDB's statements do; on a double (cockroachdb_double.py)."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import cast
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from labkit.errors import ClusterError
from labkit.topology import DEFAULT
from labkit.trading import engines, schema
from labkit.trading.catalogue import DEMO_ACCOUNT, GENERATED_ACCOUNTS
from labkit.trading.connection import AnyConnection
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Receipt, Side, place_order

from . import cockroachdb_double
from .placing import balance, counts, place, price
from .plain_server import Server

REGIONS = DEFAULT.region_names
PRIMARY = REGIONS[0]


@pytest.fixture
def engine() -> str:
    return "cockroachdb"


def through(server: Server, conn: psycopg.Connection, region: str) -> str:
    """The dsn of the test's database through the gateway of that region."""
    return cockroachdb_double.with_options(server.dsn(conn.info.dbname), region)


def homes(conn: psycopg.Connection, table: str) -> dict[UUID, str]:
    query = SQL("SELECT order_id, crdb_region FROM {}").format(Identifier(table))
    return dict(conn.execute(query).fetchall())


# ---- which engine it is


@pytest.mark.parametrize(
    ("version", "expected"),
    [("CockroachDB CCL v25.4.10", engines.COCKROACHDB), (None, engines.POSTGRESQL)],
)
def test_the_connection_tells_its_engine(version: str | None, expected: engines.Dialect) -> None:
    reported = {"crdb_version": version}
    conn = SimpleNamespace(info=SimpleNamespace(parameter_status=reported.get))
    assert engines.dialect_of(cast("AnyConnection", conn)) is expected


def test_a_real_postgresql_is_taken_for_one(server: Server) -> None:
    with psycopg.connect(server.dsn("template_trade")) as conn:
        assert engines.dialect_of(conn) is engines.POSTGRESQL


# ---- where rows live


@pytest.mark.parametrize("gateway", REGIONS)
def test_an_order_lives_where_its_id_was_made_whichever_gateway_it_came_through(
    server: Server, conn: psycopg.Connection, run: RunId, gateway: str
) -> None:
    workers = [*range(len(REGIONS)), len(REGIONS), 4095]
    with psycopg.connect(through(server, conn, gateway), autocommit=True) as sending:
        for worker in workers:
            place_order(sending, Order(run.order_id(worker, 7), DEMO_ACCOUNT, "DIS", Side.BUY, 1))
    expected = {
        run.order_id(worker, 7): REGIONS[worker] if worker < len(REGIONS) else PRIMARY
        for worker in workers
    }
    assert homes(conn, "orders") == expected
    assert homes(conn, "order_activity") == expected


@pytest.mark.parametrize("region", REGIONS)
def test_a_persons_order_lives_in_the_persons_region(
    server: Server, conn: psycopg.Connection, region: str
) -> None:
    order = Order.new(DEMO_ACCOUNT, "DIS", Side.BUY, 1, region_index=REGIONS.index(region))
    with psycopg.connect(through(server, conn, region), autocommit=True) as sending:
        place_order(sending, order)
    assert homes(conn, "orders") == homes(conn, "order_activity") == {order.order_id: region}


def test_accounts_live_with_the_clients_that_trade_them(conn: psycopg.Connection) -> None:
    """The share of each client is what TradingWorkload gives it: every third, from its number."""
    for number, region in enumerate(REGIONS):
        found = conn.execute(
            "SELECT account_nbr FROM accounts JOIN users USING (user_id, crdb_region)"
            " WHERE crdb_region = %s ORDER BY account_nbr",
            (region,),
        ).fetchall()
        share = set(GENERATED_ACCOUNTS[number :: len(REGIONS)])
        assert {row[0] for row in found} == share | ({DEMO_ACCOUNT} if region == PRIMARY else set())


def test_one_region_is_enough(server: Server) -> None:
    server.admin("CREATE DATABASE crdb_one_region")
    cockroachdb_double.load(server.dsn("crdb_one_region"), ("here",))
    with psycopg.connect(server.dsn("crdb_one_region")) as conn:
        found = conn.execute("SELECT crdb_region, count(*) FROM accounts GROUP BY 1").fetchall()
    assert found == [("here", 301)]


# ---- an order through several regions at once


def test_an_order_sent_through_all_regions_at_once_is_placed_once(
    server: Server, conn: psycopg.Connection, run: RunId
) -> None:
    for round_nbr in range(5):
        order = Order(run.order_id(round_nbr % 3, round_nbr), DEMO_ACCOUNT, "AAPL", Side.BUY, 1)
        before = price(conn, "AAPL"), balance(conn)

        def send(attempt: int, order: Order = order) -> Receipt:
            gateway = through(server, conn, REGIONS[attempt % len(REGIONS)])
            with psycopg.connect(gateway, autocommit=True) as sending:
                return place(sending, order)

        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(send, range(8)))
        assert Counter(receipt.retried for receipt in receipts) == {False: 1, True: 7}
        assert len({replace(receipt, retried=False) for receipt in receipts}) == 1
        assert price(conn, "AAPL") == before[0] + Decimal("0.10")
        assert balance(conn) == before[1] - before[0]
        assert counts(conn) == (round_nbr + 1, round_nbr + 1)


@pytest.mark.usefixtures("demo_may_short")
def test_a_retry_through_another_region_writes_nothing(
    server: Server, conn: psycopg.Connection, run: RunId
) -> None:
    order = Order(run.order_id(1, 0), DEMO_ACCOUNT, "AAPL", Side.SELL, 2)
    first = place_order(conn, order)
    query = "SELECT o.xmin, a.xmin, p.xmin FROM orders o, accounts a, prices p WHERE"
    query += " a.account_nbr = o.account_nbr AND p.symbol = o.symbol"
    before = conn.execute(query).fetchall()
    with psycopg.connect(through(server, conn, REGIONS[2]), autocommit=True) as sending:
        assert place_order(sending, order) == replace(first, retried=True)
    assert conn.execute(query).fetchall() == before


# ---- loading, one statement after the other


def test_a_load_that_broke_off_is_not_loaded_and_is_finished_by_the_next(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{cockroachdb_double.PREFIX}broken"
    server.admin(f"CREATE DATABASE {name}")
    with psycopg.connect(server.dsn(name)) as conn:
        conn.execute(cockroachdb_double.BUILTINS)
    cockroachdb_double.speak(monkeypatch)
    dsn = cockroachdb_double.with_options(server.dsn(name))
    whole = schema.cockroachdb_statements
    assert not schema.loaded(dsn)

    monkeypatch.setattr(
        schema, "cockroachdb_statements", lambda regions: (*whole(regions)[:-1], "SELECT broken")
    )
    with pytest.raises(ClusterError, match=r"the trading schema cannot be loaded: .*broken"):
        schema.load(dsn)
    assert not schema.loaded(dsn)

    monkeypatch.setattr(schema, "cockroachdb_statements", whole)
    schema.load(dsn)
    assert schema.loaded(dsn)


def test_loading_insists_when_the_database_asks_for_another_attempt(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = "DO $$ BEGIN IF nextval('refusals') < {} THEN RAISE SQLSTATE '40001'; END IF; END $$"
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE SEQUENCE refusals")

    def refused(times: int) -> None:
        monkeypatch.setattr(
            schema, "cockroachdb_statements", lambda _: (refusing.format(times + 1),)
        )
        with psycopg.connect(dsn) as conn:
            conn.execute("ALTER SEQUENCE refusals RESTART")

    refused(schema.ATTEMPTS - 1)
    schema.load(dsn)
    refused(schema.ATTEMPTS)
    with pytest.raises(ClusterError, match="the trading schema cannot be loaded"):
        schema.load(dsn)
