"""A load that rises in steps."""

from __future__ import annotations

import pytest
from histories import order, orders

from labkit.history import History
from labkit.measurement.steps import ALL, by_step
from labkit.record import Outcome
from labkit.report.figures.steps import steps_figure

WEST, EU = "us-west-2", "eu-west-1"
RISING = [
    *orders(WEST, 100, 104, per_s=10),
    *orders(WEST, 104, 108, per_s=30, latency_s=0.2),
    *orders(EU, 100, 108, per_s=5, latency_s=0.3),
]


def row(history: History, step: int, region: str):
    table = by_step(history, every_s=4, count=2)
    return table[(table["step"] == step) & (table["region"] == region)].iloc[0]


def test_each_step_shows_what_was_asked_and_what_came_out():
    history = History.of(RISING)
    assert row(history, 1, WEST)["offered_per_s"] == pytest.approx(10)
    assert row(history, 2, WEST)["offered_per_s"] == pytest.approx(30)
    assert row(history, 2, WEST)["acked_per_s"] == pytest.approx(30)
    assert row(history, 2, WEST)["p50_ms"] == pytest.approx(200)
    assert row(history, 1, EU)["p90_ms"] == pytest.approx(300)
    assert row(history, 2, ALL)["offered_per_s"] == pytest.approx(35)


def test_above_the_knee_less_comes_out_and_orders_wait():
    """30 a second are asked, 10 a second are done: the queue grows."""
    slow = [order(WEST, 104 + i / 30, 104.05 + i / 10) for i in range(120)]
    history = History.of([*orders(WEST, 100, 104, per_s=10), *slow])
    step = row(history, 2, WEST)
    assert step["acked_per_s"] == pytest.approx(10, abs=0.5)
    assert step["waiting"] == 80
    assert row(history, 1, WEST)["waiting"] <= 1


def test_what_was_never_acknowledged_is_counted_where_it_was_due():
    lost = orders(WEST, 105, 106, per_s=7, outcome=Outcome.FAIL)
    step = row(History.of([*orders(WEST, 100, 108, per_s=10), *lost]), 2, WEST)
    assert step["not_acked"] == 7
    assert step["acked_per_s"] == pytest.approx(10)


def test_a_region_that_was_silent_in_a_step_has_no_latency():
    history = History.of([*orders(WEST, 100, 108), *orders(EU, 105, 108)])
    assert row(history, 1, EU)["offered_per_s"] == 0
    assert row(history, 1, EU)[["p50_ms", "p90_ms"]].isna().all()


def test_the_figure_has_each_region_twice_and_the_diagonal():
    table = by_step(History.of(RISING), every_s=4, count=2)
    figure = steps_figure(table, (WEST, EU), "steps")
    names = [trace.name for trace in figure.data]
    assert names.count(WEST) == names.count(EU) == 2
    assert names.count("all that was asked") == 1
    assert ALL not in names
