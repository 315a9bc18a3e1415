from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labkit.ui.price_history import KEPT_POINTS, PriceHistory
from labkit.ui.staleness import Staleness


def test_a_copy_that_shows_every_order_is_up_to_date() -> None:
    staleness = Staleness()
    staleness.fresh(10.0, {"AAPL": 5})
    assert staleness.of(11.0, {"AAPL": 5}) == (0.0, 0)
    assert staleness.of(11.0, {"AAPL": 6}) == (0.0, 0)


def test_a_copy_is_as_old_as_the_first_fresh_read_that_showed_more() -> None:
    staleness = Staleness()
    for at_s, moves in ((10.0, 5), (11.0, 6), (12.0, 9)):
        staleness.fresh(at_s, {"AAPL": moves, "MSFT": 1})
    assert staleness.of(15.0, {"AAPL": 5, "MSFT": 1}) == (4.0, 4)
    assert staleness.of(15.0, {"AAPL": 6, "MSFT": 0}) == (5.0, 4)


def test_what_was_read_after_the_copy_was_asked_proves_nothing() -> None:
    staleness = Staleness()
    staleness.fresh(10.0, {"AAPL": 5})
    staleness.fresh(12.0, {"AAPL": 6})
    assert staleness.of(11.0, {"AAPL": 5}) == (0.0, 0)


@given(
    delay=st.integers(0, 20),
    steps=st.lists(st.integers(0, 3), min_size=1, max_size=50),
)
def test_it_never_tells_more_than_the_true_age(delay: int, steps: list[int]) -> None:
    """A copy that is `delay` seconds behind a counter read every second."""
    staleness = Staleness()
    counts = [sum(steps[: i + 1]) for i in range(len(steps))]
    for at, count in enumerate(counts):
        staleness.fresh(float(at), {"AAPL": count})
    now = len(counts) - 1
    shown = counts[max(0, now - delay)]
    stale_s, behind = staleness.of(float(now), {"AAPL": shown})
    assert stale_s <= min(delay, now)
    assert behind == counts[now] - shown


def test_a_price_is_a_point_once_and_never_goes_back() -> None:
    history = PriceHistory()
    assert history.seen("AAPL", 1000, 190.1, 1)
    assert not history.seen("AAPL", 1400, 190.1, 1)
    assert not history.seen("AAPL", 1500, 190.0, 0)  # an older copy
    assert history.seen("AAPL", 1800, 190.3, 3)
    assert history.points("AAPL") == [(1000, 190.1), (1800, 190.3)]
    assert history.points("MSFT") == []


def test_only_the_last_points_are_kept() -> None:
    history = PriceHistory()
    for i in range(KEPT_POINTS + 10):
        history.seen("AAPL", i, 1.0, i)
    assert len(history.points("AAPL")) == KEPT_POINTS
    assert history.points("AAPL")[0] == (10, 1.0)


def test_orders_from_before_the_first_look_stand_before_it() -> None:
    history = PriceHistory()
    history.seen("AAPL", 2000, 190.3, 3)
    history.before("AAPL", [(1000, 190.1), (1500, 190.2), (2100, 190.4)])
    assert history.points("AAPL") == [(1000, 190.1), (1500, 190.2), (2000, 190.3)]
    history.before("MSFT", [(1000, 400.0)])
    assert history.points("MSFT") == [(1000, 400.0)]
