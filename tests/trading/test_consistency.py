"""What clients in several regions see: lost moves, fresh and local reads, how many of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from labkit.measurement.consistency import lost_updates, seen_elsewhere
from labkit.measurement.reads import read_rates
from labkit.topology import DEFAULT, Topology
from labkit.trading.page_price import STEP, page_prices, read_page, write_page


@dataclass
class OneServer:
    """A cluster whose regions all lead to one server."""

    address: str
    topology: Topology = DEFAULT

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        return self.address


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def mine(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def test_two_clients_that_saw_the_same_page_leave_one_move(
    mine: psycopg.Connection, other: psycopg.Connection
) -> None:
    with page_prices(mine, "AAPL"):
        opening = read_page(mine, "AAPL")
        shown_here, shown_there = read_page(mine, "AAPL"), read_page(other, "AAPL")
        write_page(mine, "AAPL", shown_here + STEP)
        write_page(other, "AAPL", shown_there + STEP)
        assert read_page(mine, "AAPL") == opening + STEP


def test_the_table_of_pages_is_gone_afterwards(mine: psycopg.Connection) -> None:
    with page_prices(mine, "AAPL"):
        pass
    with pytest.raises(psycopg.errors.UndefinedTable):
        read_page(mine, "AAPL")


def test_the_database_loses_no_move_of_clients_that_buy_at_once(dsn: str) -> None:
    moves = lost_updates(OneServer(dsn), orders=31)
    ours = moves.loc["computed by the database"]
    assert (ours["orders"], ours["lost"]) == (33, 0)
    assert ours["moved"] == pytest.approx(ours["should"])
    theirs = moves.loc["computed by the client"]
    assert theirs["lost"] == theirs["orders"] - round(theirs["moved"] / float(STEP))


def test_every_read_of_one_server_shows_what_was_acknowledged(dsn: str) -> None:
    seen = seen_elsewhere(OneServer(dsn), samples=2)
    assert len(seen) == 9
    assert (seen["fresh_saw"] == 1).all()
    assert (seen["local_saw"] == 1).all()


def test_reads_are_counted_in_each_region_fresh_and_local(dsn: str) -> None:
    rates = read_rates(OneServer(dsn), clients=2, for_s=0.3)
    assert set(rates.index) == {
        (region, kind) for region in DEFAULT.region_names for kind in ("fresh", "local")
    }
    assert (rates["reads_per_s"] > 0).all()
    assert (rates["p50_ms"] > 0).all()
