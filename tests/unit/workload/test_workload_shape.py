from __future__ import annotations

import math
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.workload.shape import Ramp, Shape, Steps

rates = st.floats(0.1, 10_000)
spans_s = st.floats(0.1, 100)
seeds = st.integers(0, 2**63).map(str)
steps = st.builds(Steps, st.lists(rates, min_size=1, max_size=5).map(tuple), every_s=spans_s)
ramps = st.builds(Ramp, st.one_of(st.just(0.0), rates), rates, spans_s)
shapes = st.one_of(rates, steps, ramps).map(Shape.of)


def expected(shape: Shape, until_s: float) -> float:
    """The area under the level, from its definition."""
    area = begun_s = 0.0
    for piece in shape.pieces:
        within_s = min(piece.for_s, until_s - begun_s)
        if within_s <= 0:
            return area
        area += within_s * (piece.start + piece.level(within_s)) / 2
        begun_s += piece.for_s
    return area + max(0.0, until_s - begun_s) * shape.then


@given(shapes, seeds)
def test_arrivals_ascend_from_the_start(shape: Shape, seed: str) -> None:
    times_s = [0.0, *islice(shape.arrivals(seed), 100)]
    assert all(a <= b for a, b in pairwise(times_s))


@given(shapes, seeds)
def test_the_same_seed_arrives_at_the_same_times(shape: Shape, seed: str) -> None:
    first = list(islice(shape.arrivals(seed), 20))
    assert first == list(islice(shape.arrivals(seed), 20))
    assert first != list(islice(shape.arrivals(f"not {seed}"), 20))


@given(shapes, st.floats(1.1, 100), seeds)
def test_as_much_is_expected_between_two_arrivals_whatever_the_shape(
    shape: Shape, rate_per_s: float, seed: str
) -> None:
    """So the order of arrivals under any shape is the steady one, stretched."""
    steady = islice(Shape.of(rate_per_s).arrivals(seed), 50)
    for at_s, steady_s in zip(shape.arrivals(seed), steady, strict=False):
        assert expected(shape, at_s) == pytest.approx(steady_s * rate_per_s, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_gaps_are_exponential_with_the_mean_of_the_rate(seed: int) -> None:
    """Of an exponential distribution, 1/e exceed the mean."""
    times_s = [0.0, *islice(Shape.of(50.0).arrivals(str(seed)), 20_000)]
    gaps_s = [b - a for a, b in pairwise(times_s)]
    assert sum(gaps_s) / len(gaps_s) == pytest.approx(1 / 50, rel=0.03)
    assert sum(gap_s > 1 / 50 for gap_s in gaps_s) / len(gaps_s) == pytest.approx(0.368, abs=0.015)


def count_between(shape: Shape, begin_s: float, end_s: float) -> int:
    times_s = takewhile(lambda at_s: at_s < end_s, shape.arrivals("seed"))
    return sum(at_s >= begin_s for at_s in times_s)


def test_each_step_has_its_rate_and_the_last_one_stays() -> None:
    shape = Shape.of(Steps((100, 400, 200), every_s=20))
    counts = [count_between(shape, begin_s, begin_s + 20) / 20 for begin_s in (0, 20, 40, 60)]
    assert counts == pytest.approx([100, 400, 200, 200], rel=0.07)


def test_a_ramp_grows_in_a_straight_line_and_its_end_stays() -> None:
    shape = Shape.of(Ramp(0, 400, over_s=40))
    counts = [count_between(shape, begin_s, begin_s + 10) / 10 for begin_s in range(0, 60, 10)]
    assert counts == pytest.approx([50, 150, 250, 350, 400, 400], rel=0.1)


@given(steps, st.floats(0, 600))
def test_the_level_of_steps(given_steps: Steps, at_s: float) -> None:
    place = min(int(at_s // given_steps.every_s), len(given_steps.levels) - 1)
    near_an_edge = math.isclose(
        at_s / given_steps.every_s, round(at_s / given_steps.every_s), abs_tol=1e-6
    )
    assert near_an_edge or Shape.of(given_steps).level(at_s) == given_steps.levels[place]


@given(ramps, st.floats(0, 200))
def test_the_level_of_a_ramp_lies_between_its_ends(ramp: Ramp, at_s: float) -> None:
    level = Shape.of(ramp).level(at_s)
    low, high = sorted((ramp.start, ramp.end))
    assert low - 1e-6 <= level <= high + 1e-6
    if at_s >= ramp.over_s:
        assert level == ramp.end


@given(shapes, st.integers(1, 9), st.floats(0, 600))
def test_the_parts_of_a_shape_add_up(shape: Shape, parts: int, at_s: float) -> None:
    part = shape.divided_by(parts)
    assert part.level(at_s) * parts == pytest.approx(shape.level(at_s))
    assert part.peak * parts == pytest.approx(shape.peak)
    assert shape.level(at_s) <= shape.peak * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Steps((), every_s=1), "needs at least one level"),
        (lambda: Steps((5, 0), every_s=1), "a level is 0, it must be above 0 and finite"),
        (lambda: Steps((5,), every_s=0), "every_s is 0, it must be above 0 and finite"),
        (lambda: Ramp(-1, 5, over_s=1), "start is -1, it must be 0 or more"),
        (lambda: Ramp(1, 0, over_s=1), "end is 0, it must be above 0 and finite"),
        (lambda: Ramp(1, 5, over_s=math.inf), "over_s is inf, it must be above 0 and finite"),
        (lambda: Shape.of(math.nan), "the load is nan, it must be above 0 and finite"),
    ],
)
def test_bad_shapes_are_refused(make, complaint):
    with pytest.raises(BadInput, match=complaint):
        make()
