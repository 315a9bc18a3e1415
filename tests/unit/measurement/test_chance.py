"""What several trials say of their median, and of a difference."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.measurement.chance import Interval, difference, median_interval, ratio_shown


@pytest.mark.parametrize(
    ("count", "low", "high", "level"),
    [
        (1, 1, 1, 0.0),
        (2, 1, 2, 0.5),
        (3, 1, 3, 0.75),
        (5, 1, 5, 0.9375),
        (6, 1, 6, 0.96875),
        (9, 2, 8, 0.9609375),
        (20, 6, 15, 0.9586105346679688),
    ],
)
def test_the_median_of_so_many_trials_lies_between_two_of_them(count, low, high, level):
    values = [float(value) for value in range(1, count + 1)]
    assert median_interval(values[::-1]) == Interval(low, high, pytest.approx(level))


def test_the_interval_has_the_median_as_often_as_it_says():
    rng = np.random.default_rng(5)
    for count in (5, 9, 12):
        rows = rng.exponential(size=(4000, count))
        found = [median_interval(list(row)) for row in rows]
        held = np.mean([one.low <= np.log(2) <= one.high for one in found])
        assert held == pytest.approx(found[0].level, abs=0.015)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
    st.lists(st.integers(0, 5), min_size=1, max_size=5),
)
def test_p_is_the_share_of_all_divisions_that_differ_as_much(one, other):
    both = np.array([*one, *other], dtype=float)
    ranks = np.array([(both < v).sum() + ((both == v).sum() + 1) / 2 for v in both])
    size, mean = len(one), ranks.mean() * len(one)
    off = abs(ranks[:size].sum() - mean)
    every = [abs(ranks[list(c)].sum() - mean) for c in combinations(range(len(both)), size)]
    found = difference(one, other)
    assert found.p == pytest.approx(np.mean([x >= off - 1e-9 for x in every]))
    assert found.least_p == pytest.approx(np.mean([x >= max(every) - 1e-9 for x in every]))
    assert difference(other, one).p == pytest.approx(found.p)


def test_nothing_says_nothing():
    with pytest.raises(ValueError, match="no values"):
        median_interval([])
    with pytest.raises(ValueError, match="empty"):
        difference([], [1.0])


@pytest.mark.parametrize(
    ("count", "failed", "shown"),
    [(120, 0, 0.97535), (2995, 0, 0.99900), (100, 1, 0.95344), (30, 3, 0.76135), (5, 5, 0.0)],
)
def test_a_ratio_is_shown_as_far_as_the_count_goes(count, failed, shown):
    """By the tables of Clopper and Pearson."""
    assert ratio_shown(count, failed) == pytest.approx(shown, abs=1e-4)


def test_a_ratio_shown_is_at_most_the_truth_in_95_of_100_samples():
    rng = np.random.default_rng(9)
    truth = 0.97
    failed = rng.binomial(200, 1 - truth, 3000)
    held = np.mean([ratio_shown(200, int(count)) <= truth for count in failed])
    assert held >= 0.94


def test_a_count_that_cannot_be_is_refused():
    for count, failed in ((0, 0), (3, 4), (3, -1)):
        with pytest.raises(ValueError, match="failures of"):
            ratio_shown(count, failed)
