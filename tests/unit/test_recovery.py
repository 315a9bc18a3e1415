from __future__ import annotations

from dataclasses import replace

import pytest
from histories import order, orders, outage
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.history import FaultWindow, History, Op, Outcome
from labkit.measurement.latency import ALL_REGIONS
from labkit.measurement.recovery import (
    Healthy,
    Outage,
    Recovery,
    outages,
    recovery,
    rpo_s,
    write_gap_s,
)

KILL = FaultWindow("kill", "west/1", injected_s=110, bit_s=110.1, healed_s=130)
UNHEALED = FaultWindow("kill", "west/1", injected_s=110, bit_s=110.1)


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


def test_rto_is_from_the_injection_to_the_first_healthy_window():
    # what was scheduled in the outage's last second still ended within slow_ms: good again
    assert of(failover("west")).rto_s == pytest.approx(5.0)


def test_rto_counts_failures_and_slow_answers_alike():
    for lost in (
        orders("west", 110, 116, outcome=Outcome.FAIL),
        orders("west", 110, 116, outcome=Outcome.INFO, latency_s=3),
        orders("west", 110, 116, latency_s=1.01),
    ):
        ops = [*orders("west", 100, 110), *lost, *orders("west", 116, 140)]
        assert of(ops).rto_s == pytest.approx(6.0)


def test_rto_is_zero_when_service_never_became_unhealthy():
    row = of(orders("west", 100, 140))
    assert row.rto_s == 0
    assert row.unavailable_s == 0


def test_rto_is_none_when_service_never_came_back():
    ops = [*orders("west", 100, 110), *orders("west", 110, 140, outcome=Outcome.FAIL)]
    row = of(ops, UNHEALED)
    assert row.rto_s is None
    assert row.observed_s == pytest.approx(
        29, abs=0.25
    )  # the last slow_ms of the run are not judged


def test_too_few_healthy_windows_before_the_end_are_no_recovery():
    ops = [
        *orders("west", 100, 110),
        *orders("west", 110, 139.5, outcome=Outcome.FAIL),
        *orders("west", 139.5, 140),
    ]
    assert of(ops).rto_s is None


def test_one_bad_window_among_healthy_ones_prolongs_the_outage():
    ops = [
        *failover("west", until_s=116.5),
        *orders("west", 116.5, 116.75, outcome=Outcome.FAIL),
        *orders("west", 116.75, 140),
    ]
    windows = round((116.5 - 115) / 0.25)
    strict = Healthy(windows=windows + 1)
    rows = recovery(History.of(ops, [KILL]), strict)
    assert rows[0].rto_s == pytest.approx(6.75)


def test_an_outage_that_begins_soon_counts_from_the_injection():
    assert of(failover("west", start_s=111, end_s=117)).rto_s == pytest.approx(6.0)


def test_a_late_outage_counts_from_its_own_beginning():
    assert of(failover("west", start_s=125, end_s=131)).rto_s == pytest.approx(5.0)


def test_the_longest_outage_is_the_rto_and_all_of_them_the_unavailability():
    ops = [
        *failover("west", until_s=130),
        *orders("west", 130, 133, outcome=Outcome.FAIL),
        *orders("west", 133, 140),
    ]
    row = of(ops)
    assert row.rto_s == pytest.approx(5.0)
    assert row.unavailable_s == pytest.approx(5.0 + 3.0)


def test_a_relapse_that_does_not_end_is_no_recovery():
    ops = [*failover("west", until_s=130), *orders("west", 130, 140, outcome=Outcome.FAIL)]
    assert of(ops).rto_s is None


def test_windows_without_operations_are_passed_over():
    """One order a second: three of four windows are empty."""
    ops = [
        *orders("west", 100, 110, per_s=1),
        *orders("west", 110, 116, per_s=1, outcome=Outcome.FAIL),
        *orders("west", 116, 140, per_s=1),
    ]
    assert of(ops).rto_s == pytest.approx(6.0)


def test_an_order_that_failed_because_the_run_ended_is_not_held_against_service():
    ops = [*orders("west", 100, 139.9), order("west", 139.9, 140, Outcome.INFO)]
    assert of(ops).rto_s == 0


def test_what_happens_after_service_was_watched_is_no_outage():
    ops = [*failover("west"), *orders("west", 140, 141, outcome=Outcome.FAIL, latency_s=0)]
    history = History.of([*ops, *orders("west", 141, 143)], [KILL])
    assert recovery(history)[0].rto_s == pytest.approx(5.0)
    cut = History.of([*ops, *orders("west", 141, 141.5)], [KILL])
    assert recovery(cut)[0].rto_s is None
    watched = recovery(cut, watched_until_s=140)[0]
    assert watched.rto_s == pytest.approx(5.0)
    assert watched.observed_s == pytest.approx(30)


def test_an_order_that_failed_while_service_was_watched_counts_to_the_last_moment():
    ops = [*orders("west", 100, 139.5), *orders("west", 139.5, 140, outcome=Outcome.FAIL)]
    history = History.of(ops, [KILL])
    assert recovery(history)[0].rto_s == 0, "the run's end may have been the reason"
    assert recovery(history, watched_until_s=140)[0].rto_s is None


def test_orders_that_hung_until_the_run_ended_are_an_outage():
    ops = [
        *orders("west", 100, 110),
        *orders("west", 110, 140, ends_s=140, outcome=Outcome.INFO),
    ]
    assert of(ops, UNHEALED).rto_s is None


def test_a_fault_after_the_last_order_was_not_watched():
    row = of(orders("west", 100, 109))
    assert row.rto_s is None
    assert row.observed_s == 0
    assert row.write_gap_s is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "bad", "empty"]), max_size=40),
    st.integers(min_value=1, max_value=5),
)
def test_outages_are_those_a_plain_loop_finds(states: list[str], windows: int):
    healthy = Healthy(width_s=0.25, windows=windows)
    ops = [
        order("west", 100 + i / 4, 100 + i / 4 + (0.01 if state == "good" else 5))
        for i, state in enumerate(states)
        if state != "empty"
    ]
    judged = [(100 + i / 4, state) for i, state in enumerate(states) if state != "empty"]
    expected: list[Outage] = []
    begin, good_in_a_row = None, []
    for start_s, state in judged:
        if state == "bad":
            begin, good_in_a_row = begin or start_s, []
        elif begin is not None:
            good_in_a_row.append(start_s)
            if len(good_in_a_row) == windows:
                expected.append(Outage(begin, good_in_a_row[0]))
                begin, good_in_a_row = None, []
    if begin is not None:
        expected.append(Outage(begin, None))
    found, watched_s = outages(History.of(ops).ops, since_s=100, healthy=healthy)
    assert list(found) == expected
    assert watched_s == (judged[-1][0] + 0.25 if judged else 100)


def test_every_region_is_measured_by_itself_and_the_slowest_is_the_whole():
    ops = [*failover("west", end_s=116), *failover("east", end_s=120), *orders("eu", 100, 140)]
    rows = {row.region: row for row in recovery(History.of(ops, [KILL]))}
    assert set(rows) == {"west", "east", "eu", ALL_REGIONS}
    assert rows["eu"].rto_s == 0
    assert rows["west"].rto_s == pytest.approx(5)
    assert rows[ALL_REGIONS].rto_s == rows["east"].rto_s == pytest.approx(9)


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
    assert [row.rto_s for row in rows if row.region == "west"] == [0, pytest.approx(5.0)]


def test_an_outage_still_on_when_the_next_fault_strikes_counts_for_both():
    first = FaultWindow("kill", "west/1", injected_s=110, healed_s=130)
    second = FaultWindow("kill", "west/2", injected_s=112, healed_s=130)
    rows = recovery(History.of(failover("west", end_s=120), [first, second]))
    assert [row.rto_s for row in rows if row.region == "west"] == [
        pytest.approx(9.0),
        pytest.approx(7.0),
    ]


def test_two_faults_at_one_moment_share_the_outage():
    both = [
        FaultWindow("kill", name, injected_s=110, healed_s=130) for name in ("west/1", "west/2")
    ]
    rows = recovery(History.of(failover("west"), both))
    assert [row.rto_s for row in rows if row.region == "west"] == pytest.approx([5.0, 5.0])


def test_without_a_fault_there_is_nothing_to_recover_from():
    assert recovery(History.of(orders("west", 100, 140))) == ()


def test_a_run_without_operations_recovers_from_nothing():
    assert recovery(History.of([], [KILL])) == ()


def test_the_good_ratio_is_over_the_operations_of_a_window():
    """Two windows, ten orders each: one bad is tolerated at 0.9, two are not."""
    one_bad = [
        *[order("west", 100 + i / 40, 100 + i / 40 + (2 if i == 3 else 0.01)) for i in range(10)],
        *orders("west", 100.25, 110, per_s=40),
    ]
    two_bad = [*one_bad[:8], order("west", 100.2, 103), order("west", 100.225, 103), *one_bad[10:]]
    tolerant = Healthy(width_s=0.25, good_ratio=0.9)
    ops = {name: History.of(o).ops for name, o in (("one", one_bad), ("two", two_bad))}
    assert outages(ops["one"], since_s=100, healthy=tolerant)[0] == ()
    assert outages(ops["two"], since_s=100, healthy=tolerant)[0] == (Outage(100.0, 100.25),)


@pytest.mark.parametrize(
    "wrong",
    [{"width_s": 0}, {"windows": 0}, {"good_ratio": 1.1}, {"slow_ms": 0}, {"onset_s": -1}],
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
        replace(op, kind=kind, order_id="")
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
