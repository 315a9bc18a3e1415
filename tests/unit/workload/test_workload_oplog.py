from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from labkit.errors import BadInput
from labkit.history import OP_COLUMNS
from labkit.record import Op, Outcome
from labkit.trading.ids import RunId
from labkit.workload.oplog import OpLog, OpTail, ops_path
from labkit.workload.running import RunningWorkload
from labkit.workload.shape import Ramp, Shape, Steps
from labkit.workload.trading import TradingWorkload
from labkit.workload.worker import WorkerConfig

OP = Op(
    scheduled_s=1.0,
    sent_s=1.25,
    finished_s=1.5,
    region="us-west-2",
    kind="order",
    outcome=Outcome.OK,
    order_id="00000000-0000-8000-8000-000000000001",
    symbol="AAPL",
    side="buy",
    session=7,
    move_nbr=3,
    price_cents=12_340,
    attempts=1,
    sqlstate="",
)


@dataclass
class Reached:
    """What the orders have reached."""

    watermark_s: float = 0.0


def op_log(folder: Path, region: str) -> OpLog:
    return OpLog(folder, region, Reached())


def test_a_tails_watermark_is_that_of_the_region_that_is_farthest_behind(tmp_path: Path) -> None:
    west_reached, eu_reached = Reached(5.0), Reached(3.0)
    tail = OpTail(tmp_path, ["us-west-2", "eu-west-1"])
    with (
        OpLog(tmp_path, "us-west-2", west_reached) as west,
        OpLog(tmp_path, "eu-west-1", eu_reached) as eu,
    ):
        west.flush()
        tail.read()
        assert tail.watermark_s == -math.inf, "nothing is known of the other"
        eu.flush()
        assert tail.watermark_s == -math.inf, "not read"
        tail.read()
        assert tail.watermark_s == 3.0
        eu_reached.watermark_s = 6.0
        eu.flush()
        tail.read()
        assert tail.watermark_s == 5.0


def test_a_tail_returns_each_operation_once(tmp_path: Path) -> None:
    tail = OpTail(tmp_path, ["us-west-2", "eu-west-1"])
    assert tail.read() == []
    with op_log(tmp_path, "us-west-2") as west, op_log(tmp_path, "eu-west-1") as eu:
        west.append(OP)
        west.flush()
        assert [op["attempts"] for op in tail.read()] == [1]
        west.append(OP._replace(attempts=2))
        eu.append(OP._replace(attempts=3))
        assert tail.read() == [], "not flushed"
    assert [op["attempts"] for op in tail.read()] == [2, 3]
    assert tail.read() == []


def test_a_line_that_is_not_whole_waits_for_its_rest(tmp_path: Path) -> None:
    with op_log(tmp_path, "us-west-2") as log:
        log.append(OP)
        log.flush()
        log.append(OP._replace(attempts=2))
    path = ops_path(tmp_path, "us-west-2")
    whole = path.read_bytes()
    tail = OpTail(tmp_path, ["us-west-2"])
    path.write_bytes(whole[:-5])
    assert [op["attempts"] for op in tail.read()] == [1]
    path.write_bytes(whole)
    assert [op["attempts"] for op in tail.read()] == [2]


@pytest.fixture
def ended(tmp_path: Path) -> RunningWorkload:
    """A workload of two regions whose workers are gone."""
    never_sent = OP._replace(sent_s=None, outcome=Outcome.FAIL, attempts=0, region="eu-west-1")
    never_sent = never_sent._replace(move_nbr=None, price_cents=None)
    with op_log(tmp_path, "us-west-2") as west, op_log(tmp_path, "eu-west-1") as eu:
        west.append(OP._replace(scheduled_s=2.0))
        eu.append(never_sent)
    return RunningWorkload(RunId.new(), tmp_path, dict.fromkeys(["us-west-2", "eu-west-1"]), 0)


def test_poll_has_the_types_of_a_history_and_nan_for_never_sent(ended: RunningWorkload) -> None:
    frame = ended.poll()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == OP_COLUMNS
    assert frame["sent_s"].tolist()[0] == 1.25
    assert math.isnan(frame["sent_s"].tolist()[1])
    assert frame["move_nbr"].tolist() == [3, pd.NA]
    empty = ended.poll()
    assert empty.empty
    assert {name: str(dtype) for name, dtype in empty.dtypes.items()} == OP_COLUMNS


@pytest.mark.parametrize(
    ("rate_per_s", "concurrency"),
    [
        (Shape.of(20.0), None),
        (Shape.of(Steps((5, 10), every_s=3)), None),
        (None, Shape.of(Ramp(0, 9, over_s=2))),
    ],
)
def test_a_workers_configuration_reads_back(
    rate_per_s: Shape | None, concurrency: Shape | None
) -> None:
    config = WorkerConfig(
        region="us-west-2",
        worker=2,
        run=str(RunId.new()),
        dsn="postgresql://trader@127.0.0.1:1/trade",
        folder="/runs/one",
        rate_per_s=rate_per_s,
        concurrency=concurrency,
        iterations=7,
        seed=1,
        deadline_s=5.0,
        attempt_timeout_s=2.0,
        connections=12,
        regions=3,
        accounts=("a", "b"),
        symbols=("X",),
    )
    assert WorkerConfig.from_line(config.to_line()) == config


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"rate_per_s": 0}, "rate_per_s is 0, it must be above 0"),
        ({"rate_per_s": math.nan}, "rate_per_s is nan, it must be above 0"),
        ({"deadline_s": -1}, "deadline_s is -1, it must be above 0"),
        ({"rate_per_s": math.inf}, "rate_per_s is inf, it must be above 0 and at most 10,000"),
        ({"iterations": 10**400}, "iterations is of 401 digits, it must be above 0 and at most"),
        ({"deadline_s": math.inf}, "deadline_s is inf, it must be above 0 and finite"),
        ({"connections": 0}, "connections is 0, it must be above 0"),
        ({"symbols": ()}, "symbols is empty"),
        ({"regions": ()}, "regions is empty"),
        ({"iterations": 0}, "iterations is 0, it must be above 0"),
        ({"concurrency": 0}, "concurrency is 0, it must be above 0"),
        ({"skew": -1}, "skew is -1, it must be 0 or more"),
        ({"rate_per_s": 5, "concurrency": 5}, "both given"),
    ],
)
def test_a_workload_that_cannot_run_is_refused(setting: dict[str, object], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        TradingWorkload(**setting)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({}, "60 orders a second"),
        ({"rate_per_s": Steps((50, 100), every_s=10)}, "50, 100 (steps of 10 s) orders a second"),
        ({"rate_per_s": Ramp(0, 200, over_s=30)}, "0 to 200 (over 30 s) orders a second"),
        ({"concurrency": 8}, "8 customers a region"),
    ],
)
def test_a_workload_says_how_much_it_sends(setting: dict[str, object], words: str) -> None:
    assert TradingWorkload(**setting).load == words
