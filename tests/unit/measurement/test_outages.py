"""Streams of a few orders whose numbers are worked out by hand."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest

from labkit.errors import BadInput
from labkit.measurement.outages import Healthy, Moment, Outage, Stream, Usual, _trimmed

USUAL = Usual(0.01, 0.02, 0.05)


def stream(
    count: int,
    *,
    per_s: float = 10,
    failed: range | tuple[int, ...] = (),
    usual: Usual = USUAL,
    took_s: float = 0.02,
    injected_s: tuple[float, ...] = (),
) -> Stream:
    """Orders from 0 s on, evenly, some of them refused."""
    due_s = np.arange(count) / per_s
    ok = ~np.isin(np.arange(count), np.array([*failed], dtype=int))
    return Stream(due_s, due_s + took_s, ok, usual, injected_s=injected_s)


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.1])
def test_a_ratio_of_all_or_nothing_tells_no_outage(ratio: float):
    with pytest.raises(BadInput, match="good_ratio must be between 0 and 1"):
        Healthy(good_ratio=ratio)


def test_one_order_may_end_an_outage():
    assert Healthy(sustained_orders=1).sustained_orders == 1


TEN = np.arange(1, 11) / 10
FOUR = np.array([0.05, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("before_s", "since_s", "usual"),
    [
        (TEN, [], (0.1, 0.5, 1.0)),
        (TEN, FOUR, (0.05, 0.2, 1.0)),
        (TEN[:1], FOUR, (0.05, 0.2, 0.675)),
        (TEN[:1], TEN[:1] * 9, (0.1, 0.9, 0.9)),
        ([], FOUR, (0.05, 0.2, 0.675)),
        ([], [], (0.0, 0.0, 0.0)),
    ],
    ids=["before", "both", "slower since", "one each", "since", "nothing"],
)
def test_usual_is_what_was_so_before_and_below_the_upper_fence_since(before_s, since_s, usual):
    found = Usual.of(np.array(before_s), np.array(since_s))
    assert (found.low_s, found.middle_s, found.high_s) == pytest.approx(usual)


def test_a_moment_is_off_by_the_farther_of_its_ends():
    assert Moment(5, 4, 8).error_s == 3
    assert Moment(5, 1, 8).error_s == 4


def test_what_lies_before_the_injection_is_not_the_faults():
    outage = Outage(Moment(5, 4, 6), None, 0, 9, 1.0)
    assert outage.since(5) == outage.start
    assert outage.since(5.1) == Moment(5.1, 5.1, 5.1)


def test_the_rate_is_that_of_the_times_between_orders():
    assert stream(11).per_s == 10
    assert (stream(1).per_s, stream(0).per_s) == (0, 0)


def test_silence_is_long_after_ten_orders_time_and_a_second():
    assert stream(11).long_s == pytest.approx(2)
    assert stream(1).long_s == 1


def test_few_is_a_fifth_of_a_second_or_of_ten_orders():
    assert stream(101, per_s=100).few == pytest.approx(20)
    assert stream(11, per_s=1).few == pytest.approx(2)


def test_in_time_is_within_the_limit_and_not_beyond():
    late = stream(3, per_s=1)
    late.finished_s[:] = late.due_s + np.array([1.0, 1.0 + 1e-9, 0.5])
    assert late.in_time.tolist() == [True, False, True]


def test_an_order_waited_that_took_longer_than_usual_and_was_in_time():
    one = stream(4, per_s=1)
    one.finished_s[:] = one.due_s + np.array([0.0509, 0.052, 1.5, 0.9])
    one.ok[3] = False
    assert one.waited.tolist() == [False, True, False, False]
    assert one.services_s.tolist() == pytest.approx([0, 1.042])


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([5], (5, 5, 1.0)),
        ([0, 10], (0, 10, 0.1)),
        ([3, 4, 5], (3, 5, 1.0)),
        ([0, *range(100, 150)], (100, 149, 1.0)),
        ([*range(100, 150), 300], (100, 149, 1.0)),
        ([98, *range(100, 150)], (98, 149, 50 / 51)),
        (range(0, 100, 2), (0, 98, 0.5)),
    ],
)
def test_a_single_failure_far_from_an_outage_does_not_prolong_it(places, found):
    first, last, ratio = _trimmed(np.array(places))
    assert (first, last, ratio) == (*found[:2], pytest.approx(found[2]))


def test_an_order_stands_for_half_of_the_time_to_each_neighbour():
    three = stream(3)
    three.due_s[:] = [0, 1, 3]
    assert three._share_s.tolist() == [1, 1.5, 2]
    assert stream(1)._share_s.tolist() == [0]


@pytest.mark.parametrize(
    ("place", "at_s"), [(0, 0), (0.5, 5), (1.25, 12.5), (2, 20), (-1, 0), (7, 20)]
)
def test_a_place_between_two_orders_is_a_moment_between_them(place: float, at_s: float):
    assert stream(3, per_s=0.1)._due_at(place) == at_s


def test_an_outage_lies_between_the_orders_that_were_served():
    (outage,) = stream(100, failed=range(30, 60)).outages
    assert (outage.first, outage.last, outage.share) == (30, 59, 1.0)
    assert outage.start == Moment(pytest.approx(2.95), pytest.approx(2.9), pytest.approx(3.0))
    assert outage.end == Moment(pytest.approx(5.95), pytest.approx(5.9), pytest.approx(6.0))


@pytest.mark.parametrize("injected_s", [2.9, 2.97, 3.05])
def test_a_fault_that_may_have_begun_an_outage_did(injected_s: float):
    (outage,) = stream(100, failed=range(30, 60), injected_s=(injected_s,)).outages
    assert outage.start.at_s == injected_s


@pytest.mark.parametrize("injected_s", [2.85, 3.06])
def test_a_fault_before_the_last_order_served_or_after_the_first_that_was_not_did_not(
    injected_s: float,
):
    (outage,) = stream(100, failed=range(30, 60), injected_s=(injected_s,)).outages
    assert outage.start.at_s == pytest.approx(2.95)


@pytest.mark.parametrize(("until", "ended"), [(88, False), (89, False), (90, True)])
def test_service_is_back_when_ten_orders_and_a_second_were_served(until: int, ended: bool):
    """The last order missed is the 79th, at 7.9 s."""
    (outage,) = stream(until, failed=range(30, 80)).outages
    assert (outage.end is not None) is ended


@pytest.mark.parametrize("per_s", [1, 3, 10])
def test_two_missed_orders_are_single_failures_and_three_an_outage(per_s: float):
    """More than a fifth of ten orders, as docs/runs.md has it."""
    assert stream(100, per_s=per_s, failed=(30, 31)).outages == ()
    assert len(stream(100, per_s=per_s, failed=(30, 31, 32)).outages) == 1


@pytest.mark.parametrize("per_s", [20, 40, 100])
def test_a_fifth_of_a_seconds_orders_are_single_failures_and_one_more_an_outage(per_s: int):
    fifth = per_s // 5
    due = 5 * per_s
    assert stream(due, per_s=per_s, failed=range(30, 30 + fifth)).outages == ()
    assert len(stream(due, per_s=per_s, failed=range(30, 31 + fifth)).outages) == 1


def test_one_order_in_five_is_no_outage_however_long_and_one_in_four_is():
    assert stream(200, failed=range(20, 180, 5)).outages == ()
    assert len(stream(200, failed=range(20, 180, 4)).outages) == 1


def test_failures_apart_by_more_than_ten_orders_and_a_second_are_two_outages():
    two = stream(100, failed=(*range(20, 30), *range(41, 50))).outages
    assert [(one.first, one.last) for one in two] == [(20, 29), (41, 49)]
    assert len(stream(100, failed=(*range(20, 30), *range(39, 50))).outages) == 1


def test_service_that_is_gone_is_gone_from_the_start_to_the_end_or_as_long_as_it_is_watched():
    ended, lasting = stream(100, failed=range(30, 60)), stream(60, failed=range(30, 60))
    assert ended.gone(99) == [(pytest.approx(2.95), pytest.approx(5.95))]
    assert lasting.gone(99) == [(pytest.approx(2.95), 99)]


def test_the_longest_time_without_service_that_is_no_outage_is_hidden():
    assert stream(100).hidden_s(2.55, 5.52) == pytest.approx(0.1)
    assert stream(100).hidden_s(2.51, 2.57) == pytest.approx(0.06)
    assert stream(100, failed=(30, 31)).hidden_s(0, 9) == pytest.approx(0.3)
    assert stream(100, failed=range(30, 60)).hidden_s(0, 9) == pytest.approx(0.1)
    assert stream(60, failed=range(30, 60)).hidden_s(0, 9) == pytest.approx(0.1)
    assert stream(100, failed=(*range(30, 60), 80)).hidden_s(0, 9) == pytest.approx(0.2)
    assert stream(100, failed=(10, *range(30, 60))).hidden_s(0, 9) == pytest.approx(0.2)


NONE_LOST = (2.576 + 2.8) / 10


@pytest.mark.parametrize(
    ("failed", "span_s", "lost_s", "error_s"),
    [
        ((), (0, inf), 0, NONE_LOST),
        ((50,), (0, inf), 0.1, (2.576 * sqrt(2.5) + 2.8) / 10),
        ((50,), (5.0, 5.1), 0.1, (2.576 * sqrt(2.5) + 2.8) / 10),
        ((50,), (5.05, 9), 0, NONE_LOST),
        ((50,), (0, 5.0), 0, NONE_LOST),
        (range(30, 60), (0, 9), 3.0, 0.1),
        (range(30, 60), (4, 9), 1.95, 0.05),
        (range(30, 60), (0, 4), 1.05, 0.1),
        ((10, *range(30, 60)), (0, 9), 3.1, 0.1 + (2.576 * sqrt(2.5) + 2.8) / 10),
        ((*range(30, 60), 80), (0, 9), 3.1, 0.1 + (2.576 * sqrt(2.5) + 2.8) / 10),
    ],
)
def test_lost_is_the_length_of_outages_and_the_time_of_single_failures(
    failed, span_s: tuple[float, float], lost_s: float, error_s: float
):
    assert stream(100, failed=failed).lost_s(*span_s) == pytest.approx((lost_s, error_s))


def test_of_an_outage_in_which_some_were_served_those_that_were_not_are_lost():
    every_other = range(20, 80, 2)
    lost_s, error_s = stream(100, failed=every_other).lost_s(0, 9)
    assert lost_s == pytest.approx(3.0)
    share = 29 / 58
    assert error_s == pytest.approx((2.576 * sqrt(1.5 * 30 * (1 - share) + 1) + 2.8) / 10)
