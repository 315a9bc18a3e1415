from __future__ import annotations

import pandas as pd
import pytest

from labkit.history import History
from labkit.measurement.load import ErrorCount, error_counts, throughput
from labkit.measurement.taxonomy import CLASSES, NO_ANSWER, NO_CONNECTION
from labkit.record import Op, Outcome

NAN = float("nan")


def op(
    region: str, kind: str, outcome: Outcome = Outcome.OK, *, latency_s: float = 0.1, **more: object
) -> Op:
    return Op(
        **{
            "scheduled_s": 10.0,
            "sent_s": 10.0,
            "finished_s": 10.0 + latency_s,
            "region": region,
            "kind": kind,
            "outcome": outcome,
            "order_id": "",
            **more,
        }
    )


def frame(*ops: Op) -> pd.DataFrame:
    return History.of(ops).ops


def test_throughput_is_by_region_and_kind_and_in_all() -> None:
    ops = frame(
        *(op("west", "place_order", latency_s=0.1) for _ in range(9)),
        op("west", "place_order", Outcome.FAIL, latency_s=2.0),
        op("west", "process", Outcome.INFO),
        op("east", "place_order", latency_s=0.3),
    )
    rows = throughput(ops, ("east", "west"))
    assert [(r.region, r.kind, r.ok, r.fail, r.info) for r in rows] == [
        ("east", "place_order", 1, 0, 0),
        ("west", "place_order", 9, 1, 0),
        ("west", "process", 0, 0, 1),
        ("all regions", "place_order", 10, 1, 0),
        ("all regions", "process", 0, 0, 1),
    ]
    everywhere = rows[3]
    assert everywhere.ok_per_s == pytest.approx(10 / 2.0), "over the whole span"
    assert everywhere.p50_ms == pytest.approx(100, rel=1e-3)
    assert everywhere.p99_ms is None
    assert everywhere.max_ms == pytest.approx(300, rel=1e-3)
    assert rows[2].p50_ms is None


def test_one_region_needs_no_row_for_all() -> None:
    assert [r.region for r in throughput(frame(op("west", "order")), ("west",))] == ["west"]


def test_without_operations_there_is_nothing_to_tell() -> None:
    assert throughput(frame(), ("west",)) == ()
    assert error_counts(frame()) == ()


def test_errors_are_counted_by_class_the_most_frequent_first() -> None:
    ops = frame(
        op("west", "order"),
        op("west", "order", Outcome.INFO, sqlstate="57P01"),
        *(op("west", "order", Outcome.FAIL, sqlstate="25006") for _ in range(3)),
        op("east", "order", Outcome.INFO),
        op("east", "order", Outcome.INFO),
        op("east", "order", Outcome.FAIL, sent_s=NAN, attempts=0),
    )
    counts = error_counts(ops)
    assert counts[:2] == (
        ErrorCount("fail", CLASSES["25"], "25006", 3),
        ErrorCount("info", NO_ANSWER, "", 2),
    )
    assert set(counts[2:]) == {
        ErrorCount("info", CLASSES["57"], "57P01", 1),
        ErrorCount("fail", NO_CONNECTION, "", 1),
    }
