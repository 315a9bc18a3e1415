"""Throughput of fresh and of local reads by a few clients in each region."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import psycopg

from labkit import libpq
from labkit.cluster.base import Cluster
from labkit.measurement.percentiles import nearest_rank
from labkit.trading.quotes import quote


def read_rates(
    cluster: Cluster, *, clients: int = 4, for_s: float = 2.0, symbol: str = "AAPL"
) -> pd.DataFrame:
    """Let clients read one price again and again, each asking when its last answer is there.

    All regions read at the same time, first fresh ones, then local ones. That is a closed loop: it
    finds how much gets through, not how long an outage would be. The clients are threads of this
    process, so on a small machine they are what limits local reads, not the replicas.

    Args:
        clients: a region.
        for_s: seconds for each kind.

    Returns:
        A row a region and kind: `reads_per_s`, `p50_ms`. "fresh" is read on the primary and waits
        for no standby (`quotes.quote`), "local" on a replica in the region.

    Raises:
        psycopg.Error: a region's balancer leads nowhere.
    """
    rows = []
    for kind in ("fresh", "local"):
        with ExitStack() as stack:
            conns = [
                (
                    region,
                    stack.enter_context(_connect(cluster.dsn(region, read_only=kind == "local"))),
                )
                for region in cluster.topology.region_names
                for _ in range(clients)
            ]
            begin = Barrier(len(conns))
            pool = stack.enter_context(ThreadPoolExecutor(len(conns)))
            reading = [
                (region, pool.submit(_read, conn, symbol, begin, for_s)) for region, conn in conns
            ]
            times: dict[str, list[float]] = {name: [] for name in cluster.topology.region_names}
            for region, done in reading:
                times[region] += done.result()
        rows += [
            {
                "region": region,
                "kind": kind,
                "reads_per_s": round(len(took_s) / for_s),
                "p50_ms": round(nearest_rank(np.array(took_s), 50) * 1000, 2),
            }
            for region, took_s in times.items()
        ]
    return pd.DataFrame(rows).set_index(["region", "kind"]).sort_index(sort_remaining=False)


def _read(conn: psycopg.Connection[Any], symbol: str, begin: Barrier, for_s: float) -> list[float]:
    quote(conn, symbol)
    begin.wait()
    took_s = []
    until_s = perf_counter() + for_s
    while (begun_s := perf_counter()) < until_s:
        quote(conn, symbol)
        took_s.append(perf_counter() - begun_s)
    return took_s


@contextmanager
def _connect(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with libpq.connect(dsn, autocommit=True, prepare_threshold=None) as conn:
        yield conn
