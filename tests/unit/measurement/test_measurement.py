from __future__ import annotations

import math

import numpy as np
import pytest
from histories import order, orders
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.history import History
from labkit.measurement.latency import latency_table
from labkit.measurement.live import LiveTail, RecentOps
from labkit.measurement.percentiles import least, nearest_rank, percentile
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import FaultWindow, Outcome
from labkit.verdict.steady import SteadyState


def ms(region: str, *latencies_ms: float) -> list:
    return [order(region, i, i + latency / 1000) for i, latency in enumerate(latencies_ms)]


@pytest.mark.parametrize(("percent", "count"), [(50, 1), (90, 10), (99, 100), (99.9, 1000)])
def test_a_percentile_is_told_when_a_value_lies_above_it(percent: float, count: int):
    values = np.arange(float(count))
    assert least(percent) == count
    assert percentile(values[1:], percent) is None
    told = percentile(values, percent)
    assert told is not None
    assert told < values.max() or count == 1


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=300),
    st.sampled_from([1, 50, 90, 95, 99, 99.9, 100]),
)
def test_at_least_so_many_percent_of_the_values_are_at_most_the_percentile(
    values: list[float], percent: float
):
    found = nearest_rank(np.array(values), percent)
    assert found in values
    at_most = sum(value <= found for value in values)
    below = sum(value < found for value in values)
    assert round(at_most * 1000) >= round(percent * 10 * len(values))
    assert round(below * 1000) < round(percent * 10 * len(values))


def test_p999_of_501_to_999_values_is_not_less_than_its_name_says():
    for count in (501, 600, 999, 1000, 1001, 2000):
        values = np.arange(1.0, count + 1)
        assert nearest_rank(values, 99.9) >= 0.999 * count


def test_no_values_have_no_percentile():
    assert percentile(np.array([]), 50) is None
    with pytest.raises(ValueError, match="no values"):
        nearest_rank(np.array([]), 50)


def test_a_row_a_region_and_phase_and_one_for_all_together():
    fault = FaultWindow("kill", "west/1", injected_s=110, healed_s=120)
    history = History.of([*orders("west", 100, 130), *orders("east", 100, 130)], [fault])
    rows = latency_table(history)
    assert [(row.region, row.phase) for row in rows] == [
        (region, phase)
        for region in ("west", "east", ALL_REGIONS)
        for phase in ("before", "outage", "during", "after")
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
    reads = [op._replace(kind="fresh_read") for op in ms("west", 1, 1, 1, 1)]
    assert latency_table(History.of([*ms("west", 20), *reads]))[0].ok == 1
    tail = LiveTail(["west"])
    tail.feed(History.of([*ms("west", 20), *reads]).ops)
    assert tail.sample(0.5).regions[0].acked_per_s == 1


def test_no_percentile_lies_above_the_slowest_operation():
    row = latency_table(History.of(ms("west", 2049.0)))[0]
    assert row.p50_ms == row.max_ms == pytest.approx(2049.0)


def test_a_tail_of_few_operations_is_not_told_beside_the_slowest():
    row = latency_table(History.of(ms("west", *range(1, 100))))[0]
    assert (row.p90_ms, row.p99_ms, row.p999_ms, row.max_ms) == (90, None, None, 99)


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
    assert math.isnan(east.slowest_ms)


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
    reads = [op._replace(kind="fresh_read") for op in orders("west", 0, 1)]
    recent.feed(History.of(reads).ops, since_s=0)
    assert recent.ops.empty
