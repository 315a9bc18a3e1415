"""What the load itself costs: CPU of all worker processes together, per 200 orders a second.

    python -m bench.client_cost                      # on a lab of its own
    python -m bench.client_cost REGION=URL ...       # on any lab: libpq URLs of its balancers

The workers should stay small beside nine database nodes on the same machine.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import monotonic, sleep

import psutil
from rich.console import Console
from rich.table import Table

from labkit.demo import temporary_lab
from labkit.topology import Topology
from labkit.workload.base import Balancers
from labkit.workload.running import RunningWorkload
from labkit.workload.trading import TradingWorkload

RATE_PER_S = 200.0
WARM_UP_S = 3.0
MEASURED_S = 20.0
AT_MOST_PERCENT = 40.0


@dataclass(frozen=True, slots=True)
class ClientCost:
    """What was measured.

    Attributes:
        cpu_percent: of one core, all workers together.
        ended_per_s: orders a second that ended, however.
        memory_mb: resident, all workers together.
    """

    cpu_percent: float
    ended_per_s: float
    memory_mb: float

    @property
    def cpu_percent_at_rate(self) -> float:
        """Scaled to `RATE_PER_S` orders a second."""
        return self.cpu_percent * RATE_PER_S / self.ended_per_s


@dataclass(frozen=True, slots=True)
class Urls:
    """A lab known by its balancers' URLs."""

    by_region: dict[str, str]

    @property
    def topology(self) -> Topology:
        regions = list(self.by_region)
        links = [{"between": pair, "rtt_ms": 0} for pair in combinations(regions, 2)]
        return Topology.model_validate(
            {"region": [{"name": name} for name in regions], "link": links, "survive": "none"}
        )

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        return self.by_region[region]


def measure(cluster: Balancers) -> ClientCost:
    workload = TradingWorkload(rate_per_s=RATE_PER_S, process=False, reads_per_order=0)
    with (
        tempfile.TemporaryDirectory() as folder,
        workload.start(cluster, Path(folder)) as running,
    ):
        workers = [psutil.Process(pid) for pid in running.pids.values()]
        ended_within(running, WARM_UP_S)
        begun_s, busy_before_s = monotonic(), cpu_s(workers)
        ended = ended_within(running, MEASURED_S)
        took_s = monotonic() - begun_s
        busy_s = cpu_s(workers) - busy_before_s
        memory = sum(worker.memory_info().rss for worker in workers)
        running.stop()
    return ClientCost(100 * busy_s / took_s, ended / took_s, memory / 1e6)


def ended_within(running: RunningWorkload, span_s: float) -> int:
    ended = 0
    until_s = monotonic() + span_s
    while monotonic() < until_s:
        sleep(0.5)
        running.check()
        ended += len(running.poll())
    return ended


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def main(*urls: str) -> None:
    by_region = dict(url.split("=", 1) for url in urls)
    lab: AbstractContextManager[Balancers] = (
        nullcontext(Urls(by_region)) if urls else temporary_lab()
    )
    with lab as cluster:
        cost = measure(cluster)
    title = f"the client: all workers at {RATE_PER_S:g} orders a second"
    table = Table("% of a core", "goal", "", "orders/s", "MB resident", title=title)
    kept = cost.cpu_percent_at_rate <= AT_MOST_PERCENT
    table.add_row(
        f"{cost.cpu_percent_at_rate:.1f}",
        f"{AT_MOST_PERCENT:g}",
        "[green]kept[/]" if kept else "[red]missed[/]",
        f"{cost.ended_per_s:.0f}",
        f"{cost.memory_mb:.0f}",
    )
    Console().print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
