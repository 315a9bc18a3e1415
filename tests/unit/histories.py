"""Small histories with known answers. Times are seconds, as on a monotonic clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from itertools import count

import pandas as pd

from labkit.history import History
from labkit.record import FaultWindow, Op, OpKind, Outcome
from labkit.report.result import Result
from labkit.topology import DEFAULT
from labkit.trading.audit import ACCOUNT_COLUMNS, INSTRUMENT_COLUMNS, ORDER_COLUMNS, FinalRead
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.judge import judge
from labkit.verdict.run import About, RunRecord

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
        symbol=SYMBOLS[0],
        side="buy",
    )


def outage(region: str, start_s: float, end_s: float, *, per_s: float = 20) -> list[Op]:
    """Orders scheduled in an outage: all stall and are acknowledged when it ends."""
    return orders(region, start_s, end_s, per_s=per_s, ends_s=end_s)


@dataclass(frozen=True)
class Trade:
    """One order of a made-up run: what its client saw, and whether it was executed.

    `sent_before_s` and `told_after_s` are the time from its sending to its effect and from there to
    the answer.
    """

    order_id: str
    outcome: Outcome = Outcome.OK
    executed: bool = True
    account: int = 0
    symbol: int = 0
    side: str = "buy"
    quantity: int = 1
    sent_before_s: float = 0.0
    told_after_s: float = 0.1

    @property
    def session(self) -> int:
        return self.account


@dataclass(frozen=True)
class Read:
    """One read of a price: it shows the moves there are at its place in the run, and `off` more.

    `cents_off` is what the price it shows is away from that of those moves.
    """

    kind: OpKind = OpKind.FRESH_READ
    symbol: int = 0
    session: int = 0
    off: int = 0
    cents_off: int = 0
    outcome: Outcome = Outcome.OK
    sent_before_s: float = 0.0
    told_after_s: float = 0.1


Step = Trade | Read
"""Steps take effect in the order of a list, a second apart."""

ACCOUNTS, SYMBOLS = ("A-0", "A-1"), ("ACME", "XYZ")
PRICE_CENTS, OPENING_CENTS, STEP_CENTS = 1234, 5_000_000, 10


@dataclass(frozen=True)
class Market:
    """What came of some steps.

    Attributes:
        fills: the place and the price of each step; of a read, the one it showed.
        prices: of each symbol, after 0, 1, 2, ... moves.
    """

    fills: tuple[tuple[int, int], ...]
    prices: tuple[tuple[int, ...], ...]

    @classmethod
    def after(cls, steps: Sequence[Step]) -> Market:
        prices = [[PRICE_CENTS] for _ in SYMBOLS]
        places: list[tuple[Step, int]] = []
        for step in steps:
            here = prices[step.symbol]
            if isinstance(step, Read):
                places.append((step, len(here) - 1 + step.off))
                continue
            # what was acknowledged and lost had the place that the next one gets
            places.append((step, len(here)))
            if step.executed:
                here.append(here[-1] + (STEP_CENTS if step.side == "buy" else -STEP_CENTS))

        def fill(step: Step, place: int) -> tuple[int, int]:
            here = prices[step.symbol]
            if isinstance(step, Read):
                return place, here[min(place, len(here) - 1)] + step.cents_off
            return place, here[place - 1]

        return cls(
            tuple(fill(step, place) for step, place in places),
            tuple(tuple(here) for here in prices),
        )


def final_of(steps: Sequence[Step], *, opening_cents: int = OPENING_CENTS) -> FinalRead:
    """The database after exactly the executed trades."""
    market = Market.after(steps)
    done = [
        (step, place, cents)
        for step, (place, cents) in zip(steps, market.fills, strict=True)
        if isinstance(step, Trade) and step.executed
    ]

    def sides(key: str, i: int, value: Callable[[Trade, int], int]) -> tuple[int, int]:
        mine = [(trade, cents) for trade, _, cents in done if getattr(trade, key) == i]
        return tuple(
            sum(value(trade, cents) for trade, cents in mine if trade.side == side)
            for side in ("buy", "sell")
        )

    accounts = [
        (name, *sides("account", i, lambda trade, cents: trade.quantity * cents))
        for i, name in enumerate(ACCOUNTS)
    ]
    stocks = [
        (name, market.prices[i], *sides("symbol", i, lambda _trade, _cents: 1))
        for i, name in enumerate(SYMBOLS)
    ]
    rows = {
        "orders": [
            (
                *(t.order_id, ACCOUNTS[t.account], SYMBOLS[t.symbol], t.side, t.quantity),
                *(cents, place, 1, "order_received", 0, 0, 0, "received"),
            )
            for t, place, cents in done
        ],
        "instruments": [
            (name, PRICE_CENTS, prices[-1], len(prices) - 1, buys, sells, 0)
            for name, prices, buys, sells in stocks
        ],
        "accounts": [
            (name, opening_cents, 0, opening_cents - bought + sold, bought, sold, 0, 0)
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


def ops_of(steps: Sequence[Step]) -> list[Op]:
    """What the clients recorded of these steps, one operation each."""
    ops = []
    for at_s, (step, (place, cents)) in enumerate(
        zip(steps, Market.after(steps).fills, strict=True)
    ):
        told = step.outcome is Outcome.OK
        ops.append(
            Op(
                scheduled_s=at_s - step.sent_before_s,
                sent_s=at_s - step.sent_before_s,
                finished_s=at_s + step.told_after_s,
                region="west",
                kind=step.kind if isinstance(step, Read) else OpKind.ORDER,
                outcome=step.outcome,
                order_id="" if isinstance(step, Read) else step.order_id,
                symbol=SYMBOLS[step.symbol],
                side="" if isinstance(step, Read) else step.side,
                session=step.session,
                move_nbr=place if told else None,
                price_cents=cents if told else None,
            )
        )
    return ops


def history_of(steps: Sequence[Step]) -> History:
    """What the clients recorded of these steps."""
    return History.of(ops_of(steps))


def row_of(steps: Sequence[Step], i: int) -> int:
    """The row of the i-th step in `history_of(steps).ops`."""
    ops = ops_of(steps)
    return sum(op.scheduled_s < ops[i].scheduled_s for op in ops)


def ledger_of(steps: Sequence[Step]) -> list[str]:
    """The acknowledged orders, as a ledger has them."""
    return [s.order_id for s in steps if isinstance(s, Trade) and s.outcome is Outcome.OK]


REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
FAULT = FaultWindow(
    "kill",
    "us-west-2/1",
    injected_s=110,
    took_effect_s=110.2,
    healed_s=130,
    detail="no answer",
    regions=("us-west-2",),
    nodes=("us-west-2/1",),
)


RICH_CENTS = 10**9
"""In an account that pays for thousands of orders."""

STEADY_BEFORE, STEADY_AFTER = (
    Finding(f"steady_{when}", Verdict.PASS, f"steady for 6.0 s {when} the fault")
    for when in ("before", "after")
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
    what `About` and `RunRecord` have, or `checkers`.
    """
    history = _failover().with_faults(faults)
    ids = history.ops["order_id"]
    arguments = {
        "scenario": "node-loss",
        "backend": "fake",
        "topology": DEFAULT,
        "history": history,
        "ledger": ids,
        "final": final_of([Trade(order_id) for order_id in ids[lose:]], opening_cents=RICH_CENTS),
        "opening": final_of([], opening_cents=RICH_CENTS),
        "steady_before": STEADY_BEFORE,
        **({"steady_after": STEADY_AFTER} if faults else {}),
        "started_at": datetime(2025, 1, 1, 12, tzinfo=UTC),
        "finished_at": datetime(2025, 1, 1, 12, 1, tzinfo=UTC),
        "parameters": {"rate_per_s": 30},
        "workload": {"rate_per_s": 30, "seed": 1},
        "versions": {"postgresql": "18.3"},
    }
    arguments |= changes
    checkers = arguments.pop("checkers", CHECKERS)
    about = About(**{one.name: arguments.pop(one.name) for one in fields(About)})
    return Result.of(judge(RunRecord(about, **arguments), checkers))
