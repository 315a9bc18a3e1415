"""The trading workload: orders from every region, each of them audited."""

from __future__ import annotations

from dataclasses import dataclass, replace

from labkit.errors import BadInput
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.workload.base import Balancers, Workload
from labkit.workload.worker import WorkerConfig


@dataclass(frozen=True, kw_only=True)
class TradingWorkload(Workload):
    """Orders from every region, each through its own balancer; `Workload` says how many.

    Their customers look at prices that they ordered lately: some of the reads go to where prices
    are written, some to a replica in the region. Reads have connections of their own. On
    PostgreSQL a fresh read waits for the standbys, as a commit does: what it shows is never undone.
    A replica read may show what is.

    By default each region trades its own share of the generated accounts and instruments. A row
    lock is held while the commit waits for other regions, so what is measured then is the
    database, not a queue at a row. `symbols=("AAPL",)` shows that queue, `skew=1.0` some of it.

    Attributes:
        symbols: traded by all regions; None for each region's share of the generated ones.
        accounts: likewise.
        skew: 0: each symbol is ordered as often as the others. Above 0, the exponent of Zipf's law:
            the n-th is `n ** skew` times as rare as the first.
        reads_per_order: prices read for each order of an open loop, sent by a schedule of their
            own; 0 for none. A closed loop has none.
        replica_share: of these, those from a replica in the region; the others are fresh.

    Raises:
        BadInput: a number outside its range, or nothing to trade.
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
