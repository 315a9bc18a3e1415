from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from histories import FAULT, REGIONS, failover_run, orders
from results import problems

from labkit.errors import BadInput
from labkit.history import History
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import FaultWindow, Outcome
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.result import Result, read_summary
from labkit.verdict.steady import SteadyState
from labkit.verdict.summary import schema_json

SCHEMA = Path(__file__).parents[3] / "docs" / "result.schema.json"


def test_a_run_in_which_everything_holds_passes():
    result = failover_run()
    assert result.verdict is Verdict.PASS
    assert [finding.checker for finding in result.findings] == [
        "steady_before",
        "fault_took_effect",
        "steady_after",
        "recording",
        "lost_acks",
        "duplicates",
        "phantoms",
        "money",
        "prices",
        "opening",
        "real_time",
        "executions",
    ]


def test_a_run_says_how_each_region_recovered():
    rows = {row.region: row for row in failover_run().summary.recovery}
    assert rows["us-west-2"].rto_s == pytest.approx(5.95)
    assert rows[ALL_REGIONS].write_gap_s == pytest.approx(6.0, abs=0.2)


def test_a_fault_that_never_bit_voids_the_run():
    result = failover_run(faults=[replace(FAULT, took_effect_s=None, detail="still up")])
    assert result.verdict is Verdict.UNKNOWN
    finding = result.summary.finding("fault_took_effect")
    assert finding is not None
    assert finding.offenders == ("kill us-west-2/1: still up",)


def test_one_of_two_faults_that_took_no_effect_voids_the_run():
    result = failover_run(faults=[FAULT, FaultWindow("cut", "eu-west-1", injected_s=120)])
    assert result.verdict is Verdict.UNKNOWN


def test_a_region_whose_clients_recorded_nothing_voids_the_run():
    """Clients that meet no service record that; these did not even ask."""
    run = failover_run()
    driven = History.from_frame(run.history.ops, [FAULT], regions=(*REGIONS, "ap-south-1"))
    result = failover_run(history=driven)
    assert result.verdict is Verdict.UNKNOWN
    finding = result.summary.finding("recording")
    assert finding is not None
    assert (finding.verdict, finding.offenders) == (Verdict.UNKNOWN, ("ap-south-1",))
    assert run.summary.finding("recording").verdict is Verdict.PASS


def test_a_run_without_a_fault_has_no_recovery_and_may_pass():
    result = failover_run(faults=[])
    assert result.summary.recovery == ()
    assert result.summary.finding("fault_took_effect") is None
    assert result.verdict is Verdict.PASS


def test_a_run_without_a_final_read_is_unknown():
    result = failover_run(final=None)
    assert result.verdict is Verdict.UNKNOWN
    assert result.summary.rpo_s is None


def test_a_steady_state_that_does_not_hold_fails_the_run():
    ops = failover_run().history.ops
    slow = SteadyState(p99_ms=1).check(ops, regions=["us-west-2"], since_s=100, until_s=110)
    result = failover_run(steady_before=slow)
    assert result.findings[0] == slow
    assert result.verdict is Verdict.FAIL


def test_lost_acks_give_an_rpo():
    result = failover_run(lose=1)
    assert result.verdict is Verdict.FAIL
    assert result.summary.rpo_s == pytest.approx(110 - 100, abs=0.2)


def test_a_result_knows_what_it_was_measured_with():
    versions = failover_run().summary.versions
    assert versions["postgresql"] == "18.3"
    assert {"labkit", "python"} < set(versions)


def test_a_new_finding_of_the_same_checker_replaces_the_old_one():
    once = failover_run().with_findings([Finding("extra", Verdict.FAIL, "first")])
    twice = once.with_findings([Finding("extra", Verdict.PASS, "second")])
    assert [f.summary for f in twice.findings if f.checker == "extra"] == ["second"]
    assert once.verdict is Verdict.FAIL
    assert twice.verdict is Verdict.PASS


def test_what_was_saved_is_what_is_loaded(tmp_path: Path):
    saved = failover_run().save(tmp_path / "run")
    assert sorted(path.name for path in saved.folder.iterdir()) == [
        "SHA256SUMS",
        "events.jsonl",
        "faults.jsonl",
        "result.json",
        "samples.parquet",
    ]
    loaded = Result.load(tmp_path / "run")
    assert loaded.summary == saved.summary
    assert loaded.folder == saved.folder
    assert loaded.history.faults == saved.history.faults
    pd.testing.assert_frame_equal(loaded.history.ops, saved.history.ops)


def test_the_record_carries_the_verdict_for_readers_without_labkit(tmp_path: Path):
    failover_run(lose=1).save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["schema_version"], record["verdict"]) == (2, "fail")
    assert [region["name"] for region in record["topology"]["region"]] == list(REGIONS)


def test_an_outage_without_an_end_is_null_in_the_record(tmp_path: Path):
    lost = orders("us-west-2", 110, 160, outcome=Outcome.INFO)
    history = History.of([*orders("us-west-2", 100, 110), *lost], [FAULT])
    failover_run(history=history).save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["recovery"][0]["rto_s"] is None
    assert read_summary(tmp_path).recovery[0].rto_s is None


def test_a_folder_without_a_result_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="no result there"):
        Result.load(tmp_path)


def test_a_result_without_its_samples_names_what_is_missing(tmp_path: Path):
    failover_run().save(tmp_path)
    (tmp_path / "samples.parquet").unlink()
    with pytest.raises(BadInput, match=r"samples\.parquet"):
        Result.load(tmp_path)


@pytest.mark.spoils_results
def test_a_result_of_another_schema_version_is_refused(tmp_path: Path):
    failover_run().save(tmp_path)
    path = tmp_path / "result.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    with pytest.raises(BadInput, match="schema version 99"):
        read_summary(tmp_path)


@pytest.mark.spoils_results
@pytest.mark.parametrize("content", ["", "[]", '{"schema_version": 2}'])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(BadInput, match="not a result"):
        read_summary(tmp_path)


def test_the_schema_in_the_docs_is_that_of_the_code():
    """Write it anew: python -m labkit.verdict.summary > docs/result.schema.json."""
    assert SCHEMA.read_text() == schema_json()


def test_every_result_a_test_leaves_is_held_against_the_schema(tmp_path: Path):
    failover_run(lose=1).save(tmp_path / "good")
    assert problems(tmp_path) == []
    spoiled = json.loads((tmp_path / "good" / "result.json").read_text())
    del spoiled["rpo_s"]
    spoiled["findings"][0]["verdict"] = "maybe"
    bad = tmp_path / "good" / "more" / "2-bad" / "result.json"
    bad.parent.mkdir(parents=True)
    bad.write_text(json.dumps(spoiled))
    found = problems(tmp_path)
    bad.unlink()
    assert len(found) == 2
    assert any("'rpo_s' is a required property" in line for line in found)
    assert any("'maybe' is not one of" in line for line in found)
