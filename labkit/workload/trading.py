"""The trading workload: a client process a region, and what they recorded as one history."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import pandas as pd

from labkit.clock import wait_until
from labkit.errors import BadInput, RunError
from labkit.history import OP_COLUMNS, History
from labkit.topology import Topology
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.ids import RunId
from labkit.workload.ledger import LEDGER_FOLDER
from labkit.workload.oplog import OPS_FOLDER, OpTail, ops_path
from labkit.workload.worker import STOP, WARM_UP_S, WorkerConfig

Worker = subprocess.Popen[bytes]

GRACE_S = 5.0
"""Beyond the deadline of the last order, until a worker that does not end is killed."""


class Balancers(Protocol):
    """What a workload needs of a cluster."""

    @property
    def topology(self) -> Topology:
        """Its regions."""

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """A libpq connection URL of a region's balancer; it holds no password."""


@dataclass(frozen=True)
class TradingWorkload:
    """Orders at a steady rate from every region, each through its own balancer.

    By default each region trades its own share of the generated accounts and instruments. A row
    lock is held while the commit waits for other regions, so what is measured then is the
    database, not a queue at a row. `symbols=("AAPL",)` shows that queue.

    Attributes:
        rate_per_s: orders a second, all regions together.
        seed: of arrival times, sides and quantities.
        deadline_s: from an order's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt.
        connections: per region. They bound what a region can have in flight: it needs more than
            its orders a second times the latency in seconds.
        symbols: traded by all regions; None for each region's share of the generated ones.
        accounts: likewise.

    Raises:
        BadInput: a number that is not positive, or nothing to trade.
    """

    rate_per_s: float = 60.0
    seed: int = 1
    deadline_s: float = 5.0
    attempt_timeout_s: float = 2.0
    connections: int = 20
    symbols: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("rate_per_s", "deadline_s", "attempt_timeout_s", "connections"):
            value = getattr(self, name)
            if not value > 0:
                raise BadInput(f"TradingWorkload: {name} is {value}, it must be positive")
        for name in ("symbols", "accounts"):
            if getattr(self, name) == ():
                raise BadInput(f"TradingWorkload: {name} is empty; leave it out for the default")

    @property
    def patience_s(self) -> float:
        """From an order's scheduled moment to its outcome, at most."""
        return self.deadline_s + self.attempt_timeout_s

    def start(self, cluster: Balancers, folder: Path) -> RunningWorkload:
        """Start a worker a region and return when all have begun to send.

        Args:
            folder: the run folder; gets `ledger/` and `ops/`.

        Raises:
            BadInput: the folder has those of another run.
            RunError: a worker did not start; the others are stopped again.
        """
        for used in (LEDGER_FOLDER, OPS_FOLDER):
            if any((folder / used).glob("*")):
                raise BadInput(f"{folder}: has the {used} of another run; each run needs its own")
        run_id = RunId.new()
        workers: dict[str, Worker] = {}
        try:
            for number, region in enumerate(cluster.topology.region_names):
                workers[region] = _spawn(self._config(cluster, folder, run_id, number))
            running = RunningWorkload(run_id, folder, workers, self.patience_s + GRACE_S)
            running.wait_until_sending()
        except BaseException:
            _kill(workers)
            raise
        return running

    def _config(self, cluster: Balancers, folder: Path, run_id: RunId, number: int) -> WorkerConfig:
        regions = cluster.topology.region_names
        share = slice(number, None, len(regions))
        return WorkerConfig(
            region=regions[number],
            worker=number,
            run=str(run_id),
            dsn=cluster.dsn(regions[number]),
            folder=str(folder),
            rate_per_s=self.rate_per_s / len(regions),
            seed=self.seed,
            deadline_s=self.deadline_s,
            attempt_timeout_s=self.attempt_timeout_s,
            connections=self.connections,
            accounts=self.accounts or GENERATED_ACCOUNTS[share],
            symbols=self.symbols or GENERATED_SYMBOLS[share],
        )


class RunningWorkload:
    """Workers that send orders until `stop`; a context manager that stops them. For one thread.

    Attributes:
        run_id: the first 48 bits of the ids of this run's orders.
        folder: the run folder.
    """

    def __init__(
        self, run_id: RunId, folder: Path, workers: Mapping[str, Worker], join_timeout_s: float
    ) -> None:
        self.run_id = run_id
        self.folder = folder
        self._workers = workers
        self._join_timeout_s = join_timeout_s
        self._told_to_stop = False
        self._tail = OpTail(folder, workers)

    @property
    def pids(self) -> Mapping[str, int]:
        """The worker process of each region."""
        return {region: worker.pid for region, worker in self._workers.items()}

    def wait_until_sending(self) -> None:
        """Wait until every worker's schedule has begun.

        Raises:
            RunError: a worker died.
            NotReady: a worker did not begin.
        """
        wait_until(self._all_sending, what="workload workers", timeout_s=WARM_UP_S + 20)

    def _all_sending(self) -> bool:
        self.check()
        return all(ops_path(self.folder, region).exists() for region in self._workers)

    def poll(self) -> pd.DataFrame:
        """The operations that ended since the last call, columns as `OP_COLUMNS`.

        Workers write about ten times a second.
        """
        return _frame(self._tail.read())

    def check(self) -> None:
        """Make sure that no worker died.

        Raises:
            RunError: one did, so orders in flight were not recorded; ends with its last words.
        """
        for region, worker in self._workers.items():
            code = worker.poll()
            if code is None or (code == 0 and self._told_to_stop):
                continue
            raise RunError(
                f"the workload worker of {region} ended with {code}, orders in flight were not "
                f"recorded: {_last_words(self.folder, region) or 'it said nothing'}"
            )

    def stop(self) -> History:
        """End the schedule, wait for the orders in flight, and return everything. Idempotent.

        Raises:
            RunError: a worker died, or had to be killed; `history` has what was recorded.
        """
        self.close()
        self.check()
        return self.history()

    def history(self) -> History:
        """What has been recorded so far."""
        return recorded(self.folder, self._workers)

    def close(self) -> None:
        """End the workers; what does not end in time is killed. Idempotent."""
        self._told_to_stop = True
        try:
            for worker in self._workers.values():
                assert worker.stdin
                with suppress(BrokenPipeError, ValueError):  # it died, or was told before
                    worker.stdin.write(STOP)
                    worker.stdin.close()
            deadline_s = time.monotonic() + self._join_timeout_s
            for worker in self._workers.values():
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(max(0.0, deadline_s - time.monotonic()))
        finally:
            _kill(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _spawn(config: WorkerConfig) -> Worker:
    log = _log_path(Path(config.folder), config.region)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        worker = subprocess.Popen(
            # -P: modules of the notebook's folder must not stand in for the library's
            [sys.executable, "-P", "-m", "labkit.workload.worker"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert worker.stdin
    with suppress(BrokenPipeError):  # it died: `check` says so
        worker.stdin.write(config.to_line())
        worker.stdin.flush()
    return worker


def _kill(workers: Mapping[str, Worker]) -> None:
    for worker in workers.values():
        worker.kill()  # does nothing to one that has been waited for
        worker.wait()


def _log_path(folder: Path, region: str) -> Path:
    return folder / OPS_FOLDER / f"{region}.log"


def _last_words(folder: Path, region: str) -> str:
    lines = _log_path(folder, region).read_text(errors="replace").split("\n")
    return " | ".join(line.strip() for line in lines if line.strip())[-400:]


def recorded(folder: Path, regions: Iterable[str]) -> History:
    """What the workers of a run have written so far, whoever started them."""
    regions = tuple(regions)
    return History.from_frame(
        _frame(OpTail(folder, regions).read()),
        anchor_s=time.time() - time.monotonic(),
        regions=regions,
    )


def _frame(ops: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(ops, columns=list(OP_COLUMNS)).astype(OP_COLUMNS)
