"""How long the lab takes, what it weighs, what a commit costs, and how long a node loss lasts.

    python -m bench.lab

Everything is measured on a lab of its own, on free ports, removed at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import psutil
from rich.console import Console
from rich.table import Table

from labkit.cluster.base import Cluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.demo import temporary_lab
from labkit.faults.signals import Kill
from labkit.measurement.felt import felt_latency
from labkit.run.experiment import Experiment
from labkit.topology import SurvivalGoal
from labkit.verdict.steady import SteadyState
from labkit.workload.trading import TradingWorkload

WARM_STARTS = 3
IDLE_S = 20.0
TRIALS = 5


@dataclass(frozen=True, slots=True)
class Number:
    """One measured number and what it should be."""

    what: str
    unit: str
    value: float
    at_most: float
    detail: str = ""


def took_s(action: Callable[[], object]) -> float:
    begun_s = monotonic()
    action()
    return monotonic() - begun_s


def starts(lab: EmbeddedCluster, cold_s: float) -> Iterator[Number]:
    yield Number("cold up, trading schema included", "s", cold_s, 20)
    times = []
    for _ in range(WARM_STARTS):
        lab.stop()
        times.append(took_s(lab.start))
    detail = "each " + ", ".join(f"{time_s:.1f}" for time_s in times)
    yield Number("warm up, median", "s", median(times), 12, detail)


def weight(lab: EmbeddedCluster) -> Iterator[Number]:
    """Memory shared between processes is counted once (PSS)."""
    sleep(10)  # until the start has died down
    processes = [psutil.Process(pid) for pid in lab.pids()]
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    sleep(IDLE_S)
    busy_s = sum(sum(process.cpu_times()[:2]) for process in processes) - before
    pss = sum(process.memory_full_info().pss for process in processes)
    yield Number("whole lab", "MB PSS", pss / 2**20, 700, f"{len(processes)} processes")
    yield Number("idle", "% of a core", 100 * busy_s / IDLE_S, 30)


def latencies(lab: EmbeddedCluster) -> Iterator[Number]:
    home = lab.leader().region
    rtt_ms = min(lab.topology.rtt_ms(home, r) for r in lab.topology.region_names if r != home)
    for goal, at_most in ((SurvivalGoal.REGION, rtt_ms + 6), (SurvivalGoal.ZONE, 8)):
        lab.set_survival_goal(goal)
        felt = felt_latency(lab, samples=50).set_index("region")
        elsewhere = ", ".join(
            f"{r} {felt.order_ms[r]:.0f}" for r in lab.topology.region_names if r != home
        )
        yield Number(
            f"order p50 in the primary's region, {goal} survival",
            "ms",
            felt.order_ms[home],
            at_most,
            elsewhere,
        )
        if goal is SurvivalGoal.REGION:
            yield Number("replica read p50, slowest region", "ms", felt.local_read_ms.max(), 2)
    lab.set_survival_goal(SurvivalGoal.REGION)


def node_losses(lab: Cluster) -> Iterator[Number]:
    """SIGKILL of the primary and its Patroni, again and again, on whatever node it is."""
    gaps, lost, doubled, unsound = [], 0, 0, 0
    for _ in range(TRIALS):
        with tempfile.TemporaryDirectory() as folder:
            result = Experiment(
                lab,
                TradingWorkload(rate_per_s=60),
                steady=SteadyState(p99_ms=1000),
                fault=Kill(lab.leader()),
                hold_s=15,
                folder=Path(folder),
                say=lambda _line: None,
            ).run()
        rows = [row for row in result.summary.recovery if row.region == "all regions"]
        gaps.append(rows[0].write_gap_s)
        counts = {finding.checker: finding.count for finding in result.findings}
        lost += counts["lost_acks"]
        doubled += counts["duplicates"]
        unsound += result.verdict != "pass"
    detail = "each " + ", ".join(f"{gap_s:.1f}" for gap_s in gaps)
    yield Number(f"node loss: write gap, worst of {TRIALS}", "s", max(gaps), 8, detail)
    yield Number(f"node loss: acknowledged orders lost in {TRIALS}", "", lost, 0)
    yield Number(f"node loss: orders doubled in {TRIALS}", "", doubled, 0)
    yield Number(f"node loss: verdicts that were not a pass in {TRIALS}", "", unsound, 0)


def table(numbers: Iterator[Number], title: str = "The lab") -> Table:
    shown = Table(title=title, title_justify="left")
    for column in ("what", "measured", "goal", "", "detail"):
        shown.add_column(column, justify="right" if column in ("measured", "goal") else "left")
    for number in numbers:
        kept = "[green]kept[/]" if number.value <= number.at_most else "[red]missed[/]"
        shown.add_row(
            number.what,
            f"{number.value:.3g} {number.unit}",
            f"{number.at_most:g}",
            kept,
            number.detail,
        )
    return shown


def main() -> None:
    def numbers() -> Iterator[Number]:
        begun_s = monotonic()
        with temporary_lab() as cluster:
            assert isinstance(cluster, EmbeddedCluster)
            yield from starts(cluster, monotonic() - begun_s)
            yield from weight(cluster)
            yield from latencies(cluster)
            yield from node_losses(cluster)

    Console().print(table(numbers()))


if __name__ == "__main__":
    main()
