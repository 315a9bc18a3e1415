"""The stock driver on real clusters, through a region's balancer."""

from __future__ import annotations

from pathlib import Path

import psycopg
from stock import dbworkload

from labkit.cluster.base import Cluster
from labkit.lab import bring_up


def test_the_stock_program_runs_for_its_time(real_cluster: Cluster, tmp_path: Path) -> None:
    bring_up(real_cluster)
    region = real_cluster.topology.region_names[1]
    dsn = real_cluster.dsn(region)
    with psycopg.connect(dsn, autocommit=True) as conn:
        before = conn.execute("SELECT count(*) FROM orders").fetchone()
        said = dbworkload("trade_orders", dsn, tmp_path, "-c", "4", "-d", "6")
        after = conn.execute("SELECT count(*) FROM orders").fetchone()
    assert "place_order" in said
    assert "error" not in said.lower()
    assert before
    assert after
    assert after[0] - before[0] >= 4
