"""A result.json that was edited or damaged is told, and never passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import labkit
from histories import failover_run

from labkit.errors import BadInput
from labkit.run.finished import Run, hold_to, make_whole, side_by_side
from labkit.verdict.finding import Verdict
from labkit.verdict.result import read_summary
from labkit.verdict.seal import RESULT_FILE, write_result
from labkit.verdict.sound import mandatory, missing

pytestmark = pytest.mark.spoils_results

Edit = Callable[[dict[str, Any]], object]


def finding(data: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in data["findings"] if found["checker"] == name)


def without_finding(name: str) -> Edit:
    return lambda data: data["findings"].remove(finding(data, name))


def edited(folder: Path, edit: Edit) -> Path:
    path = folder / RESULT_FILE
    data = json.loads(path.read_text())
    edit(data)
    write_result(folder, json.dumps(data))  # its seal says nothing, so the rest must
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "20260101T000000Z-node-loss-fake"
    failover_run().save(folder)
    assert Run(folder).verdict is Verdict.PASS
    return folder


EDITS: dict[str, Edit] = {
    "NaN": lambda data: data["recovery"][0].update(rto_s=float("nan")),
    "infinity": lambda data: data["recovery"][0].update(write_gap_s=float("inf")),
    "a negative duration": lambda data: data["recovery"][0].update(rto_s=-5),
    "a negative count": lambda data: finding(data, "lost_acks").update(count=-3),
    "a negative latency": lambda data: data["latency"][0].update(p99_ms=-1),
    "a negative RPO": lambda data: data.update(rpo_s=-1),
    "a PASS that names what breaks it": lambda data: finding(data, "money").update(count=2),
    "a verdict that no finding has": lambda data: data.update(verdict="fail"),
    "only one finding": lambda data: data.update(findings=[finding(data, "fault_took_effect")]),
    "no findings": lambda data: data.update(findings=[]),
    "a finding twice": lambda data: data["findings"].append(finding(data, "prices")),
    "ended before it began": lambda data: data.update(finished_at="1999-01-01T00:00:00Z"),
    **{f"without {name}": without_finding(name) for name in mandatory(failover_run().summary)},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edited_result_is_damaged_for_whoever_reads_it(run: Path, edit: Edit):
    edited(run, edit)
    with pytest.raises(BadInput, match="damaged"):
        read_summary(run)
    found = Run(run)
    assert (found.summaries, found.verdict) == ((), Verdict.UNKNOWN)
    assert str(run / RESULT_FILE) in found.damaged[0]
    assert hold_to(found, {"rto_s": 100}) == []
    with pytest.raises(BadInput, match="cannot be compared"):
        side_by_side([found, found])


CONTENTS = {
    "empty": b"",
    "nested 100,000 deep": b'{"findings":' + b"[" * 100_000,
    "a list": b"[]",
    "bytes": b"\xff\xfe\x00",
    "a number too long": b'{"schema_version": 1' + b"0" * 5_000 + b"}",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_is_no_result_is_one_line(run: Path, content: bytes, monkeypatch):
    (run / RESULT_FILE).write_bytes(content)
    monkeypatch.setenv("LABKIT_RUNS", str(run.parent))
    listed = labkit("runs")
    assert (listed.exit_code, len(listed.stderr.splitlines())) == (0, 1)
    assert f"{run.name}  damaged" in listed.stdout
    assert json.loads(labkit("runs", "--json").stdout)[0]["verdict"] == "unknown"
    assert labkit("compare", run.name, run.name).exit_code == 2


def test_a_huge_result_is_not_read(run: Path):
    with (run / RESULT_FILE).open("ab") as file:
        file.truncate(1 << 30)  # sparse: it takes no room
    with pytest.raises(BadInput, match="larger than"):
        read_summary(run)


def test_a_finding_that_was_edited_to_fail_wins_over_the_stated_verdict(run: Path):
    edited(run, lambda data: finding(data, "money").update(verdict="fail"))
    assert Run(run).verdict is Verdict.FAIL


def test_every_result_has_every_mandatory_finding():
    assert missing(failover_run().summary) == ()
    nobody = failover_run(steady_before=None, steady_after=None)
    assert nobody.verdict is Verdict.UNKNOWN
    assert missing(nobody.summary) == ()
    assert nobody.summary.finding("steady_after").summary == "nobody looked"


@pytest.mark.parametrize(
    "hide",
    [
        lambda folder: (folder / RESULT_FILE).write_text(""),
        lambda folder: (folder / RESULT_FILE).unlink(),
        lambda folder: folder.rename(folder.with_name("x-region-loss")),
        lambda folder: folder.rename(folder.with_name("3-region-loss")),
    ],
    ids=["emptied", "removed", "renamed", "counted wrongly"],
)
def test_a_further_experiment_that_failed_cannot_be_hidden(run: Path, hide):
    more = run / "more" / "2-region-loss"
    failover_run(lose=1).save(more)
    assert Run(run).verdict is Verdict.FAIL
    hide(more)
    assert Run(run).verdict is not Verdict.PASS
    assert Run(run).damaged or Run(run).verdict is Verdict.FAIL
    make_whole(run, "its kernel died")  # no traceback


def test_a_run_whose_result_was_taken_away_did_not_measure_nothing(run: Path):
    (run / RESULT_FILE).unlink()
    assert Run(run).verdict is Verdict.UNKNOWN
