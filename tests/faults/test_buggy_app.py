"""The demo's mistakes under load on the real cluster: the checkers must say no."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from buggy_app import trade
from buggy_app.verdict import assert_caught

from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.lab import bring_up
from labkit.trading.audit import final_read
from labkit.trading.catalogue import GENERATED_ACCOUNTS
from labkit.trading.ids import RunId

SYMBOL = "NFLX"
CLIENTS = 6

SAVED = {
    "prices": ("symbol", "current_price, moves", [SYMBOL]),
    "accounts": ("account_nbr", "balance", list(GENERATED_ACCOUNTS[:CLIENTS])),
}


@pytest.fixture
def run(lab: EmbeddedCluster) -> Iterator[RunId]:
    """A run whose orders are taken out again, with the prices and balances that they spoiled."""
    bring_up(lab)
    run = RunId.new()
    with psycopg.connect(lab.dsn(lab.leader().region), autocommit=True) as conn:
        before = {
            table: conn.execute(
                f"SELECT {columns}, {key} FROM {table} WHERE {key} = ANY(%s)",  # noqa: S608
                (names,),
            ).fetchall()
            for table, (key, columns, names) in SAVED.items()
        }
        yield run
        with conn.transaction():
            for table in ("order_activity", "orders"):
                conn.execute(
                    f"DELETE FROM {table} WHERE order_id BETWEEN %s AND %s",  # noqa: S608
                    (run.first, run.last),
                )
            for price, moves, symbol in before["prices"]:
                conn.execute(
                    "UPDATE prices SET current_price = %s, moves = %s WHERE symbol = %s",
                    (price, moves, symbol),
                )
            for row in before["accounts"]:
                conn.execute("UPDATE accounts SET balance = %s WHERE account_nbr = %s", row)


@pytest.mark.cluster
def test_a_client_side_price_and_a_blind_resubmit_are_caught_under_load(
    lab: EmbeddedCluster, run: RunId
) -> None:
    """Clients of all regions order the same symbol, each through its own balancer."""
    regions = lab.topology.region_names
    dsns = [lab.dsn(regions[number % len(regions)]) for number in range(CLIENTS)]
    sold = trade(dsns, run, GENERATED_ACCOUNTS[:CLIENTS], SYMBOL, orders=10)
    assert_caught(sold, final_read(dsns[0], run), SYMBOL)
