"""Median and worst of trials, which are known no closer than the trials are."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from histories import failover_run
from hypothesis import given
from hypothesis import strategies as st

from labkit.measurement.chance import median_interval
from labkit.report import words
from labkit.report.compare import compare
from labkit.report.compare_page import compare_figure
from labkit.report.figures.trials import trials_figure
from labkit.report.terminal import terminal_report
from labkit.verdict.result import Result
from labkit.verdict.summary import Spread, Summary, Trial
from labkit.verdict.trials import spread, trial_of

ONCE = failover_run()


def trials_of(*rtos: tuple[float | None, float]) -> tuple[Trial, ...]:
    """Trials with these RTOs and errors in every region."""
    return tuple(
        trial_of(ONCE, number=number, inject_after_s=1.0, folder=f"trials/{number}").model_copy(
            update={
                "recovery": tuple(
                    replace(row, rto_s=rto_s, rto_error_s=error_s, no_rto="" if rto_s else "gone")
                    for row in ONCE.summary.recovery
                )
            }
        )
        for number, (rto_s, error_s) in enumerate(rtos, start=1)
    )


def rto_of(*rtos: tuple[float | None, float]) -> Spread:
    return next(row for row in spread(trials_of(*rtos), ONCE.summary) if row.measure == "rto_s")


THREE = ((4.0, 0.05), (6.93, 0.1), (9.0, 0.5))


def of_three() -> Summary:
    trials = trials_of(*THREE)
    rows = spread(trials, ONCE.summary)
    return ONCE.summary.model_copy(update={"trials": trials, "spread": rows})


def test_median_and_worst_have_the_errors_of_their_trials():
    found = rto_of(*THREE)
    assert (found.median, found.median_error) == (6.93, pytest.approx(0.1))
    assert (found.worst, found.worst_error) == (9.0, pytest.approx(0.5))
    assert (found.low, found.high) == pytest.approx((3.95, 9.5))


numbers = st.lists(
    st.tuples(st.floats(0.1, 60), st.floats(0, 3), st.floats(-1, 1)), min_size=1, max_size=12
)


@given(numbers)
def test_what_is_stated_holds_wherever_in_its_error_each_trial_was(trials):
    stated = rto_of(*((value, error) for value, error, _ in trials))
    true = [max(0.0, value + error * where) for value, error, where in trials]
    slack = 1e-9
    assert abs(median(true) - stated.median) <= stated.median_error + slack
    assert max(true) <= stated.worst + stated.worst_error + slack
    within = median_interval(true)
    assert stated.low <= within.low + slack
    assert within.high <= stated.high + slack
    assert stated.level == within.level


def test_without_an_end_there_is_no_worst_and_no_error_of_it():
    found = rto_of(*THREE, (None, 0.0))
    assert (found.worst, found.worst_error) == (None, 0.0)
    assert found.median == pytest.approx((6.93 + 9.0) / 2)
    assert rto_of((None, 0.0), (None, 0.0), (4.0, 0.1)).median is None


def test_numbers_of_trials_are_written_no_finer_than_they_are_known():
    summary = of_three()
    rto = next(value for label, value in words.headlines(summary) if label == "RTO")
    assert rto == (
        "9.0 s ± 0.5 s worst (trial 3), 6.9 s ± 0.2 s median of 3 trials (3.9 to 9.5 s with 75 %)"
    )
    rows = {cells[0]: cells for cells in words.trial_cells(summary)}
    assert (rows["median"][3], rows["worst"][3]) == ("6.9 s ± 0.2 s", "9.0 s ± 0.5 s")
    assert "gone for 9.0 s ± 0.5 s at worst, 6.9 s ± 0.2 s in the median" in (
        words.plain_words(summary)
    )
    compared = compare({"once": ONCE.summary, "often": summary})
    row = next(number for number in compared.numbers if number.label == "RTO")
    assert row.cells()[1] == "6.9 s ± 0.2 s, worst 9.0 s ± 0.5 s"
    assert row.change() == "+1.0 s ± 0.2 s (+16%)"


def test_figures_of_trials_write_no_finer_either():
    summary = of_three()
    shown = trials_figure(Result(summary, ONCE.history))
    assert "median RTO 6.9 s ± 0.2 s" in [trace.name for trace in shown.data]
    assert {trace.hovertemplate for trace in shown.data if trace.type == "bar"} == {"%{text}"}
    beside = compare_figure({"once": ONCE.summary, "often": summary})
    assert "6.9 s ± 0.2 s" in [text for trace in beside.data for text in trace.text or ()]
    terminal_report(summary)
