from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from histories import order, orders, outage
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.history import History, Terms
from labkit.measurement.outages import Healthy
from labkit.measurement.recovery import Recovery, recovery, rpo_s, write_gap_s
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import FaultWindow, Op, Outcome

KILL = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110.1, healed_s=130)
UNHEALED = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110.1)


def of(ops: list[Op], *faults: FaultWindow, region: str = "west") -> Recovery:
    """The row of one region under the first fault."""
    rows = recovery(History.of(ops, faults or (KILL,)))
    return next(row for row in rows if row.region == region)


def failover(region: str, start_s: float = 110, end_s: float = 116, until_s: float = 140) -> list:
    """Service from 100 s on, gone between `start_s` and `end_s`."""
    return [
        *orders(region, 100, start_s),
        *outage(region, start_s, end_s),
        *orders(region, end_s, until_s),
    ]


def within(row: Recovery, truth_s: float) -> bool:
    """Whether an RTO is what it should be, within the error that it states."""
    assert row.rto_s is not None
    return abs(row.rto_s - truth_s) <= row.rto_error_s + 1e-9


def around(
    per_s: float,
    *lost: tuple[float, float],
    outcome: Outcome = Outcome.FAIL,
    latency_s: float = 0.05,
    until_s: float = 150,
) -> list[Op]:
    """Orders from 90 s on, each due between two moments of `lost` ending so."""
    return [
        op._replace(outcome=outcome, finished_s=op.scheduled_s + latency_s)
        if any(since_s <= op.scheduled_s < end_s for since_s, end_s in lost)
        else op
        for op in orders("west", 90, until_s, per_s=per_s)
    ]


def stalled(per_s: float, since_s: float, end_s: float) -> list[Op]:
    """Orders due in an outage are acknowledged when it ends, as quickly as others."""
    return [
        op._replace(finished_s=end_s + 0.05) if since_s <= op.scheduled_s < end_s else op
        for op in orders("west", 90, 150, per_s=per_s)
    ]


@pytest.mark.parametrize("per_s", [1, 3, 20, 40, 500])
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INFO])
def test_an_outage_of_refused_or_unknown_orders_is_as_long_as_it_was(per_s, outcome):
    row = of(around(per_s, (110, 116.3), outcome=outcome))
    assert within(row, 6.3)
    assert row.rto_error_s <= 1 / per_s
    assert row.unavailable_s == pytest.approx(6.3, abs=row.unavailable_error_s + 1e-9)


@pytest.mark.parametrize("per_s", [1, 3, 20, 40, 500])
def test_a_stalled_outage_is_not_shorter_by_what_counts_as_in_time(per_s):
    row = of(stalled(per_s, 110, 116.3))
    assert within(row, 6.3)
    assert row.rto_s == pytest.approx(6.3, abs=0.01)
    assert row.unavailable_s == pytest.approx(6.3, abs=0.01)


@pytest.mark.parametrize("length_s", [0.5, 0.95, 1.05])
def test_a_stall_of_about_the_time_that_counts_as_in_time_is_an_outage_too(length_s):
    assert of(stalled(40, 110, 110 + length_s)).rto_s == pytest.approx(length_s, abs=0.01)


def test_half_of_the_orders_refused_is_an_outage_and_half_of_its_time_lost():
    ops = [
        op._replace(outcome=Outcome.FAIL) if i % 2 and 110 <= op.scheduled_s < 120 else op
        for i, op in enumerate(orders("west", 90, 150, per_s=40))
    ]
    row = of(ops)
    assert within(row, 10)
    assert row.rto_error_s < 0.5
    assert row.unavailable_s == pytest.approx(5, abs=0.1)


def test_one_order_in_ten_refused_is_no_outage_and_a_tenth_of_the_time_lost():
    ops = [
        op._replace(outcome=Outcome.FAIL) if i % 10 == 3 and 110 <= op.scheduled_s < 140 else op
        for i, op in enumerate(orders("west", 90, 150, per_s=40))
    ]
    row = of(ops, UNHEALED)
    assert row.rto_s == 0
    assert row.unavailable_s == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("per_s", [1, 20, 200])
def test_a_single_refused_order_is_availability_lost_and_no_outage(per_s):
    row = of(around(per_s, (112, 112 + 1 / per_s)))
    assert row.rto_s == 0
    assert row.rto_error_s == pytest.approx(2 / per_s)
    assert row.unavailable_s == pytest.approx(1 / per_s)


def test_without_an_outage_the_error_says_how_long_one_may_have_been_unseen():
    assert of(around(20)).rto_s == 0
    assert of(around(20)).rto_error_s == pytest.approx(0.05)
    holes = [op for op in around(20) if not 112 < op.scheduled_s < 113]
    assert of(holes).rto_error_s == pytest.approx(1.0, abs=0.06)


def test_the_longest_outage_is_the_rto_and_all_of_them_are_lost():
    row = of(around(40, (110, 113), (120, 124)))
    assert within(row, 4)
    assert row.unavailable_s == pytest.approx(7, abs=0.1)


def test_an_outage_is_charged_to_a_fault_from_the_injection_on():
    row = of(around(40, (108, 114)))
    assert within(row, 4)
    assert row.unavailable_s == pytest.approx(4, abs=0.05)


@pytest.mark.parametrize("begins_s", [110.5, 111.9, 112.1, 125.0])
def test_an_outage_that_begins_later_counts_from_its_own_beginning(begins_s):
    assert within(of(around(40, (begins_s, begins_s + 2))), 2)


def test_orders_that_are_slower_than_in_time_are_an_outage_and_others_wait_once():
    late = of(around(40, (110, 120), outcome=Outcome.OK, latency_s=1.1))
    assert within(late, 10)
    slow = of(around(40, (110, 120), outcome=Outcome.OK, latency_s=0.9))
    assert slow.rto_s == pytest.approx(0.85, abs=0.03), "no answer came for so long, then all"


def test_a_queue_that_drains_is_part_of_the_outage_until_orders_are_in_time():
    """Down 110 to 116.3; 60 a second are done while 40 a second come: 127 has the first answer in
    time."""
    ops, free_s = [], 0.0
    for op in orders("west", 90, 150, per_s=40):
        gone = op.scheduled_s >= 110
        free_s = max(free_s + 1 / 60, 116.3 if gone else 0.0, op.scheduled_s)
        ops.append(op._replace(finished_s=free_s + 0.05))
    row = of(ops)
    assert row.rto_s == pytest.approx(17.0, abs=0.1)


def test_a_failure_shortly_after_an_outage_does_not_prolong_it():
    assert within(of(around(40, (110, 116), (116.7, 116.72))), 6)


def test_service_that_ceases_again_within_a_second_was_not_back():
    assert within(of(around(40, (110, 116), (116.6, 118))), 8)


def test_rto_is_none_when_service_never_came_back():
    row = of(around(20, (110, 150)), UNHEALED)
    assert row.rto_s is None
    assert row.no_rto.startswith("not recovered in ")
    assert row.at_least_s == pytest.approx(39, abs=0.3), "the last slow_ms are not judged"


def test_service_for_less_than_a_second_before_the_end_is_no_recovery():
    assert of(around(20, (110, 149.5))).rto_s is None


def test_a_relapse_that_does_not_end_is_no_recovery():
    assert of(around(20, (110, 116), (130, 150))).rto_s is None


def test_an_order_that_failed_because_the_run_ended_is_not_held_against_service():
    ops = [*orders("west", 100, 139.9), order("west", 139.9, 140, Outcome.INFO)]
    assert of(ops).rto_s == 0


def watched_until(history: History, until_s: float) -> History:
    return replace(history, terms=Terms(until_s, {}, {}))


def test_what_happens_after_service_was_watched_is_no_outage():
    history = History.of(around(20, (110, 116), (140, 150)), [KILL])
    assert recovery(history)[0].rto_s is None
    watched = recovery(watched_until(history, 140))[0]
    assert within(watched, 6)
    assert watched.observed_s == pytest.approx(30, abs=0.1)


def test_orders_that_hung_until_the_run_ended_are_an_outage():
    ops = [
        *orders("west", 100, 110),
        *orders("west", 110, 140, ends_s=140, outcome=Outcome.INFO),
    ]
    assert of(ops, UNHEALED).rto_s is None


def test_a_fault_after_the_last_order_was_not_watched():
    row = of(orders("west", 100, 109))
    assert (row.rto_s, row.no_rto, row.observed_s) == (None, "not watched", 0)
    assert row.write_gap_s is None


def test_a_region_whose_records_end_before_the_run_has_no_rto():
    ops = [*orders("west", 100, 111), *orders("east", 100, 140)]
    row = of(ops)
    assert row.rto_s is None
    assert row.no_rto == "its records end 29.0 s before the end of the watch"
    assert of(ops, region=ALL_REGIONS).rto_s is None
    assert of(ops, region="east").rto_s == 0


def test_a_region_of_which_one_order_is_recorded_has_no_rto():
    row = of([*orders("west", 100, 140), order("east", 110.1, 110.15)], region="east")
    assert row.rto_s is None
    assert row.no_rto.startswith("its records end 29.")


def test_a_run_whose_records_all_end_before_the_healing_has_no_rto():
    row = of([*orders("west", 100, 110.75), *orders("east", 100, 110.75)])
    assert row.rto_s is None
    assert row.no_rto.startswith("its records end 19.")


def test_a_run_whose_records_all_end_before_service_was_seen_to_be_back_has_no_rto():
    history = History.of(orders("west", 100, 111), [UNHEALED])
    (row, _) = recovery(watched_until(history, 140))
    assert row.rto_s is None
    assert row.no_rto.startswith("its records end 29.")


@pytest.mark.parametrize(("per_s", "until_s"), [(20, 110.9), (2, 114)])
def test_a_second_or_ten_orders_after_the_fault_are_too_few_for_an_rto(per_s, until_s):
    row = of(orders("west", 100, until_s, per_s=per_s), UNHEALED)
    assert row.rto_s is None
    assert row.no_rto.startswith("watched for ")


def test_an_outage_that_was_over_counts_as_well_as_the_one_that_was_not():
    row = of(around(20, (110, 130), (148, 150)))
    assert row.rto_s is None
    assert row.at_least_s == pytest.approx(20, abs=0.1)


def test_an_outage_that_may_have_begun_with_either_of_two_faults_counts_for_both():
    first = FaultWindow("kill", "west/1", injected_s=109.98, healed_s=130)
    second = FaultWindow("kill", "west/2", injected_s=110.02, healed_s=130)
    rows = recovery(History.of(around(20, (110, 116)), [first, second]))
    found = {row.fault: row for row in rows if row.region == "west"}
    for fault in (first, second):
        row = found[fault.label]
        assert row.rto_s == pytest.approx(6, abs=0.05)
        assert within(row, 116 - max(fault.injected_s, 110))


def test_all_regions_together_name_the_region_that_has_no_rto():
    lost = [op._replace(region="east") for op in around(20, (110, 149.5))]
    ops = [*orders("west", 90, 150), *lost]
    row = of(ops, region=ALL_REGIONS)
    assert row.rto_s is None
    assert row.no_rto.startswith("east: not recovered in ")
    assert row.rto_error_s == 0
    every = of(around(20, (110, 149.5)), region=ALL_REGIONS)
    assert every.no_rto.startswith("not recovered in "), "one region is all there are"


def test_a_closed_loop_has_no_rto():
    """Customers that are stuck send nothing, so nobody asks whether service is back."""
    rows = recovery(History.of(around(20, (110, 116)), [KILL]), open_loop=False)
    for row in rows:
        assert (row.rto_s, row.unavailable_s) == (None, None)
        assert row.no_rto == "not measured in a closed loop"
        assert row.observed_s == pytest.approx(39.95)
        assert row.write_gap_s == pytest.approx(6, abs=0.1)


def test_orders_on_their_way_when_the_fault_strikes_belong_to_its_outage():
    late = [
        op._replace(finished_s=116.2) if 109.9 <= op.scheduled_s < 116 else op
        for op in orders("west", 90, 150, per_s=40, latency_s=0.2)
    ]
    row = of(late)
    assert row.rto_s == pytest.approx(6.0, abs=0.02)


def test_another_latency_after_the_fault_is_no_outage():
    """Another region leads, so an order takes twice as long; some gaps between orders are long."""
    rng = np.random.default_rng(3)
    due_s = 100 + np.cumsum(rng.exponential(1 / 20, 800))
    ops = [order("west", at, at + (0.07 if at < 110 else 0.22)) for at in due_s.tolist()]
    row = of(ops)
    assert row.rto_s == 0
    assert row.unavailable_s == 0


spans = st.tuples(st.floats(0.5, 12), st.sampled_from(["refused", "stalled"]))


@given(spans, st.floats(2, 40), st.floats(-50, 1e5), st.randoms(use_true_random=False))
def test_the_time_of_day_and_the_order_of_rows_do_not_matter(span, per_s, shift_s, random):
    length_s, way = span
    make = around(per_s, (110, 110 + length_s)) if way == "refused" else None
    ops = make or stalled(per_s, 110, 110 + length_s)
    moved = [
        op._replace(
            scheduled_s=op.scheduled_s + shift_s,
            sent_s=op.sent_s + shift_s,
            finished_s=op.finished_s + shift_s,
        )
        for op in ops
    ]
    random.shuffle(moved)
    fault = replace(KILL, injected_s=110 + shift_s, took_effect_s=None, healed_s=None)
    one, other = of(ops, UNHEALED), of(moved, fault)
    assert one.rto_s == pytest.approx(other.rto_s, abs=1e-4)
    assert one.rto_error_s == pytest.approx(other.rto_error_s, abs=1e-4)
    assert one.unavailable_s == pytest.approx(other.unavailable_s, abs=1e-4)


@given(st.floats(0.5, 10), st.floats(5, 40), st.floats(1, 5))
def test_another_region_does_not_change_what_a_region_went_through(length_s, per_s, other_per_s):
    ops = around(per_s, (110, 110 + length_s))
    east = orders("east", 90, 150, per_s=other_per_s)
    assert of([*ops, *east]) == of(ops)


@given(st.floats(1, 10), st.floats(5, 40), st.floats(1.1, 4))
def test_twice_as_slow_a_world_has_twice_as_long_an_outage(length_s, per_s, times):
    healthy = Healthy()
    slower = replace(
        healthy, slow_ms=healthy.slow_ms * times, sustained_s=healthy.sustained_s * times
    )
    ops = around(per_s, (110, 110 + length_s))
    stretched = [
        op._replace(scheduled_s=op.scheduled_s * times, finished_s=op.finished_s * times)
        for op in ops
    ]
    one = recovery(History.of(ops, [KILL]), healthy)[0]
    fault = replace(KILL, injected_s=110 * times, healed_s=130 * times)
    other = recovery(History.of(stretched, [fault]), slower)[0]
    assert other.rto_s == pytest.approx(one.rto_s * times, abs=0.01)
    assert other.rto_error_s == pytest.approx(one.rto_error_s * times, abs=0.01)


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=200), st.floats(1, 100))
def test_whatever_happens_numbers_are_possible(outcomes, per_s):
    ops = [order("west", 105 + i / per_s, 105.05 + i / per_s, o) for i, o in enumerate(outcomes)]
    row = of(ops, UNHEALED)
    assert (row.rto_s is None) == bool(row.no_rto)
    assert row.rto_s is None or 0 <= row.rto_s <= row.observed_s + 1
    assert row.rto_error_s >= 0
    assert row.at_least_s >= 0
    assert row.unavailable_s is None or row.unavailable_s >= 0


def test_every_region_is_measured_by_itself_and_the_slowest_is_the_whole():
    ops = [*failover("west", end_s=116), *failover("east", end_s=120), *orders("eu", 100, 140)]
    rows = {row.region: row for row in recovery(History.of(ops, [KILL]))}
    assert set(rows) == {"west", "east", "eu", ALL_REGIONS}
    assert rows["eu"].rto_s == 0
    assert rows["west"].rto_s == pytest.approx(6, abs=0.1)
    assert rows[ALL_REGIONS].rto_s == rows["east"].rto_s == pytest.approx(10, abs=0.1)


def test_a_fault_is_aimed_at_the_regions_that_it_names_and_not_at_all_of_them():
    ops = [*failover("west"), *orders("east", 100, 140)]
    rows = recovery(History.of(ops, [replace(KILL, regions=("west",))]))
    assert {row.region: row.aimed_at for row in rows} == {
        "west": True,
        "east": False,
        ALL_REGIONS: False,
    }


def test_one_region_that_stays_away_keeps_the_whole_from_recovering():
    gone = orders("eu", 110, 140, outcome=Outcome.FAIL)
    ops = [*failover("west"), *orders("eu", 100, 110), *gone]
    assert of(ops, region=ALL_REGIONS).rto_s is None


def test_a_region_that_fell_silent_leaves_the_whole_unwatched():
    row = of([*orders("west", 100, 140), *orders("east", 100, 109)], region=ALL_REGIONS)
    assert row.rto_s is None
    assert row.observed_s == 0


def test_an_outage_belongs_to_the_fault_injected_last_before_it():
    first = FaultWindow("kill", "west/1", injected_s=110, healed_s=115)
    second = FaultWindow("kill", "west/2", injected_s=125, healed_s=130)
    rows = recovery(History.of(failover("west", start_s=125, end_s=131), [first, second]))
    assert [row.rto_s for row in rows if row.region == "west"] == [0, pytest.approx(6.0, abs=0.1)]


def test_an_outage_still_on_when_the_next_fault_strikes_counts_for_both():
    first = FaultWindow("kill", "west/1", injected_s=110, healed_s=130)
    second = FaultWindow("kill", "west/2", injected_s=112, healed_s=130)
    rows = recovery(History.of(failover("west", end_s=120), [first, second]))
    assert [row.rto_s for row in rows if row.region == "west"] == [
        pytest.approx(10.0, abs=0.1),
        pytest.approx(8.0, abs=0.1),
    ]


def test_two_faults_at_one_moment_share_the_outage():
    both = [
        FaultWindow("kill", name, injected_s=110, healed_s=130) for name in ("west/1", "west/2")
    ]
    rows = recovery(History.of(failover("west"), both))
    assert [row.rto_s for row in rows if row.region == "west"] == pytest.approx([6.0, 6.0], abs=0.1)


def test_without_a_fault_there_is_nothing_to_recover_from():
    assert recovery(History.of(orders("west", 100, 140))) == ()


def test_a_run_without_operations_recovers_from_nothing():
    assert recovery(History.of([], [KILL])) == ()


@pytest.mark.parametrize(
    "wrong",
    [{"sustained_s": 0}, {"sustained_orders": 0}, {"good_ratio": 1.0}, {"slow_ms": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_health_definition_that_cannot_be_is_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Healthy(**wrong)


def gap(ops: list[Op], fault: FaultWindow = KILL) -> float | None:
    return write_gap_s(History.of(ops).ops, fault)


def test_the_write_gap_is_the_longest_time_between_two_acks_across_the_fault():
    assert gap(failover("west")) == pytest.approx(6.0)


def test_a_gap_outside_the_fault_does_not_count():
    ops = [*orders("west", 100, 102), *orders("west", 107, 140)]
    assert gap(ops) == pytest.approx(0.05)


def test_a_gap_that_began_before_the_injection_counts_whole():
    assert gap(failover("west", start_s=108, end_s=112)) == pytest.approx(4.0)


def test_a_gap_that_began_before_the_healing_counts_whole():
    assert gap(failover("west", start_s=129, end_s=135)) == pytest.approx(6.0)


def test_a_gap_that_never_closed_counts_to_the_end_of_the_run():
    ops = [*orders("west", 100, 110), *orders("west", 110, 140, ends_s=141, outcome=Outcome.INFO)]
    assert gap(ops, UNHEALED) == pytest.approx(141 - 110, abs=0.01)


def test_a_read_closes_neither_a_gap_nor_an_outage():
    """A replica answers reads while nobody can order."""
    reads = [
        op._replace(kind=kind, order_id="")
        for kind in ("fresh_read", "replica_read")
        for op in orders("west", 100, 160)
    ]
    ops = failover("west")
    assert gap([*ops, *reads]) == pytest.approx(6.0)
    assert recovery(History.of([*ops, *reads], [KILL])) == recovery(History.of(ops, [KILL]))


def test_failures_do_not_close_a_gap():
    ops = [
        *orders("west", 100, 110),
        *orders("west", 110, 120, outcome=Outcome.FAIL),
        *orders("west", 120, 140),
    ]
    assert gap(ops) == pytest.approx(10.05, abs=0.06)


def test_a_run_that_never_acked_is_one_gap():
    ops = orders("west", 100, 140, outcome=Outcome.FAIL, latency_s=0.05)
    assert gap(ops) == pytest.approx(40.0)


def test_the_gap_of_all_regions_is_closed_by_any_of_them():
    ops = [*failover("west"), *orders("east", 100, 140)]
    assert of(ops, region="west").write_gap_s == pytest.approx(6.0)
    assert of(ops, region=ALL_REGIONS).write_gap_s == pytest.approx(0.05)


def test_rpo_is_zero_when_nothing_was_lost():
    assert rpo_s(History.of(failover("west"), [KILL]), frozenset()) == 0


def test_rpo_reaches_from_the_first_lost_ack_to_the_fault():
    ops = [*orders("west", 100, 107), order("west", 107, 107.5, order_id="gone")]
    assert rpo_s(History.of(ops, [KILL]), {"gone"}) == pytest.approx(2.5)


def test_rpo_reaches_to_the_last_lost_ack_when_it_came_after_the_fault():
    """A primary cut off from its replicas that goes on acknowledging."""
    ops = [order("west", t, t + 0.5, order_id=f"gone-{t}") for t in (109, 111, 114)]
    lost = {"gone-109", "gone-111", "gone-114"}
    assert rpo_s(History.of(ops, [KILL]), lost) == pytest.approx(5.0)


def test_rpo_of_a_single_loss_after_the_fault_is_a_moment():
    ops = [order("west", 111, 111.5, order_id="gone")]
    assert rpo_s(History.of(ops, [KILL]), {"gone"}) == 0


def test_a_gap_that_begins_with_the_healing_or_ends_with_the_injection_is_outside_the_fault():
    ops = [order("west", at, at) for at in (100, 110, 111, 130, 140)]
    assert gap(ops) == pytest.approx(19)
    later = [order("west", at, at) for at in (80, 110, 111, 120, 130, 150)]
    assert gap(later) == pytest.approx(10)
