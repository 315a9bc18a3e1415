from __future__ import annotations

import pytest
from histories import orders

from labkit.errors import BadInput
from labkit.history import History
from labkit.record import Op, Outcome
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.steady import SteadyState

STEADY = SteadyState(p99_ms=400, success_ratio=0.99)


def check(ops: list[Op], *, regions: tuple[str, ...] = ("west",), when: str = "before") -> Finding:
    return STEADY.check(History.of(ops).ops, regions=regions, since_s=100, until_s=110, when=when)


def test_fast_and_acked_is_steady():
    finding = check(orders("west", 100, 110, latency_s=0.1))
    assert (finding.verdict, finding.checker) == (Verdict.PASS, "steady_before")


def test_a_slow_region_is_named():
    ops = [*orders("west", 100, 110), *orders("east", 100, 110, latency_s=0.5)]
    finding = check(ops, regions=("west", "east"), when="after")
    assert finding.checker == "steady_after"
    assert finding.verdict is Verdict.FAIL
    assert finding.offenders == ("east: p99 500 ms, above 400 ms",)


def test_a_region_that_fails_more_than_allowed_is_named():
    ops = [*orders("west", 100, 109), *orders("west", 109, 110, outcome=Outcome.INFO)]
    finding = check(ops)
    assert finding.verdict is Verdict.FAIL
    assert finding.offenders == ("west: 20 of 200 not acknowledged, more than 1.00%",)


def test_a_region_where_nothing_is_acked_is_not_steady():
    assert check(orders("west", 100, 110, outcome=Outcome.FAIL)).verdict is Verdict.FAIL


def test_a_steady_state_says_how_many_orders_it_rests_on_and_what_they_show():
    ops = [*orders("west", 100, 110), *orders("east", 100, 110, per_s=12)]
    finding = check(ops, regions=("west", "east"))
    assert finding.verdict is Verdict.PASS
    assert "120 of 120 orders acknowledged in east" in finding.summary
    assert "which shows at least 97.5 % with 95% confidence" in finding.summary
    assert "99" not in finding.summary.replace("p99", "")


def test_few_orders_have_no_p99_but_a_slowest():
    finding = check(orders("west", 100, 110, per_s=5))
    assert "the slowest order at most 400 ms" in finding.summary
    slow = check(orders("west", 100, 110, per_s=5, latency_s=0.5))
    assert slow.offenders == ("west: the slowest of 50 orders 500 ms, above 400 ms",)


def failing(count: int, *, per_s: float) -> list[Op]:
    """Orders of 10 s, the last of which are refused."""
    ends_s = 110 - count / per_s
    refused = orders("west", ends_s, 110, per_s=per_s, outcome=Outcome.FAIL)
    return [*orders("west", 100, ends_s, per_s=per_s), *refused]


def test_failures_are_tolerated_if_the_count_shows_the_ratio_all_the_same():
    """One of 100 is 99 %, and shows 95.3 %; six of 2,000 show 99.4 %."""
    finding = check(failing(1, per_s=10))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.offenders == (
        "99 of 100 orders acknowledged in west, which shows at least 95.3 % with 95% confidence, "
        "not 0.99",
    )
    assert check(failing(6, per_s=200)).verdict is Verdict.PASS


def test_fast_reads_do_not_make_slow_orders_steady():
    reads = [op._replace(kind="replica_read") for op in orders("west", 100, 110, per_s=5_000)]
    assert check(orders("west", 100, 110, latency_s=0.5)).verdict is Verdict.FAIL
    assert check([*orders("west", 100, 110, latency_s=0.5), *reads]).verdict is Verdict.FAIL
    assert check(reads).verdict is Verdict.UNKNOWN


def test_a_region_without_orders_is_unknown():
    finding = check(orders("west", 100, 110), regions=("west", "east"))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.offenders == ("east: no order",)


def test_one_bad_region_outweighs_a_silent_one():
    finding = check(orders("west", 100, 110, latency_s=1), regions=("west", "east"))
    assert finding.verdict is Verdict.FAIL


def test_only_what_was_scheduled_in_the_interval_counts():
    ops = [
        *orders("west", 90, 100, latency_s=5),
        *orders("west", 100, 110),
        *orders("west", 110, 120, outcome=Outcome.FAIL),
    ]
    assert check(ops).verdict is Verdict.PASS


def test_no_region_is_unknown():
    assert check(orders("west", 100, 110), regions=()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "wrong", [{"p99_ms": 0}, {"p99_ms": 400, "success_ratio": 1.5}], ids=["p99", "ratio"]
)
def test_a_hypothesis_that_cannot_be_is_refused(wrong: dict[str, float]):
    with pytest.raises(BadInput, match=list(wrong)[-1]):
        SteadyState(**wrong)


def test_every_order_may_be_asked_to_be_acknowledged():
    all_of_them = SteadyState(p99_ms=400, success_ratio=1)
    ops = orders("west", 100, 110)
    asked = {"regions": ("west",), "since_s": 100, "until_s": 110}
    assert all_of_them.check(History.of(ops).ops, **asked).verdict is Verdict.PASS
    refused = [*ops[1:], ops[0]._replace(outcome=Outcome.FAIL)]
    assert all_of_them.check(History.of(refused).ops, **asked).verdict is Verdict.FAIL


def test_a_region_as_slow_as_is_allowed_is_steady():
    assert check(orders("west", 100, 110, latency_s=0.4 - 1e-6)).verdict is Verdict.PASS
    assert check(orders("west", 100, 110, latency_s=0.4 + 1e-6)).verdict is Verdict.FAIL


def test_a_region_that_fails_as_much_as_is_allowed_does_not_fail():
    """What it shows is another question: nothing is proven."""
    assert check(failing(1, per_s=10)).verdict is Verdict.UNKNOWN
    assert check(failing(2, per_s=10)).verdict is Verdict.FAIL


def test_an_interval_has_the_order_of_its_first_moment_and_not_that_of_its_last():
    ops = [*orders("west", 100, 110), *orders("west", 110, 110.05, outcome=Outcome.FAIL)]
    assert "200 of 200 orders" in check(ops).summary


def test_ten_of_many_regions_are_named_and_all_are_counted():
    finding = check(orders("west", 100, 110), regions=tuple(f"r{i}" for i in range(12)))
    assert (len(finding.offenders), finding.count) == (10, 12)
    assert finding.summary == "too little to show a steady state before the fault: r0: no order"


def test_a_state_that_is_not_steady_says_why_in_one_line():
    finding = check(orders("west", 100, 110, latency_s=0.5), when="after")
    assert finding.summary == "not steady after the fault: west: p99 500 ms, above 400 ms"
    nowhere = check(orders("west", 100, 110), regions=())
    assert nowhere.summary == "too little to show a steady state before the fault: no regions"


def test_a_steady_state_says_how_long_it_was_looked_at_and_what_it_rests_on():
    finding = check(
        [*orders("west", 100, 110), *orders("east", 100, 110, per_s=12)], regions=("west", "east")
    )
    assert finding.summary == (
        "steady for 10.0 s before the fault: p99 at most 400 ms; 120 of 120 orders acknowledged "
        "in east, which shows at least 97.5 % with 95% confidence, elsewhere no less"
    )
    assert (finding.offenders, finding.count) == ((), 0)
