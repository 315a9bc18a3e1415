"""Consistency across regions: reads of others' orders, and the price after every order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Barrier
from time import perf_counter, sleep
from typing import Any

import pandas as pd
import psycopg

from labkit import libpq
from labkit.cluster.base import Cluster
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.page_price import STEP, page_prices, read_page, write_page
from labkit.trading.quotes import quote

SYMBOL = GENERATED_SYMBOLS[-1]
LOOK_EVERY_S = 0.001

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Reads in one region of orders from another, just after they were acknowledged.

    Attributes:
        fresh_saw: the share of fresh reads, on the primary, that showed the order; anything below
            1 breaks the promise that what was acknowledged is there for everybody.
        fresh_ms: median time of a fresh read; it waits for no standby (`quotes.quote`).
        local_saw: the share of first local reads that showed it.
        local_ms: median time of a local read.
        local_after_ms: median time from the acknowledgement until a local read showed it; NaN
            when one did not in time.
    """

    ordered_in: str
    read_in: str
    fresh_saw: float
    fresh_ms: float
    local_saw: float
    local_ms: float
    local_after_ms: float


@dataclass(frozen=True, slots=True)
class _Look:
    fresh_saw: bool
    fresh_s: float
    local_saw: bool
    local_s: float
    local_after_s: float


def seen_elsewhere(
    cluster: Cluster, *, samples: int = 5, symbol: str = SYMBOL, patience_s: float = 10.0
) -> pd.DataFrame:
    """Order in each region, and read at once in all of them, fresh and from the local replica.

    Args:
        samples: orders of each region; buys and sells take turns.
        patience_s: how long to wait until a local replica shows an order.

    Returns:
        A row for each region of an order and region of a reader, columns as `Seen`.

    Raises:
        psycopg.Error: a region's balancer leads nowhere.
    """
    regions = cluster.topology.region_names
    rows = []
    with ExitStack() as stack:
        fresh = {name: stack.enter_context(_connect(cluster.dsn(name))) for name in regions}
        local = {
            name: stack.enter_context(_connect(cluster.dsn(name, read_only=True)))
            for name in regions
        }
        pool = stack.enter_context(ThreadPoolExecutor(len(regions)))
        for name in regions:  # what a connection does for the first time takes longer
            quote(fresh[name], symbol)
            quote(local[name], symbol)
        for index, ordered_in in enumerate(regions):
            looks: dict[str, list[_Look]] = {name: [] for name in regions}
            for number in range(samples):
                side = Side.SELL if number % 2 else Side.BUY
                account = GENERATED_ACCOUNTS[index]
                order = Order.new(account, symbol, side, 1, region_index=index)
                move_nbr = place_order(fresh[ordered_in], order).move_nbr
                acked_s = perf_counter()
                looking = {
                    name: pool.submit(
                        _look, fresh[name], local[name], symbol, move_nbr, acked_s, patience_s
                    )
                    for name in regions
                }
                for name, look in looking.items():
                    looks[name].append(look.result())
            rows += [_seen(ordered_in, read_in, found) for read_in, found in looks.items()]
    return pd.DataFrame(rows).round(2)


def _look(
    fresh: Connection,
    local: Connection,
    symbol: str,
    move_nbr: int,
    acked_s: float,
    patience_s: float,
) -> _Look:
    """Read the price from the local replica, then fresh: the replica may not have it yet."""
    local_saw, local_s = _saw(local, symbol, move_nbr)
    fresh_saw, fresh_s = _saw(fresh, symbol, move_nbr)
    seen = local_saw
    while not seen and perf_counter() - acked_s < patience_s:
        sleep(LOOK_EVERY_S)
        seen, _ = _saw(local, symbol, move_nbr)
    after_s = perf_counter() - acked_s if seen else float("nan")
    return _Look(fresh_saw, fresh_s, local_saw, local_s, local_s if local_saw else after_s)


def _saw(conn: Connection, symbol: str, move_nbr: int) -> tuple[bool, float]:
    begun_s = perf_counter()
    moves = quote(conn, symbol).moves
    return moves >= move_nbr, perf_counter() - begun_s


def _seen(ordered_in: str, read_in: str, looks: list[_Look]) -> Seen:
    return Seen(
        ordered_in=ordered_in,
        read_in=read_in,
        fresh_saw=sum(look.fresh_saw for look in looks) / len(looks),
        fresh_ms=median(look.fresh_s for look in looks) * 1000,
        local_saw=sum(look.local_saw for look in looks) / len(looks),
        local_ms=median(look.local_s for look in looks) * 1000,
        local_after_ms=median(look.local_after_s for look in looks) * 1000,
    )


def lost_updates(cluster: Cluster, *, orders: int = 30, symbol: str = SYMBOL) -> pd.DataFrame:
    """Let a client in each region buy at the same time, and count the moves that the price kept.

    Once the price is computed by the client from what its page showed, once by the database.

    Args:
        orders: altogether and each time; rounded up to a multiple of the number of regions.

    Returns:
        A row each: "computed by the client", "computed by the database". `orders`, `moved` (by how
        much the price is higher now), `should` (0.10 an order), `lost` (orders that left no trace
        in the price), `took_s`.

    Raises:
        psycopg.Error: a region's balancer leads nowhere.
    """
    regions = cluster.topology.region_names
    each = -(-orders // len(regions))
    with ExitStack() as stack:
        clients = [stack.enter_context(_connect(cluster.dsn(name))) for name in regions]

        def by_client(index: int) -> None:
            shown = read_page(clients[index], symbol)
            write_page(clients[index], symbol, shown + STEP)

        def by_database(index: int) -> None:
            account = GENERATED_ACCOUNTS[index]
            order = Order.new(account, symbol, Side.BUY, 1, region_index=index)
            place_order(clients[index], order)

        with page_prices(clients[0], symbol):
            opening = read_page(clients[0], symbol)
            took_s = _at_once(by_client, len(clients), each)
            moved = read_page(clients[0], symbol) - opening
        rows = [("computed by the client", moved, took_s)]
        opening = quote(clients[0], symbol).price
        took_s = _at_once(by_database, len(clients), each)
        rows.append(("computed by the database", quote(clients[0], symbol).price - opening, took_s))
    total = each * len(regions)
    return pd.DataFrame(
        [
            {
                "price": name,
                "orders": total,
                "should": float(STEP * total),
                "moved": float(moved),
                "lost": total - round(moved / STEP),
                "took_s": round(took_s, 1),
            }
            for name, moved, took_s in rows
        ]
    ).set_index("price")


def _at_once(action: Callable[[int], None], clients: int, each: int) -> float:
    """Each client does it `each` times, all begin together; seconds until the last is done."""
    begin = Barrier(clients)

    def client(index: int) -> None:
        begin.wait()
        for _ in range(each):
            action(index)

    begun_s = perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(client, index) for index in range(clients)]:
            done.result()
    return perf_counter() - begun_s


@contextmanager
def _connect(dsn: str) -> Iterator[Connection]:
    with libpq.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        yield conn
