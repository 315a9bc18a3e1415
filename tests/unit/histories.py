"""Small histories with known answers. Times are seconds, as on a monotonic clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count

import pandas as pd

from labkit.history import FaultWindow, History, Op, Outcome
from labkit.topology import DEFAULT
from labkit.trading.audit import ACCOUNT_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, FinalRead
from labkit.verdict.judge import judge
from labkit.verdict.result import Result

_numbers = count(1)


def orders(
    region: str,
    start_s: float,
    end_s: float,
    *,
    per_s: float = 20,
    latency_s: float = 0.05,
    ends_s: float | None = None,
    outcome: Outcome = Outcome.OK,
) -> list[Op]:
    """Orders scheduled evenly in [start_s, end_s), each done after `latency_s`, or at `ends_s`."""
    n = round((end_s - start_s) * per_s)
    return [
        order(
            region,
            start_s + i / per_s,
            ends_s if ends_s is not None else start_s + i / per_s + latency_s,
            outcome,
        )
        for i in range(n)
    ]


def order(
    region: str,
    scheduled_s: float,
    finished_s: float,
    outcome: Outcome = Outcome.OK,
    *,
    order_id: str = "",
) -> Op:
    """One order, sent when it was scheduled."""
    return Op(
        scheduled_s=scheduled_s,
        sent_s=scheduled_s,
        finished_s=finished_s,
        region=region,
        kind="order",
        outcome=outcome,
        order_id=order_id or f"{region}-{next(_numbers)}",
    )


def outage(region: str, start_s: float, end_s: float, *, per_s: float = 20) -> list[Op]:
    """Orders scheduled in an outage: all stall and are acknowledged when it ends."""
    return orders(region, start_s, end_s, per_s=per_s, ends_s=end_s)


@dataclass(frozen=True)
class Trade:
    """One order of a made-up run: what its client saw, and whether it was executed."""

    order_id: str
    outcome: Outcome = Outcome.OK
    executed: bool = True
    account: int = 0
    symbol: int = 0
    side: str = "buy"
    quantity: int = 1

    @property
    def cents(self) -> int:
        return self.quantity * PRICE_CENTS


ACCOUNTS, SYMBOLS = ("A-0", "A-1"), ("ACME", "XYZ")
PRICE_CENTS, OPENING_CENTS, STEP_CENTS = 1234, 5_000_000, 10


def final_of(trades: Sequence[Trade]) -> FinalRead:
    """The database after exactly the executed trades."""
    done = [trade for trade in trades if trade.executed]

    def sides(place: str, i: int, value: Callable[[Trade], int]) -> tuple[int, int]:
        mine = [trade for trade in done if getattr(trade, place) == i]
        return tuple(sum(value(t) for t in mine if t.side == side) for side in ("buy", "sell"))

    moves: Counter[int] = Counter()
    move_nbrs = []
    for trade in done:
        moves[trade.symbol] += 1
        move_nbrs.append(moves[trade.symbol])
    accounts = [(name, *sides("account", i, lambda t: t.cents)) for i, name in enumerate(ACCOUNTS)]
    stocks = [(name, *sides("symbol", i, lambda _: 1)) for i, name in enumerate(SYMBOLS)]
    rows = {
        "orders": [
            (
                *(t.order_id, ACCOUNTS[t.account], SYMBOLS[t.symbol], t.side, t.quantity),
                *(PRICE_CENTS, move_nbr, 1, "order_received", 0, 0),
            )
            for t, move_nbr in zip(done, move_nbrs, strict=True)
        ],
        "instruments": [
            (
                name,
                PRICE_CENTS,
                PRICE_CENTS + STEP_CENTS * (buys - sells),
                buys + sells,
                buys,
                sells,
            )
            for name, buys, sells in stocks
        ],
        "accounts": [
            (name, OPENING_CENTS, 0, OPENING_CENTS - bought + sold, bought, sold, 0)
            for name, bought, sold in accounts
        ],
    }
    columns = {
        "orders": ORDER_COLUMNS,
        "instruments": INSTRUMENT_COLUMNS,
        "accounts": ACCOUNT_COLUMNS,
    }
    return FinalRead(
        **{
            name: pd.DataFrame(rows[name], columns=list(columns[name])).astype(columns[name])
            for name in columns
        }
    )


def history_of(trades: Sequence[Trade]) -> History:
    """What the clients recorded of these trades."""
    return History.of(
        order("west", i, i + 0.1, trade.outcome, order_id=trade.order_id)
        for i, trade in enumerate(trades)
    )


def ledger_of(trades: Sequence[Trade]) -> list[str]:
    """The acknowledged ones, as a ledger has them."""
    return [trade.order_id for trade in trades if trade.outcome is Outcome.OK]


REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
FAULT = FaultWindow(
    "kill", "us-west-2/1", injected_s=110, bit_s=110.2, healed_s=130, detail="no answer"
)


@cache
def _failover() -> History:
    ops = [
        op
        for i, region in enumerate(REGIONS)
        for op in (
            *orders(region, 100, 110, per_s=10, latency_s=0.05 * (i + 1)),
            *outage(region, 110, 116, per_s=10),
            *orders(region, 116, 160, per_s=10, latency_s=0.05 * (i + 1)),
        )
    ]
    return History.from_frame(History.of(ops).ops, anchor_s=1.7e9, regions=REGIONS)


def failover_run(
    *, faults: Sequence[FaultWindow] = (FAULT,), lose: int = 0, **changes: object
) -> Result:
    """A judged run: 60 s of orders in three regions with a 6 s outage.

    `lose` is how many of the first acknowledged orders are not in the database; `changes` replace
    arguments of `judge`.
    """
    history = _failover().with_faults(faults)
    ids = history.ops["order_id"]
    arguments = {
        "scenario": "node-loss",
        "backend": "fake",
        "topology": DEFAULT,
        "history": history,
        "ledger": ids,
        "final": final_of([Trade(order_id) for order_id in ids[lose:]]),
        "started_at": datetime(2025, 1, 1, 12, tzinfo=UTC),
        "finished_at": datetime(2025, 1, 1, 12, 1, tzinfo=UTC),
        "parameters": {"rate_per_s": 30},
        "workload": {"rate_per_s": 30, "seed": 1},
        "versions": {"postgresql": "18.3"},
    }
    return judge(**(arguments | changes))
