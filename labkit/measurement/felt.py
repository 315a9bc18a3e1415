"""The distance between regions in a client's statements: a few per region, timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter

import pandas as pd

from labkit import libpq
from labkit.cluster.base import Cluster
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.quotes import quote

DEMO_ACCOUNT = "0005821112"


@dataclass(frozen=True, slots=True)
class Felt:
    """Medians of one region, milliseconds.

    Attributes:
        connect_ms: opening a connection through the region's balancer.
        order_ms: placing an order: one round trip to the primary, and the commit's wait.
        fresh_read_ms: a price from the primary (`quotes.quote`): the way there and back. It does
            not wait for standbys, as the fresh reads of a workload do (`quotes.fresh_quote`).
        local_read_ms: a price from a replica in the region, possibly a little old.
    """

    region: str
    connect_ms: float
    order_ms: float
    fresh_read_ms: float
    local_read_ms: float


def felt_latency(cluster: Cluster, *, samples: int = 10, symbol: str = "AAPL") -> pd.DataFrame:
    """Place orders and read prices from every region, one after the other.

    Buys and sells alternate, so the price and the demo account end about where they were.

    Args:
        samples: statements of each kind a region.

    Returns:
        A row a region, columns as `Felt`.

    Raises:
        psycopg.Error: a region's balancer leads nowhere.
    """
    run = RunId.new()
    rows = []
    for worker, region in enumerate(cluster.topology.region_names):
        begun_s = perf_counter()
        with libpq.connect(cluster.dsn(region), autocommit=True) as fresh:
            connect_ms = (perf_counter() - begun_s) * 1000

            orders = [
                Order(
                    run.order_id(worker, number),
                    DEMO_ACCOUNT,
                    symbol,
                    Side.SELL if number % 2 else Side.BUY,
                    quantity=1,
                )
                for number in range(samples + 1)
            ]
            order_ms = _median_ms([partial(place_order, fresh, order) for order in orders])
            fresh_ms = _median_ms([partial(quote, fresh, symbol)] * (samples + 1))
        with libpq.connect(cluster.dsn(region, read_only=True), autocommit=True) as local:
            local_ms = _median_ms([partial(quote, local, symbol)] * (samples + 1))
        rows.append(Felt(region, connect_ms, order_ms, fresh_ms, local_ms))
    return pd.DataFrame(rows)


def _median_ms(actions: Sequence[Callable[[], object]]) -> float:
    """Time actions; the first does not count, because it may still have something to prepare."""
    times = []
    for action in actions:
        begun_s = perf_counter()
        action()
        times.append((perf_counter() - begun_s) * 1000)
    return median(times[1:])
