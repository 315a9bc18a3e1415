"""What tells that a result cannot be, line by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from histories import failover_run

from labkit.record import OpKind
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.sound import (
    ALWAYS,
    contradictions,
    impossible_numbers,
    mandatory,
    missing,
    nobody_looked,
)
from labkit.verdict.summary import Summary, Trial
from labkit.verdict.trials import trial_of

judged = cache(failover_run)


def run(**changes: object) -> Summary:
    return judged().summary.model_copy(update=changes)


def wrong(summary: Summary, stated: object = "pass") -> list[str]:
    return list(contradictions(summary, stated))


def with_finding(checker: str, **changes: object) -> tuple[Finding, ...]:
    return tuple(
        replace(found, **changes) if found.checker == checker else found for found in run().findings
    )


def of_trials(*numbers: int, planned: int | None = None, said: Verdict = Verdict.PASS) -> Summary:
    trials = tuple(
        trial_of(judged(), number=number, inject_after_s=0, folder=f"trials/{number}")
        for number in numbers
    )
    return run(
        trials=trials,
        trials_planned=len(numbers) if planned is None else planned,
        findings=(Finding("trials", said, ""), *run().findings),
    )


def test_a_result_as_it_was_written_contradicts_nothing():
    assert wrong(run()) == []
    assert wrong(of_trials(1, 2)) == []


@pytest.mark.parametrize(
    ("summary", "stated", "line"),
    [
        (run(findings=run().findings[1:]), "pass", "no finding 'steady_before'"),
        (
            run(findings=(*run().findings, *run().findings[-2:-1] * 2)),
            "pass",
            "more than one finding 'real_time'",
        ),
        (
            run(findings=with_finding("money", count=1)),
            "pass",
            "finding 'money' passed and names what breaks it",
        ),
        (
            run(findings=with_finding("money", offenders=("A-0",))),
            "pass",
            "finding 'money' passed and names what breaks it",
        ),
        (run(), "fail", "its verdict is 'fail' and every finding passed"),
        (run(), None, "its verdict is None and every finding passed"),
        (
            run(finished_at=run().started_at - timedelta(seconds=1)),
            "pass",
            "it ended before it began",
        ),
        (
            of_trials(1, 2, planned=3),
            "pass",
            "all trials were done, and 2 of 3 are there",
        ),
        (of_trials(1, 3), "pass", "trial 2 is not there"),
    ],
)
def test_a_result_that_contradicts_itself_is_told_in_one_line(
    summary: Summary, stated: object, line: str
):
    assert wrong(summary, stated) == [line]


def test_a_run_that_took_no_time_is_possible():
    assert wrong(run(finished_at=run().started_at)) == []


def test_a_finding_that_failed_may_name_what_breaks_it():
    assert wrong(run(findings=with_finding("money", verdict=Verdict.FAIL, count=1)), "fail") == []


def test_trials_that_were_broken_off_are_fewer_than_planned_without_contradiction():
    assert wrong(of_trials(1, planned=3, said=Verdict.UNKNOWN)) == []


def in_trial(**changes: object) -> Summary:
    """A run of two trials, the second of them changed."""
    whole = of_trials(1, 2)
    second: Trial = whole.trials[1].model_copy(update=changes)
    return whole.model_copy(update={"trials": (whole.trials[0], second)})


@pytest.mark.parametrize(
    ("summary", "lines"),
    [
        (in_trial(folder="trials/1"), ["trial 2 is not there"]),
        (in_trial(number=1), ["trial 2 is not there"]),
        (
            in_trial(findings=with_finding("money", verdict=Verdict.FAIL)),
            ["trial 2: money is worse than in the whole"],
        ),
        (
            in_trial(findings=(*run().findings, Finding("extra", Verdict.PASS, ""))),
            ["trial 2: extra is worse than in the whole"],
        ),
        (in_trial(findings=run().findings[1:]), ["trial 2: no finding 'steady_before'"]),
    ],
)
def test_a_trial_that_contradicts_the_whole_is_named_by_its_number(
    summary: Summary, lines: list[str]
):
    assert wrong(summary) == lines


def test_a_trial_may_be_better_than_the_whole():
    whole = of_trials(1)
    failed = tuple(
        replace(found, verdict=Verdict.FAIL) if found.checker == "money" else found
        for found in whole.findings
    )
    assert wrong(whole.model_copy(update={"findings": failed}), "fail") == []


def test_what_was_done_in_a_run_says_what_must_have_been_judged():
    calm = run(recovery=())
    assert mandatory(calm) == ALWAYS
    assert mandatory(run()) == (*ALWAYS, "fault_took_effect", "steady_after")
    assert mandatory(of_trials(1))[-1] == "trials"
    for kind, name in ((OpKind.FRESH_READ, "sessions"), (OpKind.REPLICA_READ, "replicas")):
        rows = (replace(run().latency[0], kind=str(kind)),)
        assert mandatory(calm.model_copy(update={"latency": rows})) == (*ALWAYS, name)


def test_what_nobody_looked_at_is_unknown():
    found = run(findings=run().findings[1:])
    assert missing(found) == ("steady_before",)
    assert nobody_looked(found) == (Finding("steady_before", Verdict.UNKNOWN, "nobody looked"),)


NUMBERS: dict[str, tuple[object, list[str]]] = {
    "nothing": ({}, []),
    "no result": (5, []),
    "no finite number in a list": ([1.0, float("inf")], ["[1] is inf"]),
    "no number": ({"workload": {"rate_per_s": float("nan")}}, ["workload.rate_per_s is nan"]),
    "a negative count": ({"findings": [{"count": 0}, {"count": -1}]}, ["findings[1].count is -1"]),
    "a negative number where one may be": ({"parameters": {"offset": -1}}, []),
    "a truth": ({"recovery": [{"aimed_at": True}]}, []),
    "a number larger than any float": ({"latency": [{"ok": 10**400}]}, []),
    "a negative number larger than any float": (
        {"latency": [{"ok": -(10**400)}]},
        ["latency[0].ok is -1e+300"],
    ),
    "a negative number of a trial": (
        {"trials": [{"rpo_s": 0}, {"rpo_s": -2.5, "number": -1}]},
        ["trial 2: rpo_s is -2.5", "trial 2: number is -1"],
    ),
    "trials that are none": ({"trials": 7}, []),
    "a trial that is none": ({"trials": [7, {"rpo_s": -1}]}, ["trial 2: rpo_s is -1"]),
    **{
        f"a negative number in {section}": (
            {section: [{"value": -1}]},
            [f"{section}[0].value is -1"],
        )
        for section in ("recovery", "latency", "service", "failures", "staleness", "spread")
    },
    **{
        f"a negative {section}": ({section: -1}, [f"{section} is -1"])
        for section in ("rpo_s", "inject_after_s", "number")
    },
}


@pytest.mark.parametrize(("data", "lines"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_that_cannot_be_is_named_by_its_place(data: object, lines: list[str]):
    assert list(impossible_numbers(data)) == lines
