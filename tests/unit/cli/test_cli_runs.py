"""run, demo and runs: what they say, and their exit codes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from commands import labkit
from histories import failover_run

from labkit.cluster.base import OnStage
from labkit.cluster.marks import marked
from labkit.errors import PortInUse, RunError, UnknownParameter
from labkit.measurement.outages import Healthy
from labkit.run import folders
from labkit.run.finished import Run
from labkit.run.notebook import Progress
from labkit.topology import DEFAULT
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.run import About
from labkit.verdict.summary import Machine, Summary


@dataclass
class FakeRun:
    """What `labkit.run.finished.Run` is to the commands."""

    folder: Path
    verdict: str | None = None
    summaries: tuple[Summary, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 1), ("unknown", 2), (None, 0)])
def test_run_ends_with_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verdict: str | None, code: int
) -> None:
    asked: list[Any] = []

    def run_notebook(
        name: str, parameters: dict[str, str], on_progress: Any, *, short: bool
    ) -> FakeRun:
        asked.extend([name, parameters])
        return FakeRun(tmp_path, verdict)

    monkeypatch.setattr("labkit.run.notebook.run_notebook", run_notebook)
    done = labkit(
        "run", "03_node_loss", "-p", "rate_per_s=20", "--parameter", "where=a=b", "--json"
    )
    assert done.exit_code == code
    assert asked == ["03_node_loss", {"rate_per_s": "20", "where": "a=b"}]
    told = json.loads(done.stdout)
    assert (told["verdict"], told["folder"]) == (verdict, str(tmp_path))


def summary(verdict: Verdict) -> Summary:
    """A measurement with one finding."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return Summary(
        scenario="node-loss",
        backend="fake",
        topology=DEFAULT,
        parameters={},
        workload={},
        started_at=at,
        finished_at=at,
        findings=(Finding("lost_acks", verdict, "2 of 70 acknowledged orders are missing"),),
        healthy=Healthy(),
        recovery=(),
        rpo_s=None,
        latency=(),
        versions={},
        machine=Machine(cores=2, platform="test"),
    )


def test_a_measured_run_is_told_in_words_numbers_and_a_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = FakeRun(tmp_path, "fail", (summary(Verdict.FAIL),))
    monkeypatch.setattr("labkit.run.notebook.run_notebook", lambda *_, **__: found)
    (tmp_path / "report.html").touch()
    done = labkit("run", "03_node_loss")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "node-loss on fake",
        "Failed. 2 of 70 acknowledged orders are missing.",
    ]
    assert re.match(r"Lost acks +0 \(2 of 70", next(x for x in lines if x.startswith("Lost")))
    assert lines[-1] == str(tmp_path / "report.html")
    monkeypatch.setattr("labkit.run.finished.list_runs", lambda: [found])
    row = labkit("runs").stdout.splitlines()[1]
    assert re.match(rf"{tmp_path.name} +fail +1 +no fault was injected +0 \(2 of 70", row)
    told = json.loads(labkit("runs", "--json").stdout)[0]
    assert (told["scenario"], told["backend"]) == ("node-loss", "fake")
    assert told["headlines"]["RTO"] == "no fault was injected"
    (experiment,) = told["experiments"]
    assert experiment["not_passed"] == {"lost_acks": "2 of 70 acknowledged orders are missing"}


def test_run_shows_where_it_is_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run_notebook(
        name: str, parameters: dict[str, str], on_progress: Any, *, short: bool
    ) -> FakeRun:
        on_progress(Progress(1, 9, ""))
        on_progress(Progress(2, 9, "electing a primary"))
        return FakeRun(tmp_path)

    monkeypatch.setattr("labkit.run.notebook.run_notebook", run_notebook)
    done = labkit("run", "00_setup")
    assert done.stderr == "notebook 00_setup\n[2/9] electing a primary\n"
    assert done.stdout == f"It ran to its end and measured nothing.\n{tmp_path}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunError("cell 3 failed"), 3),
        (PortInUse("21000"), 3),
        (PermissionError(13, "Permission denied", "/runs"), 3),
        (UnknownParameter("no parameter 'x'"), 2),
    ],
)
def test_run_that_could_not_be_done_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def run_notebook(*_: Any, **__: Any) -> FakeRun:
        raise error

    monkeypatch.setattr("labkit.run.notebook.run_notebook", run_notebook)
    done = labkit("run", "03_node_loss")
    assert (done.exit_code, done.stdout) == (code, "")
    said = error.strerror if isinstance(error, OSError) else error
    assert re.fullmatch(rf"labkit: .*{said}.*\n", done.stderr)


@pytest.mark.parametrize("given", [["x"], ["=1"], ["x=1", "x=2"]])
def test_run_refuses_parameters_that_are_not_name_and_value(given: list[str]) -> None:
    done = labkit("run", "03_node_loss", *(word for text in given for word in ("-p", text)))
    assert done.exit_code == 2
    assert "labkit: parameter " in done.stderr


def test_a_gate_that_fails_is_a_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failover_run().save(tmp_path)
    monkeypatch.setattr("labkit.run.notebook.run_notebook", lambda *_, **__: Run(tmp_path))
    passes = labkit("run", "03_node_loss", "--max-rto", "15", "--max-lost", "0")
    assert passes.exit_code == 0
    fails = labkit("run", "03_node_loss", "--max-rto", "2", "--max-p99", "100", "--json")
    assert fails.exit_code == 1
    said = [line for line in fails.stderr.splitlines() if "gate" in line]
    assert said == [
        "labkit: gate failed: RTO is 5.95 s ± 0.05 s, 3.95 s ± 0.05 s above the limit "
        "(--max-rto 2; us-west-2, kill us-west-2/1)",
        "labkit: gate failed: p99 is 150 ms, 50 ms above the limit "
        "(--max-p99 100; eu-west-1, after)",
    ]
    assert json.loads(fails.stdout)["verdict"] == "fail"


def test_a_gate_on_a_run_that_measured_nothing_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("labkit.run.notebook.run_notebook", lambda *_, **__: Run(tmp_path))
    done = labkit("run", "00_setup", "--max-rto", "15")
    assert done.exit_code == 2
    assert "gate not proven" in done.stderr


@pytest.mark.parametrize(
    "bad",
    [
        ["--max-rto", "-1"],
        ["--max-rto", "inf"],
        ["--max-p99", "nan"],
        ["--max-lost", "many"],
        ["--max-lost", "9" * 400],
    ],
)
def test_a_gate_that_cannot_be_is_refused_before_anything_runs(bad: list[str]) -> None:
    assert labkit("run", "03_node_loss", *bad).exit_code == 2


def test_run_all_goes_on_after_one_that_breaks_down_and_ends_with_the_worst(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, bool]] = []

    def run_notebook(
        name: str, parameters: dict[str, str], on_progress: Any, *, short: bool
    ) -> FakeRun:
        ran.append((name, short))
        if name == "01_broken":
            raise RunError("cell 3 failed")
        return FakeRun(tmp_path, {"00_setup": None, "03_node_loss": "fail"}[name])

    names = dict.fromkeys(["00_setup", "01_broken", "03_node_loss"], tmp_path)
    monkeypatch.setattr("labkit.notebooks.notebooks", lambda: names)
    monkeypatch.setattr("labkit.run.notebook.run_notebook", run_notebook)
    done = labkit("run", "--all", "--short")
    assert done.exit_code == 3
    assert ran == [(name, True) for name in names]
    assert "labkit: 01_broken: cell 3 failed" in done.stderr
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    assert rows[1:] == [["00_setup", "ran"], ["01_broken", "broke"], ["03_node_loss", "fail"]]
    del names["01_broken"]
    told = labkit("run", "--all", "--json")
    assert told.exit_code == 1
    assert [one["notebook"] for one in json.loads(told.stdout)] == ["00_setup", "03_node_loss"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "say which notebook, or --all"),
        (["--all", "03_node_loss"], "leave out 03_node_loss"),
        (["--all", "-p", "hold_s=3"], "-p goes with one notebook"),
    ],
)
def test_run_refuses_what_contradicts_itself(words: list[str], says: str) -> None:
    done = labkit("run", *words)
    assert done.exit_code == 2
    assert says in done.stderr


def test_demo_ends_with_the_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("labkit.demo.demo", lambda on_stage, on_progress: FakeRun(tmp_path, "fail"))
    done = labkit("demo", "--json")
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (1, "fail")


def test_demo_that_cannot_start_ends_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def demo(on_stage: OnStage, on_progress: Any) -> FakeRun:
        raise PortInUse("port 21000 is taken")

    monkeypatch.setattr("labkit.demo.demo", demo)
    done = labkit("demo")
    assert (done.exit_code, done.stderr) == (3, "labkit: port 21000 is taken\n")


def test_runs_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [FakeRun(tmp_path / "20260102T-b", "pass"), FakeRun(tmp_path / "20260101T-a")]
    monkeypatch.setattr("labkit.run.finished.list_runs", lambda: found)
    rows = [line.split()[:2] for line in labkit("runs").stdout.splitlines()]
    assert rows == [["run", "verdict"], ["20260102T-b", "pass"], ["20260101T-a", "none"]]
    told = json.loads(labkit("runs", "--json").stdout)
    assert [one["verdict"] for one in told] == ["pass", None]


def test_without_runs_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.run.finished.list_runs", list)
    assert "labkit run" in labkit("runs").stdout
    assert json.loads(labkit("runs", "--json").stdout) == []


def test_a_run_that_is_going_on_is_listed_as_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    folder = tmp_path / "20260102T000000Z-node-loss-fake"
    begun = failover_run().summary
    with marked(_made(folder)):
        folders.begin(folder, About(begun.scenario, begun.backend, begun.topology))
        (row,) = labkit("runs").stdout.splitlines()[1:]
        assert row.split() == [folder.name, "running"]
        (told,) = json.loads(labkit("runs", "--json").stdout)
        assert (told["verdict"], told["experiments"]) == (None, [])
        assert told["running"]["process"] == os.getpid()
    (row,) = labkit("runs").stdout.splitlines()[1:]
    assert "unknown (the run was broken off)" in row
    assert "no fault was injected" not in row
    assert json.loads(labkit("runs", "--json").stdout)[0]["running"] is None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_an_interrupted_run_says_where_it_is_and_that_the_lab_is_healed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("papermill.execute_notebook", interrupted)
    done = labkit("run", "00_setup")
    assert done.exit_code == 130
    (folder,) = (tmp_path / "runs").iterdir()
    assert done.stderr == (
        "labkit: interrupted; no fault of the run stays in the lab, and "
        f"{folder} has what it measured\n"
    )
