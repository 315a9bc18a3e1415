"""The classes of workloads/ on real clusters, by the stock driver and by labkit's own."""

from __future__ import annotations

from pathlib import Path

import psycopg
from stock import dbworkload

from labkit.assets import asset
from labkit.clock import wait_until
from labkit.cluster.base import Cluster
from labkit.lab import bring_up
from labkit.record import Outcome
from labkit.workload.classes import ClassWorkload


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


def test_labkits_driver_runs_the_same_class_from_every_region(
    real_cluster: Cluster, tmp_path: Path
) -> None:
    bring_up(real_cluster)
    workload = ClassWorkload(
        file=asset("workloads", "trade_orders.py"),
        rate_per_s=15,
        iterations=45,
        deadline_s=20,
        attempt_timeout_s=10,
    )
    with workload.start(real_cluster, tmp_path) as running:
        wait_until(lambda: running.ended, what="the last loop", timeout_s=90)
        ops = running.stop().ops
    placed = ops[ops["kind"] == "place_order"]
    assert placed["region"].value_counts().to_dict() == dict.fromkeys(
        real_cluster.topology.region_names, 15
    )
    assert set(placed["outcome"]) == {Outcome.OK}
