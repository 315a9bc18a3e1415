"""The trading workload: orders from every region, each of which is audited."""

from __future__ import annotations

from dataclasses import dataclass, replace

from labkit.errors import BadInput
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.workload.base import Balancers, Workload
from labkit.workload.worker import WorkerConfig


@dataclass(frozen=True, kw_only=True)
class TradingWorkload(Workload):
    """A workload of orders from every region, each through the balancer of its region.

    Customers also read the prices of symbols that they ordered lately. Fresh reads go to where
    prices are written, replica reads to a replica in the region. Reads have connections of their
    own. On PostgreSQL a fresh read waits for the standbys, as a commit does, so a price that it
    shows is never undone. A price that a replica read shows may be.

    By default each region trades its own share of the generated accounts and instruments. An order
    holds a row lock while its commit waits for other regions, so a run measures the database and
    not a queue at a row. `symbols=("AAPL",)` shows that queue, `skew=1.0` some of it.

    Attributes:
        symbols: the symbols that all regions trade; None for a share of the generated ones each.
        accounts: likewise.
        skew: 0 if each symbol is ordered as often as the others; above 0 the exponent of Zipf's
            law, by which the n-th symbol is `n ** skew` times as rare as the first.
        reads_per_order: price reads per order of an open loop, sent by a schedule of their own.
            A closed loop has none.
        replica_share: the share of the reads that ask a replica in the region; the others are
            fresh.

    Raises:
        BadInput: a number is out of range, or there is nothing to trade.
    """

    symbols: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    skew: float = 0.0
    process: bool = True
    reads_per_order: float = 0.5
    replica_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("symbols", "accounts"):
            if getattr(self, name) == ():
                raise BadInput(f"TradingWorkload: {name} is empty; leave it out for the default")
        if not 0 <= self.skew < float("inf"):
            raise BadInput(f"TradingWorkload: skew is {self.skew}, it must be 0 or more")
        if not 0 <= self.reads_per_order < float("inf"):
            raise BadInput(
                f"TradingWorkload: reads_per_order is {self.reads_per_order}, it must be 0 or more"
            )

        if not 0 <= self.replica_share <= 1:
            raise BadInput(
                f"TradingWorkload: replica_share is {self.replica_share}, it must be 0 to 1"
            )

    def _config(self, config: WorkerConfig, cluster: Balancers) -> WorkerConfig:
        reads = self.reads_per_order if config.rate_per_s is not None else 0.0
        share = slice(config.worker, None, config.regions)
        return replace(
            config,
            accounts=self.accounts or GENERATED_ACCOUNTS[share],
            symbols=self.symbols or GENERATED_SYMBOLS[share],
            skew=self.skew,
            process=self.process,
            reads_per_order=reads,
            replica_share=self.replica_share,
            replica_dsn=(
                cluster.dsn(config.region, read_only=True) if reads and self.replica_share else ""
            ),
        )
