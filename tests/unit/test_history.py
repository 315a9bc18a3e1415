"""Histories: order, and that what was saved is what is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from inspect import getdoc
from math import isnan
from pathlib import Path

import pandas as pd
import pytest

from labkit.errors import BadInput
from labkit.events import Event, Sign
from labkit.history import OP_COLUMNS, History, load_faults
from labkit.record import FaultWindow, NodeRestart, Op, Outcome

RUNS_MD = Path(__file__).parents[2] / "docs" / "runs.md"
OPS = [
    Op(2.0, 2.0, 2.5, "us-west-2", "order", Outcome.OK, "o2", "XYZ", "buy", 7, 3, 12_340),
    Op(1.0, 1.1, 1.5, "us-east-1", "order", Outcome.FAIL, "o1", attempts=3, sqlstate="40001"),
    Op(3.0, None, 3.0, "us-west-2", "fresh_read", Outcome.FAIL, ""),
]
FAULTS = [
    FaultWindow("kill", "us-west-2/1", 1.5, 1.7, 4.0, "down and out of service"),
    FaultWindow("slow", "eu-west-1", 2.0),
    FaultWindow(
        *("rolling restart", "eu-west-1", 3.0),
        regions=("eu-west-1",),
        nodes=("eu-west-1/1",),
        restarts=(NodeRestart("eu-west-1/1", 1.5, 2.5),),
    ),
]


def test_operations_are_ordered_by_schedule() -> None:
    history = History.of(OPS)
    assert list(history.ops["order_id"]) == ["o1", "o2", ""]
    assert list(history.ops.index) == [0, 1, 2]


def test_the_columns_are_the_fields_of_an_operation() -> None:
    assert list(OP_COLUMNS) == list(Op._fields)
    ops = History.of(OPS).ops
    assert {name: str(ops[name].dtype) for name in OP_COLUMNS} == OP_COLUMNS


def test_the_docs_describe_the_columns_in_the_words_of_the_record() -> None:
    attributes = (getdoc(Op) or "").partition("Attributes:\n")[2]
    described = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", attributes, re.MULTILINE)
    rows = [f"| `{name}` | {' '.join(text.split())} |" for name, text in described]
    assert [name for name, _ in described] == list(OP_COLUMNS)
    assert "\n".join(rows) in RUNS_MD.read_text(encoding="utf-8")


def test_a_saved_history_is_loaded_equal(tmp_path: Path) -> None:
    history = History.of(OPS, FAULTS, anchor_s=1_700_000_000.25)
    history.save(tmp_path)
    loaded = History.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.ops, history.ops)
    assert loaded.faults == history.faults
    assert loaded.anchor_s == history.anchor_s
    assert loaded.regions == history.regions
    assert isnan(loaded.ops["sent_s"].iloc[2])
    assert loaded.ops["move_nbr"].isna().tolist() == [True, False, True]


def test_samples_of_another_format_are_refused_with_one_line(tmp_path: Path) -> None:
    History.of(OPS).ops.drop(columns="session").to_parquet(tmp_path / "samples.parquet")
    with pytest.raises(BadInput, match=r"samples\.parquet: format 1, this labkit reads 3; [^\n]*$"):
        History.load(tmp_path)


@pytest.mark.parametrize("name", ["samples.parquet", "faults.jsonl", "events.jsonl"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"no json\n"])
def test_a_damaged_file_is_refused_in_one_line_that_names_it(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    found = Event(1.0, Sign.CONNECTED, "client", region="us-west-2")
    History.of(OPS, FAULTS).with_events([found]).save(tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInput, match=rf"{name}: damaged, or not written to its end \([^\n]*\)$"):
        History.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("faults.jsonl", {"fault": "kill", "target": "us-west-2/1", "injected_s": "soon"}),
        ("faults.jsonl", {"fault": 7, "target": "us-west-2/1", "injected_s": 1.0}),
        ("faults.jsonl", ["kill"]),
        ("events.jsonl", {"at_s": "soon", "sign": "connected", "source": "client"}),
        ("events.jsonl", {"at_s": 1.0, "sign": "connected", "source": "client", "region": 7}),
    ],
)
def test_a_value_of_another_kind_is_refused_as_damage(
    tmp_path: Path, name: str, line: object
) -> None:
    History.of(OPS, FAULTS).save(tmp_path)
    (tmp_path / name).write_text(json.dumps(line) + "\n")
    with pytest.raises(BadInput, match=rf"{name}: damaged, or not written to its end \([^\n]*\)$"):
        History.load(tmp_path)


def test_a_region_that_is_there_twice_is_refused_as_damage(tmp_path: Path) -> None:
    replace(History.of(OPS, FAULTS), regions=("us-west-2", "us-west-2")).save(tmp_path)
    with pytest.raises(BadInput, match="a region is there twice"):
        History.load(tmp_path)


def test_the_orders_of_a_history_are_the_history_without_its_reads() -> None:
    history = History.of(OPS, FAULTS, anchor_s=1.7e9)
    orders = history.orders
    assert list(orders.ops["order_id"]) == ["o1", "o2"]
    assert list(orders.ops.index) == [0, 1]
    assert (orders.faults, orders.anchor_s) == (history.faults, history.anchor_s)
    assert orders.regions == history.regions


def test_an_empty_history_is_loaded_equal(tmp_path: Path) -> None:
    History.of([]).save(tmp_path)
    loaded = History.load(tmp_path)
    assert loaded.ops.empty
    assert list(loaded.ops.columns) == list(OP_COLUMNS)
    assert loaded.faults == ()


def test_faults_are_saved_as_one_json_object_a_line(tmp_path: Path) -> None:
    History.of(OPS, FAULTS).save(tmp_path)
    lines = (tmp_path / "faults.jsonl").read_text().splitlines()
    assert [json.loads(line)["fault"] for line in lines] == ["kill", "slow", "rolling restart"]


def test_a_fault_that_an_older_labkit_recorded_says_less(tmp_path: Path) -> None:
    line = {"fault": "kill", "target": "us-west-2/1", "injected_s": 1.5, "took_effect_s": 1.7}
    (tmp_path / "faults.jsonl").write_text(json.dumps(line) + "\n")
    assert load_faults(tmp_path) == (FaultWindow("kill", "us-west-2/1", 1.5, 1.7),)


def test_regions_are_those_that_occur_or_those_that_were_driven(tmp_path: Path) -> None:
    assert History.of(OPS).regions == ("us-east-1", "us-west-2")
    driven = ("us-west-2", "us-east-1", "eu-west-1")
    history = History.from_frame(History.of(OPS).ops, regions=driven)
    history.save(tmp_path)
    assert History.load(tmp_path).regions == driven


def test_other_columns_of_a_frame_are_left_out_and_missing_ones_refused() -> None:
    frame = History.of(OPS).ops
    assert list(History.from_frame(frame.assign(colour="red")).ops.columns) == list(OP_COLUMNS)
    with pytest.raises(KeyError, match="outcome"):
        History.from_frame(frame.drop(columns="outcome"))


def test_faults_are_exchanged_and_closed_without_changing_the_old_ones() -> None:
    before = History.of(OPS, FAULTS[1:])
    healed = FAULTS[1].healed(9.0)
    after = before.with_faults([healed])
    assert before.faults[0].healed_s is None
    assert after.faults[0].healed_s == 9.0
    assert after.ops is before.ops
    assert healed.label == "slow eu-west-1"
