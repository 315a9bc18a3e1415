"""What watching a run costs the process that watches: processor time a look, early and late.

    python -m bench.live

A look reads what the workers wrote since the last one, and gives the board its next sample. The
workers are made up: files of operations, as fast as asked. What is measured is processor time, so
another load on the machine makes it a little longer, not wrong. It must not grow with the run.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import process_time

from rich.console import Console
from rich.table import Table

from labkit.measurement.live import LiveTail, RecentOps, Watch
from labkit.record import Op
from labkit.run.experiment import WATCH_EVERY_S
from labkit.topology import DEFAULT
from labkit.ui.live_board import LiveBoard
from labkit.verdict.steady import SteadyState
from labkit.workload.oplog import OpLog, OpTail
from labkit.workload.running import frame_of

RATES_PER_S = (60, 1000)
RUN_S = 600.0
STEADY_S = 6.0
WARM_UP = 100
"""Looks until everything that is kept for some seconds is kept."""
SPAN = 100
"""Looks after that, and at the end, that are compared."""
AT_MOST_PERCENT = 10.0
"""Of one core, at 60 orders a second, with the steady state judged at each look."""
AT_MOST_GROWTH = 1.3
REGIONS = DEFAULT.region_names
TAKES_AT_MOST_S = 0.3


@dataclass
class Reached:
    """How far the orders are."""

    watermark_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of processor time a look.

    Attributes:
        early: mean of the first looks of a run; `late` of the last.
        steady: what judging the steady state adds, at the end.
    """

    rate_per_s: int
    early_ms: float
    late_ms: float
    steady_ms: float

    @property
    def percent(self) -> float:
        """Of one core, late in the run, judging the steady state."""
        return (self.late_ms + self.steady_ms) / 10 / WATCH_EVERY_S

    @property
    def growth(self) -> float:
        """Late against early."""
        return self.late_ms / self.early_ms


def made_up(rate_per_s: int, since_s: float, until_s: float) -> Iterator[Op]:
    """The orders that end between two moments, in no region's favour."""
    count = round((until_s - since_s) * rate_per_s)
    for i in range(count):
        finished_s = since_s + (i + 1) * (until_s - since_s) / count
        yield Op(
            scheduled_s=finished_s - random.uniform(0.05, TAKES_AT_MOST_S),
            sent_s=finished_s - 0.05,
            finished_s=finished_s,
            region=REGIONS[i % len(REGIONS)],
            kind="order",
            outcome="ok",
            order_id=f"{i:032x}",
            symbol=f"S{i % 50}",
            side="buy",
            session=i,
            move_nbr=i,
            price_cents=1234,
            attempts=1,
            sqlstate="",
        )


def measure(rate_per_s: int, board: Watch) -> Cost:
    """Look on a made-up run for as long as `RUN_S`, as fast as it goes."""
    board.begin(REGIONS, "made up")
    looks = round(RUN_S / WATCH_EVERY_S)
    took_ms: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reached = Reached()
        logs = {region: OpLog(folder, region, reached) for region in REGIONS}
        for log in logs.values():
            log.flush()
        tail, live = OpTail(folder, REGIONS), LiveTail(REGIONS)
        recent = RecentOps()

        def look(now_s: float) -> None:
            frame = frame_of(tail.read())
            recent.feed(frame, since_s=tail.watermark_s - STEADY_S)
            live.feed(frame)
            board.update(live.sample(now_s))

        for number in range(1, looks + 1):
            now_s = number * WATCH_EVERY_S
            for op in made_up(rate_per_s, now_s - WATCH_EVERY_S, now_s):
                logs[op.region].append(op)
            reached.watermark_s = now_s - TAKES_AT_MOST_S
            for log in logs.values():
                log.flush()
            took_ms.append(_took_ms(lambda now_s=now_s: look(now_s)))  # type: ignore[misc]
        steady = SteadyState(p99_ms=400)
        steady_ms = _took_ms(
            lambda: steady.check(
                recent.ops,
                regions=REGIONS,
                since_s=tail.watermark_s - STEADY_S,
                until_s=tail.watermark_s,
            )
        )
        for log in logs.values():
            log.__exit__()
    board.end()
    return Cost(rate_per_s, mean(took_ms[WARM_UP:][:SPAN]), mean(took_ms[-SPAN:]), steady_ms)


def _took_ms(do: Callable[[], object]) -> float:
    begun_s = process_time()
    do()
    return (process_time() - begun_s) * 1000


def main() -> None:
    """Measure and show."""
    table = Table(title=f"Watching a run, a look every {WATCH_EVERY_S:g} s (processor time)")
    for heading in ("orders a second", "early, ms", "late, ms", "of one core", "steady state, ms"):
        table.add_column(heading, justify="right")
    costs = [measure(rate, LiveBoard()) for rate in RATES_PER_S]
    for cost in costs:
        table.add_row(
            f"{cost.rate_per_s:,}",
            f"{cost.early_ms:.1f}",
            f"{cost.late_ms:.1f}",
            f"{cost.percent:.1f} %",
            f"{cost.steady_ms:.1f}",
        )
    console = Console()
    console.print(table)
    good = costs[0].percent <= AT_MOST_PERCENT and all(c.growth <= AT_MOST_GROWTH for c in costs)
    console.print(
        f"goal: at most {AT_MOST_PERCENT:g} % of a core at {RATES_PER_S[0]} orders a second, and "
        f"no more after {RUN_S:g} s than at first: {'held' if good else '[red]missed[/]'}"
    )


if __name__ == "__main__":
    main()
