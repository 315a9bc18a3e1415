from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from histories import order, orders

from labkit.errors import BadInput
from labkit.history import FaultWindow, History, Outcome
from labkit.measurement.histograms import ALL_REGIONS, HIGHEST_US, histogram, latency_table
from labkit.measurement.live import LiveTail, RecentOps
from labkit.verdict.steady import SteadyState


def ms(region: str, *latencies_ms: float) -> list:
    return [order(region, i, i + latency / 1000) for i, latency in enumerate(latencies_ms)]


def test_percentiles_are_those_of_numpy_within_three_digits():
    rng = np.random.default_rng(7)
    latencies_s = rng.lognormal(-3, 1, size=50_000)
    found = histogram(latencies_s).get_percentile_to_value_dict([50, 90, 99, 99.9])
    for percentile, value_us in found.items():
        assert value_us / 1e6 == pytest.approx(np.percentile(latencies_s, percentile), rel=2e-3)


def test_every_operation_is_counted_whatever_its_latency():
    latencies_s = np.array([0, 1e-7, 0.0021, 1, 59.9, 3600, 1e6])
    recorded = histogram(latencies_s)
    assert recorded.get_total_count() == len(latencies_s)
    assert recorded.values_are_equivalent(recorded.get_max_value(), HIGHEST_US)


def test_histograms_of_two_regions_add_up_to_that_of_both():
    rng = np.random.default_rng(7)
    west, east = rng.exponential(0.05, 500), rng.exponential(0.2, 300)
    together = histogram(west)
    together.add(histogram(east))
    assert together.equals(histogram(np.concatenate([west, east])))


def test_a_row_a_region_and_phase_and_one_for_all_together():
    fault = FaultWindow("kill", "west/1", injected_s=110, healed_s=120)
    history = History.of([*orders("west", 100, 130), *orders("east", 100, 130)], [fault])
    rows = latency_table(history)
    assert [(row.region, row.phase) for row in rows] == [
        (region, phase)
        for region in ("west", "east", ALL_REGIONS)
        for phase in ("before", "during", "after")
    ]
    assert sum(row.ok for row in rows if row.region == ALL_REGIONS) == len(history.ops)


def test_percentiles_count_acknowledged_operations_only():
    failed = order("west", 0, 9, Outcome.FAIL)
    unknown = order("west", 0, 9, Outcome.INFO)
    row = latency_table(History.of([*ms("west", 10, 20, 30), failed, unknown]))[0]
    assert (row.ok, row.fail, row.info) == (3, 1, 1)
    assert row.p50_ms == pytest.approx(20, rel=1e-3)
    assert row.max_ms == pytest.approx(30)


def test_reads_do_not_count_as_orders():
    reads = [replace(op, kind="fresh_read") for op in ms("west", 1, 1, 1, 1)]
    assert latency_table(History.of([*ms("west", 20), *reads]))[0].ok == 1
    tail = LiveTail(["west"])
    tail.feed(History.of([*ms("west", 20), *reads]).ops)
    assert tail.sample(0.5).regions[0].acked_per_s == 1


def test_no_percentile_lies_above_the_slowest_operation():
    row = latency_table(History.of(ms("west", 2049.0)))[0]
    assert row.p50_ms == row.p999_ms == row.max_ms == pytest.approx(2049.0)


def test_a_phase_without_acknowledgements_has_no_percentiles():
    row = latency_table(History.of([order("west", 0, 1, Outcome.INFO)]))[0]
    assert (row.info, row.p50_ms, row.max_ms) == (1, None, None)


def test_the_tail_tells_the_last_second_of_each_region():
    tail = LiveTail(["west", "east"], width_s=1)
    tail.feed(History.of(orders("west", 8, 10, per_s=10, latency_s=0.1)).ops)
    tail.feed(History.of([order("east", 9, 9.5, Outcome.FAIL)]).ops)
    west, east = tail.sample(10.05).regions
    assert (west.region, west.acked_per_s, west.failed_per_s) == ("west", 10, 0)
    assert west.p50_ms == pytest.approx(100)
    assert (east.region, east.acked_per_s, east.failed_per_s) == ("east", 0, 1)
    assert math.isnan(east.p99_ms)


def test_the_tail_says_nothing_when_nothing_finished():
    sample = LiveTail(["west"]).sample(5.0)
    assert sample.at_s == 5.0
    assert sample.regions[0].acked_per_s == 0
    assert math.isnan(sample.regions[0].p50_ms)


def test_the_tail_forgets_what_is_older_than_its_width():
    tail = LiveTail(["west"], width_s=1)
    tail.feed(History.of(orders("west", 0, 5)).ops)
    assert tail.sample(7.0).regions[0].acked_per_s == 0
    assert tail.sample(7.0).regions[0].failed_per_s == 0


def test_the_tail_keeps_what_finished_after_the_moment_asked_about():
    tail = LiveTail(["west"], width_s=1)
    tail.feed(History.of([order("west", 4, 5.5)]).ops)
    assert tail.sample(5.0).regions[0].acked_per_s == 0
    assert tail.sample(6.0).regions[0].acked_per_s == 1


def test_frames_without_operations_are_fine():
    tail = LiveTail(["west"])
    tail.feed(History.of([]).ops)
    assert tail.sample(1.0).regions[0].acked_per_s == 0


def test_a_tail_without_width_is_refused():
    with pytest.raises(BadInput, match="width_s"):
        LiveTail(["west"], width_s=0)


def test_the_recent_orders_are_those_of_the_last_seconds_however_long_the_run_is():
    recent = RecentOps()
    kept = []
    for at_s in range(0, 600, 2):
        recent.feed(History.of(orders("west", at_s, at_s + 2, per_s=10)).ops, since_s=at_s - 8)
        kept.append(len(recent.ops))
    assert max(kept) <= 101  # ten a second for ten seconds, and one at the edge
    assert recent.ops["scheduled_s"].min() >= 590


def test_a_recent_order_that_hung_for_long_is_kept_with_those_of_its_time():
    recent = RecentOps()
    hung = order("west", 20.5, 5.0)
    for at_s in (20, 24):
        recent.feed(History.of(orders("west", at_s, at_s + 4)).ops, since_s=20)
    recent.feed(History.of([hung]).ops, since_s=20)
    assert hung.finished_s in set(recent.ops["finished_s"])
    assert recent.ops["scheduled_s"].min() == 20


def test_the_recent_orders_are_judged_as_the_whole_run_is():
    steady = SteadyState(p99_ms=100)
    ops = [
        *orders("west", 0, 20),
        *orders("east", 0, 18),
        *orders("east", 18, 20, latency_s=0.3),
    ]
    whole = History.of(ops).ops
    recent = RecentOps()
    for second, frame in whole.groupby(whole["finished_s"] // 1):
        recent.feed(frame, since_s=min(13, second))
    for since_s, until_s in ((13, 17), (15, 19), (19, 20)):
        asked = {"regions": ["west", "east"], "since_s": since_s, "until_s": until_s}
        assert steady.check(recent.ops, **asked) == steady.check(whole, **asked)


def test_reads_are_no_recent_orders_and_nothing_fed_is_nothing_kept():
    recent = RecentOps()
    assert recent.ops.empty
    reads = [replace(op, kind="fresh_read") for op in orders("west", 0, 1)]
    recent.feed(History.of(reads).ops, since_s=0)
    assert recent.ops.empty
