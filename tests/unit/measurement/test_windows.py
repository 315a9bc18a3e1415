from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from histories import order, orders

from labkit.errors import BadInput
from labkit.history import History, Terms
from labkit.measurement.windows import (
    between,
    due_within,
    per_window,
    run_end_s,
    watched,
    watched_orders,
)
from labkit.record import FaultWindow, Op, Outcome

FAULT = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110.2, healed_s=120)


def test_the_run_ends_with_the_last_outcome():
    history = History.of([order("west", 100, 140), order("west", 101, 101.1)])
    assert run_end_s(history.ops) == 140


def test_an_empty_run_has_no_end():
    assert run_end_s(History.of([]).ops) == float("-inf")


def test_latency_stands_where_it_was_scheduled_and_rates_where_it_finished():
    history = History.of([order("west", 10.5, 12.5), order("west", 12.5, 12.6, Outcome.FAIL)])
    rows = per_window(history, origin_s=10, width_s=1).set_index("at_s")
    assert rows["p50_ms"].loc[0] == pytest.approx(2000)
    assert np.isnan(rows["p50_ms"].loc[2])
    assert rows["acked_per_s"].tolist() == [0, 0, 1]
    assert rows["failed_per_s"].tolist() == [0, 0, 1]


def test_the_median_of_a_window_is_one_of_its_latencies():
    took_s = (0.1, 0.2, 0.7, 0.8)
    history = History.of(
        [order("west", 10 + i / 10, 10 + i / 10 + s) for i, s in enumerate(took_s)]
    )
    (p50_ms, *_) = per_window(history, origin_s=10, width_s=1)["p50_ms"]
    assert p50_ms == pytest.approx(200), "by the nearest rank, as everywhere"


def test_windows_have_no_holes_and_one_starts_at_the_origin():
    history = History.of(
        [*orders("west", 98.2, 99, per_s=10), *orders("east", 104, 105, per_s=10)], [FAULT]
    )
    rows = per_window(history, origin_s=100, width_s=0.5)
    for _, of_region in rows.groupby("region"):
        assert np.diff(of_region["at_s"]) == pytest.approx(0.5)
        assert 0 in of_region["at_s"].tolist()


def test_windows_carry_the_rate_of_their_own_region():
    history = History.of([*orders("west", 100, 104, per_s=20), *orders("east", 100, 104, per_s=8)])
    rows = per_window(history, origin_s=100, width_s=2)
    first = rows[rows["at_s"] == 0].set_index("region")["acked_per_s"]
    assert first["west"] == pytest.approx(19.5)  # the last one is acknowledged 0.05 s later
    assert first["east"] == pytest.approx(8)


def test_operations_of_a_region_that_is_not_shown_are_left_out():
    frame = History.of([*orders("west", 100, 101), *orders("east", 100, 101)]).ops
    rows = per_window(History.from_frame(frame, regions=["east"]), origin_s=100, width_s=1)
    assert set(rows["region"]) == {"east"}
    assert rows["acked_per_s"].sum() == 20


def test_reads_are_no_throughput():
    reads = [op._replace(kind="fresh_read") for op in orders("west", 100, 101)]
    history = History.of([*orders("west", 100, 101), *reads])
    assert per_window(history, origin_s=100, width_s=1)["acked_per_s"].sum() == 20


def test_no_operations_give_no_windows():
    assert per_window(History.of([]), origin_s=0, width_s=1).empty


def test_a_window_without_width_is_refused():
    with pytest.raises(BadInput, match="width_s"):
        per_window(History.of([]), origin_s=0, width_s=0)


def due(*moments_s: float, outcome: Outcome = Outcome.OK) -> list[Op]:
    return [order("west", moment_s, moment_s + 0.1, outcome) for moment_s in moments_s]


def test_a_stretch_of_time_has_its_beginning_and_not_its_end():
    history = History.of(due(10, 11, 12, 13, 20))
    assert due_within(history, [(11, 13), (20, 21)]).tolist() == [1, 2, 4]
    assert due_within(history, []).tolist() == []


def test_a_trial_begins_with_what_was_due_when_the_pause_ended():
    faults = [
        replace(FAULT, injected_s=at_s, took_effect_s=None, healed_s=None) for at_s in (11, 20, 31)
    ]
    history = History.of(due(10, 19.9, 20, 29, 30, 35), faults)
    trials = between(history, [(25, 30), (15, 20)])
    assert [trial.ops["scheduled_s"].tolist() for trial in trials] == [
        [10, 19.9],
        [20, 29],
        [30, 35],
    ]
    assert [[fault.injected_s for fault in trial.faults] for trial in trials] == [[11], [20], [31]]


def test_without_a_pause_there_is_one_trial():
    history = History.of(due(10, 20), [FAULT])
    (trial,) = between(history, [])
    assert (len(trial.ops), trial.faults) == (2, (FAULT,))


def test_what_was_due_when_the_watch_ended_was_not_watched():
    history = replace(History.of(due(10, 11, 12)), terms=Terms(11, {}, {}))
    assert watched(history, 1.0).tolist() == [True, False, False]
    assert watched_orders(history)["scheduled_s"].tolist() == [10]


def test_without_an_end_of_the_watch_what_had_its_time_or_was_acknowledged_was_watched():
    history = History.of([*due(10, 11, 11.2, outcome=Outcome.FAIL), *due(11.9)])
    assert run_end_s(history.ops) == 12
    assert watched(history, 1.0).tolist() == [True, True, False, True]
    assert len(watched_orders(history)) == 4


def test_reads_do_not_prolong_the_time_that_orders_had():
    late = order("west", 30, 30.1)._replace(kind="fresh_read", order_id="")
    history = History.of([*due(10, outcome=Outcome.FAIL), *due(10.5), late])
    assert watched(history, 1.0).tolist() == [False, True, True]
