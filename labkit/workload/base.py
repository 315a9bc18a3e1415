"""What every workload has: how much load, from which regions, and how patient its clients are."""

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
"""Of an open loop, all regions together. A lab on one machine takes some hundred orders a second,
and one process for each region cannot send as many."""
MOST_CUSTOMERS = 500
"""Of a closed loop, in each region: each has a connection and a thread in one process."""
MOST_ITERATIONS = 10**12
"""More would take three years at the highest rate."""

GRACE_S = 5.0
"""Beyond the deadline of the last order, until a worker that does not end is killed."""


class Balancers(Protocol):
    """What a workload needs of a cluster."""

    @property
    def topology(self) -> Topology:
        """Its regions."""

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """A libpq connection URL of a region's balancer; it holds no password."""


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Clients of every region, each through its own balancer, and how much they send.

    Attributes:
        rate_per_s: open loop: orders a second, all regions together, sent by schedule whatever the
            replies. A number, `Steps` or a `Ramp`. 60 when neither this nor `concurrency` is given.
        concurrency: closed loop: customers a region, each sending when its last order is through.
            A number, `Steps` or a `Ramp`. It finds out how much a cluster can do, and hides how
            long it could do nothing.
        iterations: end after so many orders, all regions together; None for no end.
        regions: those to send from; None for all.
        seed: of everything that is drawn.
        deadline_s: from an order's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt.
        connections: per region, of an open loop. They bound what a region can have in flight: it
            needs more than its orders a second times the latency in seconds. A closed loop has
            one for each customer.
        fail_over: clients know every region's balancer, and go to the next nearest when their own
            does not let them in. Otherwise each knows the balancer of its region and no other.

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
        """How much it sends, in words."""
        if self.rate_per_s is not None:
            return f"{_words(self.rate_per_s)} orders a second"
        assert self.concurrency is not None
        return f"{_words(self.concurrency)} customers a region"

    @property
    def patience_s(self) -> float:
        """From an order's scheduled moment to its outcome, at most."""
        return self.deadline_s + self.attempt_timeout_s

    def start(self, cluster: Balancers, folder: Path) -> RunningWorkload:
        """Start a worker a region and return when all have begun to send.

        Args:
            folder: the run folder; gets `ledger/` and `ops/`.

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
        """Say what the worker does."""


def in_short(number: float) -> str:
    """Say `60`, `1e+06`, and of a whole number that no float can hold how long it is."""
    try:
        return f"{number:g}"
    except OverflowError:
        return f"of {len(str(number))} digits"


def _peak(load: float | Steps | Ramp) -> float:
    return load if isinstance(load, int | float) else Shape.of(load).peak


def _words(load: float | Steps | Ramp) -> str:
    return in_short(load) if isinstance(load, int | float) else str(load)
