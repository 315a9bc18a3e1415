"""What judging costs: all checkers over 10^5, 10^6 and 10^7 operations of a run.

    python -m bench.checkers                # the table
    python -m bench.checkers 1000000        # one size

Each size is judged by a process of its own, from the files that a run leaves, so that its peak
memory is that of loading and judging. Operations are two thirds orders and one third reads, in
three regions, over 1,000 symbols; all orders are processed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from labkit.history import OP_COLUMNS, History
from labkit.record import OpKind, Outcome
from labkit.trading.audit import (
    ACCOUNT_COLUMNS,
    INSTRUMENT_COLUMNS,
    OPENING,
    ORDER_COLUMNS,
    FinalRead,
)
from labkit.trading.ids import RunId
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict
from labkit.verdict.recording import impossible, recording
from labkit.workload.ledger import LEDGER_FOLDER

SIZES = (10**5, 10**6, 10**7)
AT_MOST_S = 60.0
AT_MOST_GB = 2.0

REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
SYMBOLS, ACCOUNTS, SESSIONS = 1_000, 10_000, 3_000
PER_S = 2_000.0
OPENING_CENTS, STEP_CENTS = 10**14, 10


@dataclass(frozen=True, slots=True)
class Cost:
    """What judging one run took.

    Attributes:
        load_s: reading the files.
        check_s: all checkers.
        peak_gb: resident memory of the process at its highest, in 10^9 bytes.
    """

    load_s: float
    check_s: float
    peak_gb: float


def make_run(folder: Path, count: int) -> None:
    """A correct run of `count` operations: what a run folder holds, and a final read."""
    rng = np.random.default_rng(7)
    at_s = np.arange(count) / PER_S
    is_order = rng.random(count) < 2 / 3
    fresh = rng.random(count) < 1 / 2
    symbol = rng.integers(SYMBOLS, size=count)
    buys = rng.random(count) < 1 / 2
    region = rng.integers(len(REGIONS), size=count)
    initial = rng.integers(10**6, 10**7, size=SYMBOLS) * STEP_CENTS

    # places and prices: running sums of each symbol, in the order of time
    by_symbol = np.argsort(symbol, kind="stable")
    starts = np.searchsorted(symbol[by_symbol], np.arange(SYMBOLS))

    def running(values: np.ndarray) -> np.ndarray:
        total = np.cumsum(values[by_symbol])
        base = np.concatenate([[0], total])[starts]
        result = np.empty(count, dtype=np.int64)
        result[by_symbol] = total - base[symbol[by_symbol]]
        return result

    step = np.where(buys, STEP_CENTS, -STEP_CENTS) * is_order
    place = running(is_order)
    after = initial[symbol] + running(step)
    order_id = np.full(count, "", dtype=object)
    rows = np.flatnonzero(is_order)
    run = RunId.new()
    prefixes = [str(run.order_id(worker, 0))[:24] for worker in range(len(REGIONS))]
    order_id[rows] = [
        f"{prefixes[worker]}{sequence:012x}"
        for sequence, worker in enumerate(region[rows].tolist())
    ]
    kinds = [str(kind) for kind in (OpKind.ORDER, OpKind.FRESH_READ, OpKind.REPLICA_READ)]
    kind = np.where(is_order, 0, np.where(fresh, 1, 2))
    names = [f"S{number:04}" for number in range(SYMBOLS)]
    sent_s = at_s - rng.random(count) * 0.05
    ops = pd.DataFrame(
        {
            "scheduled_s": sent_s,
            "sent_s": sent_s,
            "finished_s": at_s + rng.random(count) * 0.05,
            "region": pd.Categorical.from_codes(region, REGIONS),
            "kind": pd.Categorical.from_codes(kind, kinds),
            "outcome": pd.Categorical.from_codes(np.zeros(count, np.int8), [str(Outcome.OK)]),
            "order_id": pd.Series(order_id, dtype="str"),
            "symbol": pd.Categorical.from_codes(symbol, names),
            "side": pd.Categorical.from_codes(
                np.where(is_order, np.where(buys, 1, 2), 0), ["", "buy", "sell"]
            ),
            "session": rng.integers(SESSIONS, size=count),
            "move_nbr": pd.array(place, dtype="Int64"),
            "price_cents": pd.array(after - step, dtype="Int64"),
            "attempts": np.ones(count, np.int32),
            "sqlstate": pd.Categorical.from_codes(np.zeros(count, np.int8), [""]),
        }
    )
    History.from_frame(ops[list(OP_COLUMNS)], regions=REGIONS).save(folder)
    (folder / LEDGER_FOLDER).mkdir()
    (folder / LEDGER_FOLDER / "all.log").write_text("".join(f"{i}\n" for i in order_id[rows]))

    account = rng.integers(ACCOUNTS, size=len(rows))
    quantity = rng.integers(1, 10, size=len(rows))
    price = (after - step)[rows]
    spent = [
        np.bincount(account, (price * quantity) * side, minlength=ACCOUNTS).astype(np.int64)
        for side in (buys[rows], ~buys[rows])
    ]
    orders = pd.DataFrame(
        {
            "order_id": pd.Series(order_id[rows], dtype="str"),
            "account_nbr": [f"A{number:05}" for number in account.tolist()],
            "symbol": np.array(names)[symbol[rows]],
            "side": np.where(buys[rows], "buy", "sell"),
            "quantity": quantity,
            "unit_price_cents": price,
            "move_nbr": place[rows],
            "received": 1,
            "statuses": "order_received,processing,order_processed",
            "executions": 1,
            "trades": 1,
            "trades_off": 0,
            "status": "processed",
        }
    )
    sides = [
        np.bincount(symbol[rows], side, minlength=SYMBOLS).astype(np.int64)
        for side in (buys[rows], ~buys[rows])
    ]
    instruments = pd.DataFrame(
        {
            "symbol": names,
            "initial_price_cents": initial,
            "current_price_cents": initial + STEP_CENTS * (sides[0] - sides[1]),
            "moves": sides[0] + sides[1],
            "buys": sides[0],
            "sells": sides[1],
            "strange": 0,
        }
    )
    accounts = pd.DataFrame(
        {
            "account_nbr": [f"A{number:05}" for number in range(ACCOUNTS)],
            "opening_balance_cents": OPENING_CENTS,
            "balance_cents": OPENING_CENTS - spent[0] + spent[1],
            "bought_cents": spent[0],
            "sold_cents": spent[1],
        }
    )
    final = FinalRead(
        orders.astype(ORDER_COLUMNS),
        instruments.astype(INSTRUMENT_COLUMNS),
        accounts.reindex(columns=list(ACCOUNT_COLUMNS), fill_value=0).astype(ACCOUNT_COLUMNS),
    )
    final.save(folder)
    nothing_yet = dict.fromkeys(("moves", "buys", "sells"), 0)
    not_yet = dict.fromkeys(("bought_cents", "sold_cents"), 0)
    opening = FinalRead(
        final.orders[:0],
        final.instruments.assign(current_price_cents=initial, **nothing_yet),
        final.accounts.assign(balance_cents=OPENING_CENTS, **not_yet),
    )
    opening.save(folder, OPENING)


def judge(folder: Path) -> Cost:
    """Load a run and let every checker look at it.

    Raises:
        AssertionError: a checker did not pass a correct run.
    """
    begun_s = perf_counter()
    evidence = Evidence.load(folder)
    loaded_s = perf_counter()
    assert recording(evidence, impossible(evidence)).verdict is Verdict.PASS
    for checker in CHECKERS:
        finding = checker.check(evidence)
        assert finding is not None
        assert finding.verdict is Verdict.PASS, finding
    checked_s = perf_counter()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(loaded_s - begun_s, checked_s - loaded_s, peak_kib * 1024 / 1e9)


def measure(count: int) -> Cost:
    """Make a run of so many operations and judge it in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for step in (["--make", str(count)], ["--judge"]):
            done = subprocess.run(
                [sys.executable, "-m", "bench.checkers", *step, folder],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
    return Cost(*map(float, done.stdout.split()))


def main(sizes: tuple[int, ...] = SIZES) -> None:
    """Print the table."""
    table = Table(title="Judging a run: all checkers", title_justify="left")
    for heading in ("operations", "load", "check", "an operation", "peak memory"):
        table.add_column(heading, justify="right")
    missed = []
    for count in sizes:
        cost = measure(count)
        table.add_row(
            f"{count:,}",
            f"{cost.load_s:.2f} s",
            f"{cost.check_s:.2f} s",
            f"{cost.check_s / count * 1e6:.2f} us",
            f"{cost.peak_gb:.2f} GB",
        )
        if cost.load_s + cost.check_s > AT_MOST_S or cost.peak_gb > AT_MOST_GB:
            missed.append(f"{count:,} operations: more than {AT_MOST_S:g} s or {AT_MOST_GB:g} GB")
    Console().print(table, *missed)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--make", count, folder]:
            make_run(Path(folder), int(count))
        case ["--judge", folder]:
            cost = judge(Path(folder))
            print(cost.load_s, cost.check_s, cost.peak_gb)
        case given:
            main(tuple(map(int, given)) or SIZES)
