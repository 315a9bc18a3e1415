"""Gates of the command line: which fails, and by how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from histories import FAULT, failover_run
from typer.main import get_command

from labkit.cli.app import app
from labkit.report.compare import compare
from labkit.run.finished import Run, hold_to
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.limits import gates
from labkit.verdict.measures import MEASURES
from labkit.verdict.result import Result, read_summary


def held(option: str, limit: float, result: Result | None = None) -> Finding:
    name = next(one.name for one in MEASURES.values() if one.option == option)
    ((finding,),) = gates([(result or failover_run()).summary], {name: limit})
    return finding


@pytest.mark.parametrize(
    ("option", "limit"),
    [
        ("--max-rto", 6.01),
        ("--max-write-gap", 6.5),
        ("--max-unavailable", 10),
        ("--max-p99", 151),
        ("--max-lost", 0),
    ],
)
def test_a_gate_opens_at_its_limit(option, limit):
    assert held(option, limit).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("option", "limit", "says"),
    [
        (
            "--max-rto",
            2,
            "RTO is 5.95 s ± 0.05 s, 3.95 s ± 0.05 s above the limit "
            "(--max-rto 2; us-west-2, kill us-west-2/1)",
        ),
        (
            "--max-p99",
            100,
            "p99 is 150 ms, 50 ms above the limit (--max-p99 100; eu-west-1, after)",
        ),
    ],
)
def test_a_gate_that_fails_says_by_how_much(option, limit, says):
    finding = held(option, limit)
    assert finding.verdict is Verdict.FAIL
    assert finding.summary == says


def test_lost_orders_are_counted():
    finding = held("--max-lost", 1, failover_run(lose=3))
    assert finding.verdict is Verdict.FAIL
    assert finding.summary.startswith("lost acks is 3, 2 above the limit (--max-lost 1; 3 of 1,800")


def test_what_is_not_known_passes_no_gate():
    finding = held("--max-lost", 0, failover_run(final=None))
    assert finding.verdict is Verdict.UNKNOWN
    assert finding.summary.startswith("lost acks is not known (--max-lost 0; ")


def test_an_outage_without_an_end_is_over_by_at_least_the_time_it_was_watched():
    ops = failover_run().history.ops
    stalled = replace(failover_run().history, ops=ops[ops["scheduled_s"] < 110])
    history = stalled.from_frame(
        stalled.ops, [replace(FAULT, injected_s=105, healed_s=None)], regions=stalled.regions
    )
    summary = failover_run().summary
    rows = tuple(replace(row, rto_s=None, at_least_s=29.0) for row in summary.recovery)
    result = Result(summary.model_copy(update={"recovery": rows}), history)
    finding = held("--max-rto", 15, result)
    assert finding.verdict is Verdict.FAIL
    assert finding.summary.startswith("RTO is more than 29.0 s, at least 14.0 s above the limit")


def test_an_experiment_without_a_fault_is_passed_over_where_another_has_one():
    calm, fault = failover_run(faults=[]).summary, failover_run().summary
    assert [len(findings) for findings in gates([calm, fault], {"rto_s": 15})] == [0, 1]
    ((finding,),) = gates([calm], {"rto_s": 15})
    assert finding.verdict is Verdict.UNKNOWN


def test_a_run_keeps_what_its_gates_said(tmp_path):
    failover_run().save(tmp_path)
    before = Run(tmp_path)
    assert before.verdict is Verdict.PASS
    (finding,) = hold_to(before, {"rto_s": 2})
    assert finding.verdict is Verdict.FAIL
    assert Run(tmp_path).verdict is Verdict.FAIL
    assert read_summary(tmp_path).finding("gate_rto_s") == finding
    assert "3.95 s ± 0.05 s above the limit" in (tmp_path / "report.html").read_text()


def test_the_docs_have_the_table_of_measures():
    page = (Path(__file__).parents[3] / "docs/runs.md").read_text(encoding="utf-8")
    table = page.partition("| measure | name |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [
        f"| {one.label} | `{one.name}` | {one.unit or 'count'} | "
        f"{f'`{one.option}`' if one.option else ''} | {one.meaning} |"
        for one in MEASURES.values()
    ]


def test_the_command_line_has_every_gate():
    command = get_command(app).commands["run"]
    options = {name for parameter in command.params for name in parameter.opts}
    with_option = {one.option for one in MEASURES.values() if one.option}
    assert with_option == {name for name in options if name.startswith("--max-")}


def test_each_measure_of_a_run_is_compared():
    labels = [row.label for row in compare(dict.fromkeys("ab", failover_run().summary)).numbers]
    assert [label for label in labels if "," not in label] == [
        one.label for one in MEASURES.values() if one.name != "p99_ms"
    ]
