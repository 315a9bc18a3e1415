"""A market in memory: a workload for a FakeCluster, and the database it fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import ClassVar, Self

import pandas as pd
import pytest
from histories import RICH_CENTS, SYMBOLS, Trade, final_of

from labkit.errors import NotReady
from labkit.history import OP_COLUMNS, History
from labkit.record import Op, Outcome
from labkit.report.page import REPORT_FILE
from labkit.testing import FakeCluster
from labkit.trading.audit import FinalRead
from labkit.trading.ids import RunId
from labkit.workload.oplog import OPS_FOLDER, line_of, ops_path


@dataclass
class Database:
    """Orders that were executed, of every run."""

    orders: dict[str, list[str]] = field(default_factory=dict)
    reads: int = 0

    def final_read(self, _dsn: str, run: RunId) -> FinalRead:
        self.reads += 1
        every = final_of(
            [Trade(order_id) for orders in self.orders.values() for order_id in orders],
            opening_cents=RICH_CENTS,
        )
        mine = every.orders["order_id"].isin(self.orders[str(run)])
        return replace(every, orders=every.orders[mine])

    def opening_read(self, _dsn: str) -> FinalRead:
        every = [Trade(order_id) for orders in self.orders.values() for order_id in orders]
        before = final_of(every, opening_cents=RICH_CENTS)
        return replace(before, orders=before.orders[:0])


@dataclass(frozen=True)
class Market:
    """An order every 10 ms in turn from each region; acknowledged while there is a primary.

    The order whose number is `slow` takes `slow_s`. `regions` are those that order, all if None.
    """

    rate_per_s: float = 100.0
    slow: int | None = None
    slow_s: float = 0.0
    regions: tuple[str, ...] | None = None
    seed: int = 1
    load: ClassVar[str] = "an order every 10 ms"
    database: ClassVar[Database]
    on_poll: ClassVar[Callable[[], None]]

    def start(self, cluster: FakeCluster, folder: Path) -> RunningMarket:
        return RunningMarket(self, cluster, folder)


class RunningMarket:
    def __init__(self, market: Market, cluster: FakeCluster, folder: Path) -> None:
        self.market, self.cluster, self.folder = market, cluster, folder
        self.run_id = RunId.new()
        self.executed = Market.database.orders.setdefault(str(self.run_id), [])
        self.ops: list[Op] = []
        self.under_way: list[Op] = []
        self.begun_s = self.next_s = monotonic()
        self.closed = False
        (folder / OPS_FOLDER).mkdir(parents=True)
        (folder / "ledger").mkdir()

    @property
    def regions(self) -> tuple[str, ...]:
        return self.market.regions or self.cluster.topology.region_names

    def check(self) -> None:
        pass

    def poll(self) -> pd.DataFrame:
        Market.on_poll()
        before = len(self.ops)
        regions = self.regions
        while self.next_s < monotonic():
            number = len(self.ops) + len(self.under_way)
            worker = number % len(regions)
            order_id = str(self.run_id.order_id(worker, number))
            acked = self._serves()
            takes_s = self.market.slow_s if number == self.market.slow else 0.001
            self.under_way.append(
                Op(
                    scheduled_s=self.next_s,
                    sent_s=self.next_s,
                    finished_s=self.next_s + takes_s,
                    region=regions[worker],
                    kind="order",
                    outcome=Outcome.OK if acked else Outcome.INFO,
                    order_id=order_id,
                    symbol=SYMBOLS[0],
                    side="buy",
                )
            )
            if acked:
                self.executed.append(order_id)
                with (self.folder / "ledger" / f"{regions[worker]}.log").open("a") as ledger:
                    ledger.write(f"{order_id}\n")
            self.next_s += 1 / self.market.rate_per_s
        self.ops += [op for op in self.under_way if op.finished_s <= monotonic()]
        self.under_way = [op for op in self.under_way if op not in self.ops[before:]]
        self._write(self.ops[before:])
        return _frame(self.ops[before:])

    def _write(self, ops: list[Op]) -> None:
        """As the workers of a real workload do."""
        for op in ops:
            with ops_path(self.folder, op.region).open("ab") as file:
                file.write(line_of(self.watermark_s, [op]))

    @property
    def watermark_s(self) -> float:
        return min([self.next_s, *(op.scheduled_s for op in self.under_way)])

    def _serves(self) -> bool:
        try:
            self.cluster.leader()
        except NotReady:
            return False
        return True

    def stop(self) -> History:
        self.close()
        self.ops += self.under_way
        self.under_way = []
        return self.history()

    def history(self) -> History:
        return History.from_frame(_frame(self.ops), regions=self.regions)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frame(ops: list[Op]) -> pd.DataFrame:
    rows = [{name: getattr(op, name) for name in OP_COLUMNS} for op in ops]
    return pd.DataFrame(rows, columns=list(OP_COLUMNS)).astype(OP_COLUMNS)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """What the market fills and the final read asks."""
    return into_memory(monkeypatch)


def into_memory(patch: pytest.MonkeyPatch) -> Database:
    """Let experiments read a database that the market fills, and look at it often."""
    fresh = Database()
    patch.setattr(Market, "database", fresh, raising=False)
    patch.setattr(Market, "on_poll", staticmethod(lambda: None), raising=False)
    patch.setattr("labkit.run.reads.final_read", fresh.final_read)
    patch.setattr("labkit.run.reads.opening_read", fresh.opening_read)
    patch.setattr("labkit.run.experiment.WATCH_EVERY_S", 0.1)
    return fresh


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Let experiments leave an empty report: to draw one takes half a second."""
    for module in ("experiment", "trials"):
        patch.setattr(
            f"labkit.run.{module}.write_report", lambda _, folder: (folder / REPORT_FILE).touch()
        )
