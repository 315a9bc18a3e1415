"""The base of workloads: how much load, from which regions, with which deadlines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Protocol

from labkit.cluster.base import HasWaysElsewhere
from labkit.errors import BadInput
from labkit.topology import Topology
from labkit.trading.ids import RunId
from labkit.workload.ledger import LEDGER_FOLDER
from labkit.workload.oplog import OPS_FOLDER
from labkit.workload.running import RunningWorkload, Worker, kill, spawn
from labkit.workload.shape import Ramp, Shape, Steps
from labkit.workload.worker import WorkerConfig

USUAL_RATE_PER_S = 60.0

MOST_A_SECOND = 10_000.0
"""The highest rate of an open loop, all regions together. A lab on one machine takes some hundred
orders per second, and one process per region cannot send as many."""
MOST_CUSTOMERS = 500
"""The most customers of a closed loop per region: each has a connection in one process."""
MOST_ITERATIONS = 10**12
"""The most loops: more would take three years at the highest rate."""

GRACE_S = 5.0
"""A worker that has not ended so long after the deadline of its last order is killed."""


class Balancers(Protocol):
    """A cluster, as far as a workload uses it."""

    @property
    def topology(self) -> Topology:
        """Return the topology, which has the regions."""

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """Return the libpq connection URL of a region's balancer; it holds no password."""


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Clients of every region, each through its own balancer, and how much they send.

    Attributes:
        rate_per_s: for an open loop: orders per second, all regions together, sent by schedule and
            not by reply. A number, `Steps` or a `Ramp`; 60 if `concurrency` is not given either.
        concurrency: for a closed loop: customers per region, each of whom sends when the last order
            has its outcome. A number, `Steps` or a `Ramp`. A closed loop shows how much a cluster
            can serve, and hides for how long it served nothing.
        iterations: the load ends after so many orders, all regions together; None for no end.
        regions: the regions that send; None for all.
        seed: the seed of all random choices.
        deadline_s: seconds after an order's scheduled moment in which attempts may begin.
        attempt_timeout_s: seconds for the answer to one attempt.
        connections: connections per region of an open loop. They bound the orders in flight, so a
            region needs more than its orders per second times the latency in seconds. A closed
            loop has one per customer.
        fail_over: whether clients know every region's balancer, and go to the next nearest if their
            own refuses them. Otherwise each client knows the balancer of its region only.

    Raises:
        BadInput: a number that is not above 0 and finite, more load than `MOST_A_SECOND`,
            `MOST_CUSTOMERS` or `MOST_ITERATIONS`, both loops, or no region.
    """

    rate_per_s: float | Steps | Ramp | None = None
    concurrency: float | Steps | Ramp | None = None
    iterations: int | None = None
    regions: tuple[str, ...] | None = None
    seed: int = 1
    deadline_s: float = 5.0
    attempt_timeout_s: float = 2.0
    connections: int = 20
    fail_over: bool = False

    def __post_init__(self) -> None:
        for name in ("deadline_s", "attempt_timeout_s", "connections"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise BadInput(
                    f"{type(self).__name__}: {name} is {value}, it must be above 0 and finite"
                )
        if self.regions == ():
            raise BadInput(f"{type(self).__name__}: regions is empty; leave it out for all")
        if self.rate_per_s is not None and self.concurrency is not None:
            raise BadInput(
                f"{type(self).__name__}: rate_per_s and concurrency are both given; a load is sent "
                "by schedule or by reply, choose one"
            )
        if self.rate_per_s is None and self.concurrency is None:
            object.__setattr__(self, "rate_per_s", USUAL_RATE_PER_S)  # so that results show it
        for name, most in (
            ("rate_per_s", MOST_A_SECOND),
            ("concurrency", MOST_CUSTOMERS),
            ("iterations", MOST_ITERATIONS),
        ):
            level = getattr(self, name)
            if level is not None and not 0 < _peak(level) <= most:
                raise BadInput(
                    f"{type(self).__name__}: {name} is {_words(level)}, it must be above 0 and at "
                    f"most {most:,.0f}"
                )

    @property
    def load(self) -> str:
        """Describe how much the workload sends."""
        if self.rate_per_s is not None:
            return f"{_words(self.rate_per_s)} orders a second"
        assert self.concurrency is not None
        return f"{_words(self.concurrency)} customers a region"

    @property
    def patience_s(self) -> float:
        """Return the longest time from an order's scheduled moment to its outcome, in seconds."""
        return self.deadline_s + self.attempt_timeout_s

    def start(self, cluster: Balancers, folder: Path) -> RunningWorkload:
        """Start a worker per region, and return when all have begun to send.

        Args:
            folder: the run folder, in which `ledger/` and `ops/` are made.

        Raises:
            BadInput: the folder has those of another run, or clients are to fail over and the
                cluster has no ways to the balancers of other regions.
            UnknownTarget: `regions` are not the cluster's.
            RunError: a worker did not start; the others are stopped again.
        """
        for used in (LEDGER_FOLDER, OPS_FOLDER):
            if any((folder / used).glob("*")):
                raise BadInput(f"{folder}: has the {used} of another run; each run needs its own")
        run_id = RunId.new()
        workers: dict[str, Worker] = {}
        configs = self._configs(cluster, run_id, folder)
        try:
            for config in configs:
                workers[config.region] = spawn(config)
            running = RunningWorkload(
                run_id,
                folder,
                workers,
                self.patience_s + GRACE_S,
                ends_by_itself=self.iterations is not None,
            )
            running.wait_until_sending()
        except BaseException:
            kill(workers)
            raise
        return running

    def _configs(self, cluster: Balancers, run_id: RunId, folder: Path) -> list[WorkerConfig]:
        topology = cluster.topology
        driven = [topology.region(name).name for name in self.regions or topology.region_names]
        rate = None if self.rate_per_s is None else Shape.of(self.rate_per_s)
        concurrency = None if self.concurrency is None else Shape.of(self.concurrency)
        return [
            self._config(
                WorkerConfig(
                    region=region,
                    worker=topology.region_names.index(region),
                    run=str(run_id),
                    dsn=self._dsn(cluster, region),
                    folder=str(folder),
                    rate_per_s=rate and rate.divided_by(len(driven)),
                    concurrency=concurrency,
                    iterations=self._share_of_iterations(place, len(driven)),
                    seed=self.seed,
                    deadline_s=self.deadline_s,
                    attempt_timeout_s=self.attempt_timeout_s,
                    connections=ceil(concurrency.peak) if concurrency else self.connections,
                    regions=len(topology.region_names),
                ),
                cluster,
            )
            for place, region in enumerate(driven)
        ]

    def _dsn(self, cluster: Balancers, region: str) -> str:
        if not self.fail_over:
            return cluster.dsn(region)
        if not isinstance(cluster, HasWaysElsewhere):
            raise BadInput(
                f"{type(self).__name__}: this cluster gives clients one balancer each, no fail_over"
            )
        return cluster.failover_dsn(region)

    def _share_of_iterations(self, place: int, of: int) -> int | None:
        return None if self.iterations is None else len(range(place, self.iterations, of))

    @abstractmethod
    def _config(self, config: WorkerConfig, cluster: Balancers) -> WorkerConfig:
        """Complete the configuration of a worker."""


def in_short(number: float) -> str:
    """Write `60`, `1e+06`, or the number of digits of an integer that no float can hold."""
    try:
        return f"{number:g}"
    except OverflowError:
        return f"of {len(str(number))} digits"


def _peak(load: float | Steps | Ramp) -> float:
    return load if isinstance(load, int | float) else Shape.of(load).peak


def _words(load: float | Steps | Ramp) -> str:
    return in_short(load) if isinstance(load, int | float) else str(load)
