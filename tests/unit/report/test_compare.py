"""Runs side by side: in words, as a table, as a page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from histories import failover_run
from typer.testing import CliRunner

from labkit.cli.app import app
from labkit.errors import BadInput
from labkit.report.compare import Compared, Comparison, Number, compare
from labkit.report.compare_page import compare_figure, compare_html
from labkit.run.finished import Run, find_run, of_whole_runs, side_by_side
from labkit.topology import DEFAULT, SurvivalGoal
from labkit.verdict.finding import Verdict
from labkit.verdict.summary import Spread, Summary, Trial
from labkit.verdict.trials import trial_of


def zone() -> Summary:
    topology = DEFAULT.model_copy(update={"survive": SurvivalGoal.ZONE})
    return failover_run(lose=2, topology=topology, versions={"postgresql": "18.4"}).summary


def both() -> Comparison:
    return compare({"region": failover_run().summary, "zone": zone()})


def cells(found: Comparison, label: str) -> list[str]:
    return next(number.cells() for number in found.numbers if number.label == label)


def test_numbers_stand_beside_each_other_with_what_changed():
    found = both()
    assert found.names == ("region", "zone")
    assert [str(verdict) for verdict in found.verdicts] == ["pass", "fail"]
    assert cells(found, "RTO") == ["5.95 s ± 0.05 s"] * 2
    assert cells(found, "lost acks") == ["0", "2"]
    changes = {number.label: number.change() for number in found.numbers}
    assert changes["RTO"] == "same"
    assert changes["lost acks"] == "+2"


def test_what_was_set_differently_is_told_apart_from_what_was_the_same():
    found = both()
    assert dict(found.settings) == {
        "survival goal": ("region", "zone"),
        "version postgresql": ("18.3", "18.4"),
    }
    assert dict(found.shared)["backend"] == "fake"
    assert dict(found.shared)["workload rate_per_s"] == "30"


def test_latency_is_compared_by_region_and_phase():
    found = both()
    assert cells(found, "p99 before, us-west-2") == ["50 ms", "50 ms"]
    assert cells(found, "p50 after, eu-west-1") == ["150 ms", "150 ms"]


def test_reads_are_not_taken_for_orders():
    once = failover_run().summary
    reads = tuple(
        replace(row, kind="replica_read", p50_ms=1.0, p99_ms=2.0)
        for row in once.latency
        if row.kind == "order"
    )
    runs = {
        "reads last": once.model_copy(update={"latency": (*once.latency, *reads)}),
        "reads first": once.model_copy(update={"latency": (*reads, *once.latency)}),
    }
    assert cells(compare(runs), "p99 before, us-west-2") == ["50 ms", "50 ms"]
    bars = [bar for bar in compare_figure(runs).data if "us-west-2" in (bar.x or ())]
    assert [bar.y[bar.x.index("us-west-2")] for bar in bars] == pytest.approx([50, 50], rel=0.01)


def trials(rtos_s: tuple[float | None, ...]) -> Summary:
    """A run of trials with these RTOs in every region."""
    once = failover_run()
    rows = [
        trial_of(once, number=i, inject_after_s=1.0, folder=f"trials/{i}")
        for i, _ in enumerate(rtos_s, start=1)
    ]
    known = sorted(rto for rto in rtos_s if rto is not None)
    spread = Spread(
        measure="rto_s",
        median=known[len(known) // 2],
        worst=known[-1] if len(known) == len(rtos_s) else None,
        trials=len(rtos_s),
        low=known[0],
        high=known[-1],
        level=0.75,
    )
    assert isinstance(rows[0], Trial)
    return once.summary.model_copy(update={"trials": tuple(rows), "spread": (spread,)})


def test_a_run_with_trials_shows_the_median_and_the_worst():
    found = compare({"once": failover_run().summary, "often": trials((4.0, 6.0, 9.0))})
    assert cells(found, "RTO") == ["5.95 s ± 0.05 s", "6.00 s, worst 9.00 s"]
    assert next(n for n in found.numbers if n.label == "RTO").change() == "+0.05 s ± 0.05 s (+1%)"


def test_a_trial_that_did_not_recover_leaves_no_worst():
    found = compare({"once": failover_run().summary, "often": trials((4.0, 6.0, None))})
    assert cells(found, "RTO")[1] == "6.00 s, worst unknown"


def test_what_is_not_known_has_no_change():
    found = compare({"a": failover_run().summary, "b": failover_run(final=None).summary})
    lost = next(number for number in found.numbers if number.label == "lost acks")
    assert (lost.cells(), lost.change()) == (["0", "unknown"], "")


def rto(*rtos_s: tuple[float, ...]) -> Compared:
    return Compared("RTO", "s", tuple(Number(sorted(of)[len(of) // 2], trials=of) for of in rtos_s))


def test_a_difference_of_many_trials_is_told_from_chance():
    apart = rto((5.0, 5.1, 5.2, 5.3, 5.4), (6.0, 6.1, 6.2, 6.3, 6.4))
    assert apart.chance() == "larger than chance (p = 0.0079)"
    mixed = rto((5.0, 6.1, 5.2, 6.3, 5.4), (6.0, 5.1, 6.2, 5.3, 6.4))
    assert mixed.chance().startswith("may be chance (p = 0.")


def test_a_trial_that_did_not_recover_counts_as_the_longest():
    unknown = Number(9.0, trials=(8.0, 9.0, None, None, None))
    known = Number(5.0, trials=(4.0, 5.0, 6.0, 5.5, 4.5))
    assert "larger than chance" in Compared("RTO", "s", (known, unknown)).chance()


def test_three_trials_cannot_be_told_from_chance():
    found = rto((1.0, 1.1, 1.2), (9.0, 9.1, 9.2)).chance()
    assert found == "3 and 3 trials cannot tell (p is 0.1 at best)"


def test_one_run_says_nothing_of_the_next():
    near = Compared("RTO", "s", (Number(5.0, 0.1), Number(5.1, 0.1)))
    assert near.chance() == "no more than their errors; one run says nothing of the next"
    far = Compared("RTO", "s", (Number(5.0, 0.1), Number(6.1, 0.1)))
    assert far.chance() == "more than their errors; one run says nothing of the next"
    assert Compared("p50", "ms", (Number(5.0), Number(6.1))).chance() == (
        "one run says nothing of the next"
    )


def test_more_than_two_runs_have_no_change_column():
    summary = failover_run().summary
    assert not compare({"a": summary, "b": summary, "c": summary}).with_change


def test_one_run_alone_is_no_comparison():
    with pytest.raises(BadInput, match="two runs"):
        compare({"a": failover_run().summary})


def test_the_page_is_one_file_that_opens_offline():
    page = compare_html({"region": failover_run().summary, "<zone> & so on": zone()})
    assert "&lt;zone&gt; &amp; so on" in page
    assert "<zone>" not in page
    assert page.count("plotly.js v") == 1
    assert not re.search(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="http', page)


def test_the_picture_has_a_colour_a_run_and_a_dot_a_trial():
    figure = compare_figure({"once": failover_run().summary, "often": trials((4.0, 6.0, 9.0))})
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert len({trace.marker.color for trace in bars}) == 2
    (dots,) = (trace for trace in figure.data if trace.type == "scatter")
    assert len(dots.x) == 6


# finding runs


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs"
    failover_run().save(folder / "20250101T120000Z-node-loss-fake")
    other = folder / "20250102T120000Z-region-loss-fake"
    failover_run(scenario="region-loss").save(other)
    failover_run(scenario="pause").save(other / "more" / "2-pause")
    (folder / "20250103T120000Z-setup-fake").mkdir()
    return folder


def test_a_run_is_found_by_folder_name_part_and_age(runs: Path):
    oldest = runs / "20250101T120000Z-node-loss-fake"
    for name in (str(oldest), oldest.name, "node-loss", "last-2"):
        assert find_run(name) == Run(oldest)
    assert find_run("last").name == "20250103T120000Z-setup-fake"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("volcano", "no run 'volcano': there are 20250103"),
        ("loss", "several runs match 'loss': 20250102"),
        ("last-9", "no run 'last-9': 3 runs are there"),
        ("", "no run has an empty name"),
        (" ", "no run has an empty name"),
    ],
)
def test_a_run_that_is_not_there_is_refused_with_those_there_are(runs: Path, name, says):
    with pytest.raises(BadInput, match=says):
        find_run(name)


def test_runs_are_named_by_what_tells_them_apart(runs: Path):
    assert list(side_by_side([find_run("node-loss"), find_run("region-loss")])) == [
        "node-loss",
        "region-loss",
    ]
    same = find_run("node-loss")
    assert list(side_by_side([same, same])) == ["1: 2025-01-01 12:00:00", "2: 2025-01-01 12:00:00"]


def test_runs_of_one_scenario_are_named_by_their_parameters(runs: Path):
    for number, victim in enumerate(("primary", "us-east-1/2"), start=4):
        parameters = {"victim": victim, "hold_s": 10}
        folder = runs / f"2025010{number}T120000Z-node-loss-fake"
        failover_run(parameters=parameters).save(folder)
    found = side_by_side([find_run("20250104"), find_run("20250105")])
    assert list(found) == ["victim primary", "victim us-east-1/2"]


def test_one_run_is_compared_by_its_experiments(runs: Path):
    assert list(side_by_side([find_run("region-loss")])) == ["region-loss", "pause"]
    with pytest.raises(BadInput, match="has one experiment"):
        side_by_side([find_run("node-loss")])


def test_an_experiment_that_failed_behind_the_first_one_shows_in_a_comparison(
    runs: Path, tmp_path: Path
):
    folder = runs / "20250106T120000Z-two-fake"
    failover_run().save(folder)
    failover_run(lose=1).save(folder / "more" / "2-region-loss")
    named = [find_run("20250101"), find_run("two")]
    assert of_whole_runs(named) == (Verdict.PASS, Verdict.FAIL)
    assert of_whole_runs(named[1:]) == (), "of one run all experiments are there"
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["compare", "20250101", "two", "--html", str(page)])
    assert "verdict of the whole run pass fail" in " ".join(done.stdout.split())
    assert "verdict of the whole run" in page.read_text()
    told = json.loads(CliRunner().invoke(app, ["compare", "20250101", "two", "--json"]).stdout)
    assert (told["verdicts"], told["of_runs"]) == (["pass", "pass"], ["pass", "fail"])


def test_a_run_that_measured_nothing_cannot_be_compared(runs: Path):
    with pytest.raises(BadInput, match="setup-fake measured nothing"):
        side_by_side([find_run("node-loss"), find_run("setup")])


def test_the_command_prints_tables_and_writes_the_page(runs: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    done = CliRunner().invoke(
        app, ["compare", "node-loss", "region-loss", "--html", str(page)], catch_exceptions=False
    )
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "node-loss region-loss change by chance?" in lines
    assert "RTO 5.95 s ± 0.05 s 5.95 s ± 0.05 s same" in lines
    assert "scenario node-loss region-loss" in lines
    assert page.read_text().startswith("<!DOCTYPE html>")
