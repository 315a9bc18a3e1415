"""`labkit load`: what it refuses before anything starts, its lines, and its exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from commands import labkit

from labkit.errors import BadInput
from labkit.history import OP_COLUMNS, History
from labkit.record import Op, Outcome
from labkit.testing import FakeCluster
from labkit.workload.base import MOST_A_SECOND, MOST_CUSTOMERS
from labkit.workload.classes import ClassWorkload
from labkit.workload.shape import Steps
from labkit.workload.trading import TradingWorkload


class Clock:
    """Seconds that pass only where somebody sleeps, and more of them when the machine does."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asleep_s: dict[int, float] = {}
        self.sleeps = 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now_s += seconds + self.asleep_s.get(self.sleeps, 0.0)


class FakeRunning:
    """Twenty loops a second of each region, for as long as the clock says."""

    outcome = Outcome.OK
    interrupt_at_s = float("inf")
    ended = False

    def __init__(self, clock: Clock, regions: tuple[str, ...]) -> None:
        self.clock = clock
        self.regions = regions
        self.polled_s = clock.now_s
        self.all_ops: list[Op] = []

    def check(self) -> None:
        if self.clock.now_s >= self.interrupt_at_s:
            raise KeyboardInterrupt

    def poll(self) -> pd.DataFrame:
        ops = []
        for region in self.regions:
            number = round((self.clock.now_s - self.polled_s) * 20)
            for kind in ("place_order", "process_orders"):
                ops += [self._op(region, kind)] * number
        self.polled_s = self.clock.now_s
        self.all_ops += ops
        return History.of(ops).ops if ops else pd.DataFrame(columns=list(OP_COLUMNS))

    def _op(self, region: str, kind: str) -> Op:
        at_s = self.clock.now_s
        return Op(at_s, at_s, at_s + 0.05, region, kind, self.outcome, "")

    def stop(self) -> History:
        return History.of(self.all_ops)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("labkit.cli.load.monotonic", clock.monotonic)
    monkeypatch.setattr("labkit.cli.load.sleep", clock.sleep)
    return clock


@pytest.fixture
def started(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, clock: Clock
) -> list[FakeRunning]:
    """What the command started; its workers answer as the test says."""
    found: list[FakeRunning] = []

    @contextmanager
    def start(self: ClassWorkload, *_: Any) -> Iterator[FakeRunning]:
        found.append(FakeRunning(clock, self.regions or cluster.topology.region_names))
        yield found[-1]

    monkeypatch.setattr(ClassWorkload, "start", start)
    return found


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    "words", [["load", "orders"], ["load", "accounts", "--json"]], ids=" ".join
)
def test_a_lab_that_is_stopped_gets_no_load(words: list[str]) -> None:
    done = labkit(*words)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "labkit: the lab is stopped: `labkit up` starts it\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rate", "1e308"], "--rate 1e+308: it must be above 0 and at most 10,000"),
        (["--rate", "nan"], "--rate nan: it must be above 0 and at most 10,000"),
        (["--rate", "inf"], "--rate inf: it must be above 0 and at most 10,000"),
        (["--rate", "-1"], "--rate -1: it must be above 0 and at most 10,000"),
        (["--concurrency", "1000000"], "--concurrency 1e+06: it must be above 0 and at most 500"),
        (
            ["--concurrency", "9" * 400],
            "--concurrency of 400 digits: it must be above 0 and at most 500",
        ),
        (
            ["--iterations", "9" * 400],
            "--iterations of 400 digits: it must be above 0 and at most 1,000,000,000,000",
        ),
        (["--concurrency", "0"], "--concurrency 0: it must be above 0 and at most 500"),
        (["--duration", "0"], "--duration 0: it must be above 0 and at most 31,622,400"),
        (["--duration", "inf"], "--duration inf: it must be above 0 and at most 31,622,400"),
        (
            ["--iterations", "-3"],
            "--iterations -3: it must be above 0 and at most 1,000,000,000,000",
        ),
        (["--rate", "1", "--concurrency", "1"], "choose one"),
        (["--region", "mars"], "no region 'mars'"),
    ],
)
def test_a_load_that_cannot_be_sent_is_refused_before_anything_starts(
    started: list[FakeRunning], words: list[str], says: str
) -> None:
    done = labkit("load", "orders", *words)
    assert (done.exit_code, done.stdout, started) == (2, "", [])
    assert re.fullmatch(r"labkit: .*\n", done.stderr)
    assert says in done.stderr


def test_more_customers_than_the_primary_has_connections_for_are_refused(
    started: list[FakeRunning], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.cli.load._connections_taken", lambda dsn: 100)
    done = labkit("load", "orders", "--concurrency", "31", "--duration", "1")
    assert (done.exit_code, started) == (2, [])
    assert "at most 30, since the primary takes 100 connections" in done.stderr
    assert labkit("load", "orders", "--concurrency", "30", "--duration", "1").exit_code == 0


@pytest.mark.parametrize("make", [TradingWorkload])
@pytest.mark.parametrize(
    "load",
    [
        {"rate_per_s": 2 * MOST_A_SECOND},
        {"rate_per_s": Steps((1, 2 * MOST_A_SECOND), every_s=1)},
        {"concurrency": 2 * MOST_CUSTOMERS},
        {"concurrency": 10**400},
        {"iterations": 10**400},
    ],
    ids=lambda load: str(load)[:40],
)
def test_a_workload_has_the_same_bounds(make: Any, load: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="at most"):
        make(**load)


def lines(stderr: str) -> list[str]:
    """Those of the seconds."""
    return [line for line in stderr.splitlines() if re.match(r" +\d+ s ", line)]


@pytest.mark.usefixtures("started")
def test_a_line_counts_orders_and_not_the_calls_that_each_takes() -> None:
    done = labkit("load", "orders", "--rate", "60", "--duration", "3.5")
    assert done.exit_code == 0
    header = done.stderr.splitlines()[0]
    assert header.startswith("orders: 60 orders a second from all regions together; each is placed")
    assert len(lines(done.stderr)) == 3
    for line in lines(done.stderr):
        assert re.findall(r"(\d+)/s", line) == ["20", "20", "20"]


@pytest.mark.usefixtures("started")
def test_accounts_are_told_as_accounts() -> None:
    done = labkit("load", "accounts", "--concurrency", "2", "--duration", "1")
    assert done.stderr.startswith("accounts: 2 customers a region; each is opened")


@pytest.mark.usefixtures("started")
def test_after_a_machine_was_suspended_one_line_covers_the_time(clock: Clock) -> None:
    clock.asleep_s = {25: 30.0}
    done = labkit("load", "orders", "--duration", "36")
    assert len(lines(done.stderr)) == 6
    for line in lines(done.stderr):
        assert re.findall(r"(\d+)/s", line) == ["20", "20", "20"]


@pytest.mark.parametrize("words", [[], ["--json"]], ids=["text", "json"])
def test_a_load_of_which_nothing_was_acknowledged_ends_with_1(
    started: list[FakeRunning], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(FakeRunning, "outcome", Outcome.FAIL)
    done = labkit("load", "orders", "--duration", "2", *words)
    assert done.exit_code == 1
    assert "labkit: nothing was acknowledged: `labkit status`" in done.stderr
    if words:
        assert all(row["ok"] == 0 for row in json.loads(done.stdout)["throughput"])


def test_an_interrupt_ends_a_load_without_an_end_of_its_own_well(
    started: list[FakeRunning], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRunning, "interrupt_at_s", 102.0)
    assert labkit("load", "orders").exit_code == 0
    clock.now_s = 100.0
    assert labkit("load", "orders", "--duration", "9").exit_code == 130
