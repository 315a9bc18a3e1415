"""One region's client, a process of its own: `python -m labkit.workload.worker`.

The first line of stdin is the configuration (`WorkerConfig` as JSON); after it stdin is the
lifeline. A line "stop", its end (the parent is gone), or SIGTERM end the schedule; the orders in
flight are then seen to their end. SIGINT is ignored: Ctrl-C in a terminal reaches the whole
group of processes, and it is the parent that decides what it means.

The file of operations appears when the schedule begins: when all connections are open, or after
`WARM_UP_S` if the cluster does not let it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Self

from labkit.trading.ids import RunId
from labkit.workload.client import Patience, TradingClient
from labkit.workload.connections import ConnectionLog
from labkit.workload.ledger import Ledger
from labkit.workload.oplog import OpLog
from labkit.workload.pool import Pool
from labkit.workload.schedule import plan

WARM_UP_S = 5.0
STOP = b"stop\n"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told.

    Attributes:
        worker: its number, the region's place in the topology; part of its order ids, and on
            CockroachDB what tells where its orders live.
        run: the run id as text.
        dsn: of the region's balancer, without a password.
        folder: the run folder.
        rate_per_s: of this worker alone.
    """

    region: str
    worker: int
    run: str
    dsn: str
    folder: str
    rate_per_s: float
    seed: int
    deadline_s: float
    attempt_timeout_s: float
    connections: int
    accounts: tuple[str, ...]
    symbols: tuple[str, ...]

    def to_line(self) -> bytes:
        """The first line of the worker's stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read back what `to_line` wrote."""
        data = json.loads(line)
        return cls(
            **{**data, "accounts": tuple(data["accounts"]), "symbols": tuple(data["symbols"])}
        )


async def work(config: WorkerConfig) -> None:
    """Send by schedule until told to stop, then see the orders in flight to their end."""
    stop = asyncio.Event()
    _watch_lifeline(stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with ConnectionLog(Path(config.folder), config.region) as connections:
        pool = Pool(
            config.dsn,
            config.connections,
            application_name=f"labkit-workload-{config.region}",
            on_open=connections.opened,
        )
        await _drive(config, pool, stop)


async def _drive(config: WorkerConfig, pool: Pool, stop: asyncio.Event) -> None:
    folder = Path(config.folder)
    async with asyncio.TaskGroup() as background:
        keep_open = background.create_task(pool.keep_open())
        await _first_of(pool.filled(), stop.wait(), timeout_s=WARM_UP_S)
        with Ledger(folder, config.region) as ledger, OpLog(folder, config.region) as log:
            patience = Patience(config.deadline_s, config.attempt_timeout_s)
            client = TradingClient(config.region, pool, patience, ledger, log.append)
            keep_flushing = background.create_task(log.keep_flushing())
            async with asyncio.TaskGroup() as orders:
                sending = orders.create_task(_send(config, client, orders))
                await stop.wait()
                sending.cancel()
            keep_flushing.cancel()
        keep_open.cancel()


async def _send(config: WorkerConfig, client: TradingClient, orders: asyncio.TaskGroup) -> None:
    begun_s = monotonic()
    for planned in plan(
        RunId.parse(config.run),
        config.worker,
        rate_per_s=config.rate_per_s,
        seed=config.seed,
        accounts=config.accounts,
        symbols=config.symbols,
    ):
        scheduled_s = begun_s + planned.at_s
        await asyncio.sleep(max(0.0, scheduled_s - monotonic()))
        orders.create_task(client.place(scheduled_s, planned.order, session=planned.session))


async def _first_of(*waits: Coroutine[Any, Any, object], timeout_s: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


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
    # unbuffered: what follows the first line must stay in the pipe for the event loop to see
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
        line = stdin.readline()
    asyncio.run(work(WorkerConfig.from_line(line)))


if __name__ == "__main__":
    main()
