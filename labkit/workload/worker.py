"""The process with the client of one region: `python -m labkit.workload.worker`.

The first line of stdin is the configuration (`WorkerConfig` as JSON); after it stdin is the
lifeline. A line "stop", the end of stdin (the parent has ended), or SIGTERM ends the schedule; the
worker then waits for the orders in flight. It ignores SIGINT, because Ctrl-C in a terminal reaches
the whole group of processes, and the parent decides what it means.

The file of operations appears when the schedule begins: when all connections are open, or after
`WARM_UP_S` if the cluster does not let it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

from labkit.record import OpKind
from labkit.trading.ids import RunId
from labkit.trading.processing import Queue
from labkit.trading.retries import Patience
from labkit.workload.adapter import ClassClient, ClassError, load_class, user_code
from labkit.workload.client import TradingClient
from labkit.workload.connections import ConnectionLog
from labkit.workload.ledger import Ledger
from labkit.workload.oplog import OpLog
from labkit.workload.pool import Pool
from labkit.workload.processor import Processor
from labkit.workload.reader import PriceReader
from labkit.workload.schedule import Planned, due_times, plan
from labkit.workload.sending import Job, UnderWay, send
from labkit.workload.shape import Shape

WARM_UP_S = 5.0
READ_CONNECTIONS = 6
"""Connections of fresh reads, and of replica reads: enough for 20 per second at 0.3 s each."""
STOP = b"stop\n"
CLASS_FAILED = "the workload class failed: "
"""The beginning of a worker's last line after an error of the user's class."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The configuration of a worker.

    Attributes:
        worker: the number of the worker, which is the region's place in the topology. It is a part
            of the order ids; on CockroachDB it says where the orders live.
        run: the run id as text.
        dsn: the URL of the region's balancer, without a password.
        folder: the run folder.
        rate_per_s: the orders per second of this worker; None in a closed loop.
        concurrency: the customers of this worker in a closed loop; None in an open one.
        iterations: the worker ends after so many orders, or loops of the class; None for no end.
        regions: the number of regions of the topology.
        accounts: the accounts that order, with `symbols` and `skew`.
        process: whether the worker also processes orders.
        reads_per_order: price reads per order of an open loop, fresh and from replicas.
        replica_share: the share of the reads that ask a replica.
        replica_dsn: the URL of the region's balancer for replica reads, if there are any.
        class_file: a file whose class the worker runs instead of placing orders.
    """

    region: str
    worker: int
    run: str
    dsn: str
    folder: str
    rate_per_s: Shape | None
    concurrency: Shape | None
    iterations: int | None
    seed: int
    deadline_s: float
    attempt_timeout_s: float
    connections: int
    regions: int
    accounts: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    skew: float = 0.0
    process: bool = False
    reads_per_order: float = 0.0
    replica_share: float = 0.0
    replica_dsn: str = ""
    class_file: str | None = None

    @property
    def patience(self) -> Patience:
        """Return how long the client waits."""
        return Patience(self.deadline_s, self.attempt_timeout_s)

    @property
    def application_name(self) -> str:
        """Return the application name that the servers see."""
        return f"labkit-workload-{self.region}"

    def to_line(self) -> bytes:
        """Make the first line of the worker's stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read back what `to_line` wrote."""
        data = json.loads(line)
        for name in ("accounts", "symbols"):
            data[name] = tuple(data[name])
        for name in ("rate_per_s", "concurrency"):
            data[name] = data[name] and Shape.from_dict(data[name])
        return cls(**data)


async def work(config: WorkerConfig) -> None:
    """Send until told to stop, or until all is sent; then wait for the orders in flight."""
    stop = asyncio.Event()
    _watch_lifeline(stop.set)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.set_exception_handler(_end_with)
    if config.class_file is None:
        with ConnectionLog(Path(config.folder), config.region) as connections:
            await _trade(config, stop, connections.opened)
    else:
        await _run_class(config, config.class_file, stop)


async def _trade(config: WorkerConfig, stop: asyncio.Event, on_open: Callable[[], None]) -> None:
    pool = Pool(
        config.dsn, config.connections, application_name=config.application_name, on_open=on_open
    )
    async with asyncio.TaskGroup() as background:
        keep_open = background.create_task(pool.keep_open())
        await _first_of(pool.filled(), stop.wait(), timeout_s=WARM_UP_S)
        folder = Path(config.folder)
        under_way = UnderWay()
        with (
            Ledger(folder, config.region) as ledger,
            OpLog(folder, config.region, under_way) as log,
        ):
            client = TradingClient(config.region, pool, config.patience, ledger, log.append)
            orders = plan(
                RunId.parse(config.run),
                config.worker,
                rate_per_s=config.rate_per_s,
                seed=config.seed,
                accounts=config.accounts,
                symbols=config.symbols,
                skew=config.skew,
            )
            keep_flushing = background.create_task(log.keep_flushing())
            async with (
                _processing(config) if config.process else nullcontext(),
                _looking(config, log) as ordered,
            ):

                def job(planned: Planned) -> Job:
                    order, session = planned.order, planned.session
                    ordered(session, order.symbol)
                    return planned.at_s, partial(client.place, order=order, session=session)

                jobs = map(job, islice(orders, config.iterations))
                await send(jobs, config.concurrency, stop, under_way)
            keep_flushing.cancel()
        keep_open.cancel()


@asynccontextmanager
async def _processing(config: WorkerConfig) -> AsyncIterator[None]:
    """Run an order processor during the block; at the end it processes the orders that are left."""
    pool = Pool(config.dsn, 1, application_name=f"labkit-processor-{config.region}")
    processor = Processor(pool, Queue(config.region))
    async with asyncio.TaskGroup() as tasks:
        keep_open = tasks.create_task(pool.keep_open())
        working = tasks.create_task(processor.work())
        yield
        processor.end()
        await working
        keep_open.cancel()


@asynccontextmanager
async def _looking(config: WorkerConfig, log: OpLog) -> AsyncIterator[Callable[[int, str], None]]:
    """Read prices during the block; yield the function to tell which session orders what."""
    if config.rate_per_s is None or not config.reads_per_order:
        yield lambda _session, _symbol: None
        return
    seed = f"reads {config.seed} {config.worker}"
    dsns: dict[OpKind, str] = {
        OpKind.FRESH_READ: config.dsn,
        OpKind.REPLICA_READ: config.replica_dsn,
    }
    pools = {
        kind: Pool(dsn, READ_CONNECTIONS, application_name=f"labkit-reads-{config.region}")
        for kind, dsn in dsns.items()
        if dsn
    }
    reader = PriceReader(
        config.region,
        pools,
        config.patience,
        log.append,
        replica_share=config.replica_share,
        seed=seed,
    )
    times_s = config.rate_per_s.divided_by(1 / config.reads_per_order).arrivals(seed)
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as background:
        keep_open = [background.create_task(pool.keep_open()) for pool in pools.values()]
        jobs = ((at_s, reader.look) for at_s in times_s)
        looking = background.create_task(send(jobs, None, enough, UnderWay()))
        yield reader.ordered
        enough.set()
        await looking
        for task in keep_open:
            task.cancel()


async def _run_class(config: WorkerConfig, file: str, stop: asyncio.Event) -> None:
    path = Path(file)
    make = load_class(path)
    args = {
        "region": config.region,
        "region_index": config.worker,
        "regions": config.regions,
        "seed": config.seed,
    }
    with user_code(path):
        instances = [make(args) for _ in range(config.connections)]
    with ClassClient(
        config.region,
        instances,
        config.dsn,
        config.patience,
        application_name=config.application_name,
        file=path,
    ) as client:
        await _first_of(client.set_up(), stop.wait(), timeout_s=WARM_UP_S)
        under_way = UnderWay()
        with OpLog(Path(config.folder), config.region, under_way) as log:
            keep_flushing = asyncio.create_task(log.keep_flushing())
            times_s = due_times(config.rate_per_s, config.seed, config.worker)
            run = partial(client.run, record=log.append)
            jobs = ((at_s, run) for at_s in times_s)
            await send(islice(jobs, config.iterations), config.concurrency, stop, under_way)
            keep_flushing.cancel()


async def _first_of(*waits: Coroutine[Any, Any, object], timeout_s: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _end_with(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """End the worker with the error of a callback, such as a ledger that cannot be written."""
    if isinstance(error := context.get("exception"), ClassError):
        _say_failed(error)
    else:
        loop.default_exception_handler(context)
    raise SystemExit(1)


def _say_failed(error: ClassError) -> None:
    print(f"{CLASS_FAILED}{error}", flush=True)


def _watch_lifeline(on_end: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()
    seen = b""

    def on_input() -> None:
        nonlocal seen
        data = os.read(stdin, 1024)
        seen += data
        if not data or STOP in seen:
            loop.remove_reader(stdin)
            on_end()

    loop.add_reader(stdin, on_input)


def main() -> None:
    """Run one worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what was imported stays; looking through it again and again costs what orders do
    # unbuffered: what follows the first line must stay in the pipe for the event loop to see
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    try:
        asyncio.run(work(WorkerConfig.from_line(line)))
    except ClassError as error:
        _say_failed(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
