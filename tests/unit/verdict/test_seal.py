"""What a run left is told from what was edited or removed later."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import labkit
from histories import failover_run

from labkit import files
from labkit.errors import VerdictFailed
from labkit.run.finished import Run, hold_to
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result, read_summary
from labkit.verdict.seal import RESULT_FILE

pytestmark = pytest.mark.spoils_results


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that does not hold what was required of it."""
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    folder = tmp_path / "20260101T000000Z-node-loss-fake"
    with pytest.raises(VerdictFailed):
        failover_run().save(folder).require(rto_s=1)
    assert Run(folder).verdict is Verdict.FAIL
    return folder


def required(data: dict[str, Any]) -> dict[str, Any]:
    return next(found for found in data["findings"] if found["limit"] is not None)


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "removed": lambda data: data["findings"].remove(required(data)),
    "eased": lambda data: required(data).update(limit=100.0, verdict="pass", offenders=[], count=0),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_requirement_that_was_taken_back_with_a_text_editor_is_told(
    run: Path, edit: Callable[[dict[str, Any]], object]
):
    path = run / RESULT_FILE
    data = json.loads(path.read_text())
    edit(data)
    data["verdict"] = "pass"
    path.write_text(json.dumps(data))
    assert Run(run).verdict is Verdict.UNKNOWN
    listed = labkit("runs")
    assert "damaged" in listed.stdout
    assert "result.json: is not what the run left" in listed.stderr
    other = run.with_name("20260102T000000Z-node-loss-fake")
    failover_run().save(other)
    assert labkit("compare", run.name, other.name).exit_code == 2
    judged = labkit("judge", run.name)
    assert judged.exit_code == 2
    assert "result.json: is not what the run left" in judged.stdout


def test_a_seal_without_the_result_is_told(run: Path):
    sums = run / "SHA256SUMS"
    sums.write_text(
        "".join(line for line in sums.read_text().splitlines(True) if RESULT_FILE not in line)
    )
    assert "result.json: has no digest" in Run(run).damaged[0]
    sums.unlink()
    assert "result.json: has no digest" in Run(run).damaged[0]


def test_removing_all_further_experiments_of_a_run_is_told(run: Path):
    failover_run().save(run / "more" / "2-region-loss")
    failover_run(lose=1).save(run / "more" / "3-region-loss")
    assert Run(run).damaged == ()
    shutil.rmtree(run / "more")
    assert len(Run(run).damaged) == 2
    assert "2-region-loss: an experiment of the run was there" in Run(run).damaged[0]
    assert "more/2-region-loss" in labkit("runs").stderr
    judged = labkit("judge", run.name)
    assert judged.exit_code == 1, "what is left failed"
    assert "more/2-region-loss" in judged.stderr


def test_requirements_and_gates_are_sealed_as_sha256sum_has_it(run: Path):
    more = run / "more" / "2-region-loss"
    failover_run().save(more).require(lost_acks=0)
    hold_to(Run(run), {"rto_s": 100})
    assert Run(run).damaged == ()
    for folder in (run, more):
        command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
        assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    assert f"more/2-region-loss/{RESULT_FILE}" in (run / "SHA256SUMS").read_text()


@pytest.mark.parametrize("writes", range(5))
def test_who_is_killed_while_a_result_is_written_leaves_one_that_its_seal_knows(
    run: Path, monkeypatch: pytest.MonkeyPatch, writes: int
):
    more = run / "more" / "2-region-loss"
    result = failover_run().save(more)
    write_text, written = files.write_text, []

    def killed(path: Path, text: str) -> None:
        if len(written) == writes:
            raise KeyboardInterrupt
        written.append(path)
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr("labkit.files.write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            result.require(rto_s=100)
    read_summary(more)
    assert Run(run).damaged == ()
    Result.load(more).require(rto_s=100)
    assert Run(run).damaged == ()
