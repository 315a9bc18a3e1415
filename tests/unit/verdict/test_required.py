"""What a limit decides, to the edge of what is known of a number."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import inf

import pytest
from histories import failover_run

from labkit.errors import BadInput
from labkit.measurement.recovery import largest
from labkit.measurement.staleness import Staleness
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.limits import gates, number_of, requirements, with_error
from labkit.verdict.measures import MEASURES, Measured
from labkit.verdict.summary import Summary, Trial
from labkit.verdict.trials import trial_of

judged = cache(failover_run)
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("number", "limit", "verdict"),
    [
        (Measured(5, ""), 5, PASS),
        (Measured(5, ""), 4.9, FAIL),
        (Measured(5, "", error=1), 6, PASS),
        (Measured(5, "", error=1), 5.9, UNKNOWN),
        (Measured(5, "", error=1), 4, UNKNOWN),
        (Measured(5, "", error=1), 3.9, FAIL),
        (Measured(None, ""), 0, UNKNOWN),
        (Measured(None, "", beyond=5), 5, UNKNOWN),
        (Measured(None, "", beyond=5), 4.9, FAIL),
    ],
)
def test_a_limit_is_kept_or_broken_only_where_the_error_leaves_no_doubt(
    number: Measured, limit: float, verdict: Verdict
):
    assert number.verdict(limit) is verdict


def of_run(**changes: object) -> Summary:
    return judged().summary.model_copy(update=changes)


def rto(*numbers: tuple[float | None, float, float]) -> Summary:
    """A run with a region for each: its RTO, how far off that may be, and what it is at least."""
    row = judged().summary.outages[0]
    return of_run(
        recovery=tuple(
            replace(
                row,
                region=f"r{i}",
                rto_s=value,
                rto_error_s=error,
                at_least_s=least,
                no_rto="" if value is not None else "not recovered",
            )
            for i, (value, error, least) in enumerate(numbers)
        )
    )


def required(summary: Summary, limit: float) -> Finding:
    (found,) = requirements(summary, {"rto_s": limit})
    return found


def test_a_requirement_is_decided_by_the_worst_region_and_counts_those_that_break_it():
    found = required(rto((3, 0.1, 0), (9, 0.1, 0), (7, 0.1, 0)), 5)
    assert (found.verdict, found.count) == (FAIL, 2)
    assert found.offenders == ("r1, kill us-west-2/1", "r2, kill us-west-2/1")
    assert found.summary == "rto_s is 9.0 ± 0.1 (r1, kill us-west-2/1), required at most 5"
    assert found.limit == 5


def test_a_region_that_is_not_known_outweighs_one_that_keeps_the_limit():
    found = required(rto((3, 0.1, 0), (None, 0, 2)), 5)
    assert (found.verdict, found.count) == (UNKNOWN, 1)
    assert found.summary == (
        "rto_s is not known (r1, kill us-west-2/1: not recovered), required at most 5"
    )


def test_a_region_that_breaks_the_limit_outweighs_one_that_is_not_known():
    found = required(rto((None, 0, 2), (7, 0.1, 0)), 5)
    assert (found.verdict, found.count) == (FAIL, 2)
    assert found.summary.startswith("rto_s is 7.0 ± 0.1 (r1")


def test_what_lasted_longer_than_the_limit_breaks_it_by_more_than_it_says():
    found = required(rto((None, 0, 6), (None, 0, 8)), 5)
    assert found.verdict is FAIL
    assert found.summary.startswith("rto_s is more than 8 (r1")


def test_a_limit_that_the_error_leaves_open_is_said_to_be_open():
    found = required(rto((5, 0.1, 0)), 5)
    assert found.verdict is UNKNOWN
    assert found.summary.endswith("required at most 5, which its error leaves open")


def test_a_limit_of_zero_can_be_required_and_an_unknown_name_names_all():
    assert required(rto((0, 0, 0)), 0).verdict is PASS
    with pytest.raises(BadInput, match="no requirement 'rto': there are rto_s, write_gap_s, "):
        requirements(of_run(), {"rto": 1})


@pytest.mark.parametrize(
    ("numbers", "limit", "says"),
    [
        ([(3, 0, 0)], 5, "RTO is 3.00 s ("),
        ([(7, 0, 0)], 5, "RTO is 7.00 s, 2.00 s above the limit ("),
        (
            [(5, 0.1, 0)],
            5,
            "RTO is 5.0 s ± 0.1 s, which leaves open whether it is at most the limit (",
        ),
        ([(None, 0, 2)], 5, "RTO is not known ("),
        ([(None, 0, 8)], 5, "RTO is more than 8.00 s, at least 3.00 s above the limit ("),
    ],
)
def test_a_gate_says_what_its_number_is(numbers: list, limit: float, says: str):
    ((found,),) = gates([rto(*numbers)], {"rto_s": limit})
    assert found.summary == f"{says}--max-rto {limit:g}; {found.summary.rpartition('; ')[2]}"
    assert found.limit == limit


def test_a_gate_counts_the_regions_that_do_not_keep_it():
    ((found,),) = gates([rto((3, 0, 0), (7, 0, 0), (None, 0, 2))], {"rto_s": 5})
    assert (found.verdict, found.count) == (FAIL, 2)


def of_trials(*values_s: float) -> Summary:
    """A run of trials, each with one region and its RTO."""
    trials = [
        trial_of(
            replace(judged(), summary=rto((value_s, 0, 0))),
            number=number,
            inject_after_s=0,
            folder=f"trials/{number}",
        )
        for number, value_s in enumerate(values_s, start=1)
    ]
    return of_run(trials=tuple(trials))


def test_each_trial_is_held_to_a_limit_and_named():
    found = required(of_trials(3, 9), 5)
    assert (found.verdict, found.count) == (FAIL, 1)
    assert found.offenders == ("trial 2: r0, kill us-west-2/1",)


def test_what_is_counted_over_all_trials_is_not_counted_in_each():
    (found,) = requirements(of_trials(3, 9), {"lost_acks": 0})
    assert (found.verdict, found.offenders) == (PASS, ())
    assert "trial" not in found.summary


def test_elsewhere_leaves_out_the_regions_that_the_fault_was_aimed_at_in_each_trial():
    whole = of_trials(9)
    (trial,) = whole.trials
    rows = (*trial.recovery, replace(trial.recovery[0], region="away", rto_s=2.0, aimed_at=False))
    aimed: Trial = trial.model_copy(
        update={"recovery": (replace(rows[0], aimed_at=True), *rows[1:])}
    )
    summary = whole.model_copy(update={"trials": (aimed,)})
    (found,) = requirements(summary, {"rto_s": 5}, elsewhere=True)
    assert (found.verdict, found.elsewhere) == (PASS, True)
    (found,) = requirements(summary, {"rto_s": 5})
    assert (found.verdict, found.elsewhere) == (FAIL, False)


def test_a_number_of_a_run_is_the_worst_region_and_none_where_one_is_not_known():
    assert number_of("rto_s", rto((3, 0.5, 0), (4, 0.1, 0))) == 4
    assert with_error("rto_s", rto((3, 0.5, 0), (4, 0.1, 0))) == pytest.approx((4, 0.1))
    assert number_of("rto_s", rto((3, 0.5, 0), (None, 0, 0))) is None


def test_another_number_may_be_larger_by_its_own_error():
    assert largest([(3.0, 2.0), (4.0, 0.1)]) == (4.0, 1.0)
    assert largest([]) == (0.0, 0.0)


def read(name: str, summary: Summary) -> list[tuple[float | None, str, float]]:
    return [(one.value, one.where, one.error) for one in MEASURES[name].values(summary)]


def finding(checker: str, verdict: Verdict, count: int) -> tuple[Finding, ...]:
    return (Finding(checker, verdict, "as it was said", count=count),)


def test_each_measure_reads_its_own_number():
    row = replace(
        judged().summary.outages[0],
        region="west",
        write_gap_s=2.0,
        unavailable_s=3.0,
        unavailable_error_s=0.5,
    )
    where = "west, kill us-west-2/1"
    summary = of_run(recovery=(row,), staleness=(Staleness("west", 10, 1, None, 1.5),), rpo_s=7.0)
    assert read("write_gap_s", summary) == [(2.0, where, 0.0)]
    assert read("unavailable_s", summary) == [(3.0, where, 0.5)]
    assert read("staleness_s", summary) == [(1.5, "west", 0.0)]
    assert read("rpo_s", summary) == [(7.0, "first lost ack to the fault", 0.0)]
    unknown = of_run(recovery=(replace(row, unavailable_s=None, no_rto="not watched"),))
    assert read("unavailable_s", unknown) == [(None, f"{where}: not watched", 0.0)]


@pytest.mark.parametrize("name", ["lost_acks", "duplicates"])
def test_a_count_is_known_where_its_checker_could_look(name: str):
    for verdict, value in ((PASS, 0), (FAIL, 3), (UNKNOWN, None)):
        summary = of_run(findings=finding(name, verdict, value or 0))
        assert read(name, summary) == [(value, "as it was said", 0.0)]
    assert read(name, of_run(findings=())) == [(None, "nobody looked", 0.0)]


def test_an_rpo_is_not_known_where_nobody_could_look_or_only_the_ledger_knows():
    lost = finding("lost_acks", FAIL, 1)
    assert read("rpo_s", of_run(rpo_s=None, findings=())) == [(None, "nobody could look", 0.0)]
    assert read("rpo_s", of_run(rpo_s=None, findings=lost)) == [
        (None, "the ledger alone knows of a lost ack, so its time is not known", 0.0)
    ]


def test_a_p99_that_is_not_known_says_of_how_many_orders():
    rows = [replace(row, p99_ms=None, ok=7) for row in judged().summary.settled_latency[:1]]
    summary = of_run(latency=tuple(rows))
    assert read("p99_ms", summary) == [
        (None, "us-west-2, after: 7 acknowledged orders, p99 takes 100", 0.0)
    ]
    assert read("p99_ms", of_run(latency=())) == [(None, "the fault was never healed", 0.0)]


def test_a_limit_is_a_number():
    for wrong in (-1, float("nan")):
        with pytest.raises(BadInput, match="rto_s must be 0 or more"):
            requirements(of_run(), {"rto_s": wrong})
    assert requirements(of_run(), {"rto_s": inf})[0].verdict is PASS
