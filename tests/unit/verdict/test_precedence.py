"""What had finished before what began: held against a comparison of every pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labkit.verdict.checkers.precedence import NEVER_US, Events, highest_before, too_low

Moment = tuple[int, int, int, int, int]
moments = st.tuples(
    st.integers(0, 2),  # group
    st.integers(-3, 3),  # begin
    st.one_of(st.integers(0, 3), st.just(NEVER_US)),  # how long
    st.integers(-2, 3),  # place
    st.integers(0, 1),  # places it takes
)


def events(*rows: Moment) -> Events:
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    group, begin, took, lo, step = table.T
    end = np.where(took == NEVER_US, NEVER_US, begin + took)
    return Events(np.arange(len(table)), group, begin, end, lo, lo + step)


def is_before(earlier: Events, i: int, event: Events, j: int) -> bool:
    return earlier.group[i] == event.group[j] and earlier.end_us[i] < event.begin_us[j]


@given(st.lists(moments, max_size=6), st.lists(moments, max_size=6))
def test_an_event_is_too_low_exactly_when_one_of_its_group_ended_higher_before(
    judged: list[Moment], held_against: list[Moment]
):
    mine, others = events(*judged), events(*held_against)
    found = too_low(mine, others)
    assert found.tolist() == [
        any(is_before(others, i, mine, j) and others.hi[i] > mine.lo[j] for i in range(len(others)))
        for j in range(len(mine))
    ]
    for j in np.flatnonzero(found):
        cause = highest_before(mine.chosen(np.array([j])), others)
        assert is_before(others, cause, mine, int(j))
        assert others.hi[cause] == max(
            others.hi[i] for i in range(len(others)) if is_before(others, i, mine, int(j))
        )


def test_what_begins_when_another_ends_is_not_after_it():
    ended, begins = events((0, 0, 5, 1, 1)), events((0, 5, 1, 0, 0))
    assert not too_low(begins, ended)[0]
    assert too_low(replace(begins, begin_us=np.array([6])), ended)[0]


def test_what_nobody_saw_the_end_of_is_before_nothing():
    """Also not before what began when no recording reaches."""
    never, late = events((0, 0, NEVER_US, 1, 1)), events((0, 0, 0, 0, 0))
    assert not too_low(replace(late, begin_us=np.array([NEVER_US + 1])), never)[0]


def test_the_cause_is_none_that_was_still_under_way():
    told = events((0, 0, 2, 0, 1), (0, 0, 5, 1, 1))
    assert highest_before(events((0, 5, 1, 0, 0)), told) == 0


def test_mirrored_twice_is_the_same():
    one = events((1, 0, 2, 3, 1))
    other = one.mirrored()
    assert (other.begin_us[0], other.end_us[0], other.lo[0], other.hi[0]) == (-2, 0, -4, -3)
    again = other.mirrored()
    assert (again.begin_us[0], again.end_us[0], again.lo[0], again.hi[0]) == (0, 2, 3, 4)
