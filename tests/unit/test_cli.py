"""The commands, on a cluster in memory: what they print, where, and how they end."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from histories import failover_run
from typer.testing import CliRunner

from labkit.cli.app import app
from labkit.cluster.base import OnStage
from labkit.cluster.status import State
from labkit.errors import ClusterError, NotRunning, PortInUse, RunError, UnknownParameter
from labkit.measurement.recovery import Healthy
from labkit.run_folders import Run
from labkit.runs import Progress
from labkit.testing import FakeCluster
from labkit.topology import DEFAULT, Region, SurvivalGoal, Target
from labkit.verdict.checkers import Finding, Verdict
from labkit.verdict.result import Machine, Summary

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def labkit(*arguments: str) -> Any:
    """Run a command; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False, prog_name="labkit")


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """The lab that the commands find: not started."""
    cluster = FakeCluster()
    monkeypatch.setattr("labkit.cluster.attach", lambda: cluster)
    monkeypatch.setattr("labkit.lab.bring_up", lambda cluster, on_stage: cluster.start(on_stage))
    return cluster


@pytest.fixture
def cluster(stopped: FakeCluster) -> FakeCluster:
    """The lab that the commands find, in service."""
    stopped.start()
    return stopped


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no lab."""

    def attach() -> FakeCluster:
        raise NotRunning("no lab here: `labkit up` makes one")

    monkeypatch.setattr("labkit.cluster.attach", attach)


# up and down


@pytest.fixture
def created(stopped: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `create` was asked for."""
    asked: dict[str, Any] = {}

    def create(backend: str, **settings: Any) -> FakeCluster:
        asked.update(settings, backend=backend)
        return stopped

    monkeypatch.setattr("labkit.cluster.create", create)
    return asked


def test_up_starts_the_lab_as_it_is_by_default(
    created: dict[str, Any], stopped: FakeCluster
) -> None:
    done = labkit("up")
    assert done.exit_code == 0
    assert created == {
        "backend": None,
        "topology": None,
        "survive": None,
        "wan": None,
        "port_base": None,
        "secure": None,
    }
    assert stopped.status().healthy
    assert "9 nodes in 3 regions are in service, the primary is us-west-2/1" in done.stdout


def test_up_shows_its_stages_as_plain_lines_on_standard_error(created: dict[str, Any]) -> None:
    done = labkit("up")
    assert done.stderr == "starting\n"


def test_up_passes_every_setting_on(created: dict[str, Any], tmp_path: Path) -> None:
    shape = tmp_path / "shape.toml"
    shape.write_text('survive = "zone"\n[[region]]\nname = "north"\n')
    options = ["--backend", "embedded", "--wan", "off", "--survive", "none", "--port-base", "24700"]
    assert labkit("up", *options, "--topology", str(shape)).exit_code == 0
    assert created["topology"].region_names == ("north",)
    assert created["survive"] is SurvivalGoal.NONE
    assert (created["wan"], created["port_base"]) == (False, 24700)


def test_up_twice_is_no_error(created: dict[str, Any], stopped: FakeCluster) -> None:
    assert [labkit("up").exit_code, labkit("up").exit_code] == [0, 0]


def test_up_refuses_a_bad_topology_in_one_line(created: dict[str, Any], tmp_path: Path) -> None:
    shape = tmp_path / "shape.toml"
    shape.write_text("[[region]]\nnodes = 3")
    done = labkit("up", "--topology", str(shape))
    assert done.exit_code == 2
    assert done.stderr == f"labkit: {shape}: region[0].name: Field required\n"
    assert created == {}


def test_down_stops_the_lab_and_keeps_its_data(cluster: FakeCluster) -> None:
    done = labkit("down")
    assert done.exit_code == 0
    assert [str(call) for call in cluster.calls] == ["start", "stop"]
    assert "data is kept" in done.stdout


def test_down_with_purge_removes_what_is_stopped(cluster: FakeCluster) -> None:
    assert labkit("down", "--purge").exit_code == 0
    assert [str(call) for call in cluster.calls] == ["start", "stop", "purge"]


@pytest.mark.usefixtures("nothing")
def test_down_without_a_lab_has_nothing_to_do() -> None:
    done = labkit("down")
    assert (done.exit_code, done.stdout) == (0, "no lab here, nothing to stop\n")


# status


def test_status_shows_every_part(cluster: FakeCluster) -> None:
    done = labkit("status")
    assert done.exit_code == 0
    status = cluster.status()
    for part in (*status.nodes, *status.balancers, *status.coordinators):
        assert re.search(rf"^\S+ +{part.name} .*running +ok *$", done.stdout, re.MULTILINE)
    assert len(re.findall(r" > .* ms +0 ms +open", done.stdout)) == 6
    assert "survival goal region, WAN on" in done.stdout


def test_status_says_what_is_out_of_service_and_ends_with_1(cluster: FakeCluster) -> None:
    cluster.pause(cluster.topology.nodes[4])
    cluster.set_link("us-west-2", "eu-west-1", cut=True, delay_ms=80)
    done = labkit("status")
    assert done.exit_code == 1
    assert done.stdout.startswith("not in service")
    assert re.search(r"us-east-1/2 +unknown +paused +paused", done.stdout)
    assert re.search(r"us-west-2 > eu-west-1 +80 ms +0 ms +cut", done.stdout)


def test_status_in_a_pipe_has_no_colours_and_breaks_no_line(cluster: FakeCluster) -> None:
    cluster.stop()
    done = labkit("status")
    assert "\x1b" not in done.stdout
    assert len(re.findall(r"down +down", done.stdout)) == 15


def test_status_as_json_is_the_status(cluster: FakeCluster) -> None:
    expected = json.loads(json.dumps(cluster.status().to_json()))
    assert json.loads(labkit("status", "--json").stdout) == expected
    cluster.kill(cluster.topology.balancers[0])
    done = labkit("status", "--json")
    assert (done.exit_code, json.loads(done.stdout)["healthy"]) == (1, False)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_they_are_not_wanted(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[32m" in labkit("status").stdout) is coloured


def test_a_terminal_sees_how_each_stage_ended(
    created: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert re.search(r"done starting \S*\d+\.\d s", labkit("up").stderr)

    def fail(cluster: FakeCluster, on_stage: OnStage) -> None:
        on_stage("etcd")
        raise ClusterError("etcd ended")

    monkeypatch.setattr("labkit.lab.bring_up", fail)
    assert re.search(r"failed etcd \S*\d+\.\d s", labkit("up").stderr)


# dsn and sql


def test_dsn_prints_the_url_and_nothing_else(cluster: FakeCluster) -> None:
    assert labkit("dsn", "eu-west-1").stdout == cluster.dsn("eu-west-1") + "\n"
    read_only = labkit("dsn", "eu-west-1", "--read-only").stdout
    assert read_only == cluster.dsn("eu-west-1", read_only=True) + "\n"


def test_dsn_of_an_unknown_region_is_refused_with_the_list(cluster: FakeCluster) -> None:
    done = labkit("dsn", "mars")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == ("labkit: no region 'mars': there are us-west-2, us-east-1, eu-west-1\n")


def test_dsn_takes_the_password_out_of_the_file_that_the_url_names(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passfile = tmp_path / "pgpass"
    passfile.write_text("127.0.0.1:*:*:trader:pa/ss@word\n")
    passfile.chmod(0o600)
    url = "postgresql://trader@127.0.0.1:1/trading?sslmode=disable"
    monkeypatch.setattr(cluster, "dsn", lambda region, read_only: f"{url}&passfile={passfile}")
    monkeypatch.setenv("PGPASSWORD", "of something else")
    done = labkit("dsn", "us-west-2", "--password")
    assert done.stdout == url.replace("trader@", "trader:pa%2Fss%40word@") + "\n"


def test_dsn_without_a_password_is_the_url_as_it_is(cluster: FakeCluster) -> None:
    assert labkit("dsn", "us-west-2", "--password").stdout == cluster.dsn("us-west-2") + "\n"


class Became(Exception):  # noqa: N818
    """The process turned into another program."""


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the process turned into."""
    calls: list[Any] = []

    def become(*arguments: Any) -> None:
        calls.extend(arguments)
        raise Became

    monkeypatch.setattr(os, "execv", become)
    return calls


def test_sql_becomes_psql_on_the_url(
    cluster: FakeCluster, executed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of something else")
    with pytest.raises(Became):
        labkit("sql", "us-west-2", "--read-only", "-c", "SELECT 1")
    program, argv = executed
    assert argv == [str(program), cluster.dsn("us-west-2", read_only=True), "--command", "SELECT 1"]
    assert "PGPASSWORD" not in os.environ


@pytest.mark.parametrize("command", [[], ["-c", "SELECT 1"]])
def test_sql_without_psql_and_without_a_database_is_one_line(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("labkit.cluster.embedded.programs.psql", lambda: None)
    monkeypatch.setattr(
        cluster, "dsn", lambda region, read_only: "postgresql://trader@127.0.0.1:1/trade_db"
    )
    done = labkit("sql", "us-west-2", *command)
    assert done.exit_code == 3
    assert done.stderr.startswith("labkit: connection")
    assert len(done.stderr.splitlines()) == 1


# faults


@pytest.mark.parametrize(
    ("arguments", "label", "seen"),
    [
        (["kill", "primary"], "kill us-west-2/1", "us-west-2/1 down and out of service"),
        (["stop", "us-east-1"], "stop us-east-1", "all 5 parts of us-east-1 down"),
        (
            ["disaster", "us-west-2", "--alone-s", "0"],
            "disaster us-west-2",
            "all 5 parts of us-west",
        ),
        (["pause", "lb:eu-west-1"], "pause lb:eu-west-1", "lb:eu-west-1 paused"),
        (["partition", "leader-region", "--direction", "in"], "partition us-west-2 (in)", "cut"),
        (["slow", "us-west-2>eu-west-1", "--delay-ms", "7"], "us-west-2>eu-west-1", "80 ms"),
        (["slow", "eu-west-1", "--delay-ms", "0", "--jitter-ms", "9"], "slow", "up to 9 ms"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_fault_gives_a_receipt_and_stays(
    cluster: FakeCluster, arguments: list[str], label: str, seen: str
) -> None:
    done = labkit("fault", *arguments)
    assert done.exit_code == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert label in lines["fault"]
    assert seen in lines["after"]
    assert lines["undo"] == "labkit heal"
    assert "heal" not in {call.action for call in cluster.calls}


def test_a_receipt_as_json_has_the_evidence(cluster: FakeCluster) -> None:
    receipt = json.loads(labkit("fault", "kill", "us-east-1/2", "--json").stdout)
    assert receipt["bit"] is True
    assert (receipt["fault"], receipt["target"]) == ("kill", "us-east-1/2")
    assert receipt["before"] == "1 of 1 parts not down: us-east-1/2 running"
    assert receipt["after"] == "us-east-1/2 down and out of service"
    assert receipt["bite_s"] >= receipt["inject_s"] >= 0


def test_a_fault_that_does_not_bite_ends_with_1(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "kill", lambda target: None)
    monkeypatch.setattr("labkit.cli.faults.await_bite", lambda fault, cluster: fault.probe(cluster))
    done = labkit("fault", "kill", "us-east-1/2")
    assert done.exit_code == 1
    assert "it did not bite" in done.stdout
    assert labkit("fault", "kill", "us-east-1/2", "--json").exit_code == 1


def test_a_fault_that_failed_half_way_is_healed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = cluster.topology.nodes_of("us-east-1")[0]
    kill = cluster.kill

    def fail_half_way(target: Target) -> None:
        kill(half)
        raise ClusterError(f"{target}: one process did not die")

    monkeypatch.setattr(cluster, "kill", fail_half_way)
    done = labkit("fault", "kill", "us-east-1")
    assert (done.exit_code, done.stderr) == (3, "labkit: us-east-1: one process did not die\n")
    assert cluster.status().healthy


def test_a_fault_that_holds_already_is_refused(cluster: FakeCluster) -> None:
    assert labkit("fault", "pause", "us-east-1/2").exit_code == 0
    done = labkit("fault", "pause", "us-east-1/2")
    assert done.exit_code == 3
    assert "holds already" in done.stderr
    assert cluster.status().node("us-east-1/2").state is State.PAUSED


@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "mars"],
        ["partition", "us-west-2/1"],
        ["partition", "us-west-2:us-west-2"],
        ["slow", "us-west-2", "--delay-ms", "-5"],
        ["slow", "us-west-2>us-east-1", "--direction", "in"],
        ["slow", "us-west-2", "--direction", "sideways"],
        ["kill", "us-west-2", "--delay-ms", "5"],
        ["melt", "us-west-2"],
        ["kill"],
    ],
    ids=" ".join,
)
def test_a_fault_that_makes_no_sense_changes_nothing(
    cluster: FakeCluster, arguments: list[str]
) -> None:
    done = labkit("fault", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr
    assert [str(call) for call in cluster.calls] == ["start"]


def test_a_fault_of_links_without_a_wan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(wan=False)
    cluster.start()
    monkeypatch.setattr("labkit.cluster.attach", lambda: cluster)
    done = labkit("fault", "partition", "us-west-2")
    assert done.exit_code == 3
    assert "--wan on" in done.stderr


def test_heal_undoes_every_fault(cluster: FakeCluster) -> None:
    cluster.kill(Region(name="us-west-2"))
    cluster.set_link("us-east-1", "eu-west-1", cut=True)
    done = labkit("heal")
    assert (done.exit_code, done.stdout) == (0, "every part is in service\n")
    assert cluster.status().healthy


# runs


@dataclass
class FakeRun:
    """What `labkit.run_folders.Run` is to the commands."""

    folder: Path
    verdict: str | None = None
    summaries: tuple[Summary, ...] = ()

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

    monkeypatch.setattr("labkit.runs.run_notebook", run_notebook)
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
    monkeypatch.setattr("labkit.runs.run_notebook", lambda *_, **__: found)
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
    monkeypatch.setattr("labkit.run_folders.list_runs", lambda: [found])
    row = labkit("runs").stdout.splitlines()[1]
    assert re.match(rf"{tmp_path.name} +fail +1 +no fault was injected +0 \(2 of 70", row)
    told = json.loads(labkit("runs", "--json").stdout)[0]
    assert (told["scenario"], told["backend"]) == ("node-loss", "fake")
    assert told["headlines"]["RTO"] == "no fault was injected"


def test_run_shows_where_it_is_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run_notebook(
        name: str, parameters: dict[str, str], on_progress: Any, *, short: bool
    ) -> FakeRun:
        on_progress(Progress(1, 9, ""))
        on_progress(Progress(2, 9, "electing a primary"))
        return FakeRun(tmp_path)

    monkeypatch.setattr("labkit.runs.run_notebook", run_notebook)
    done = labkit("run", "00_setup")
    assert done.stderr == "notebook 00_setup\n[2/9] electing a primary\n"
    assert done.stdout == f"It ran to its end and measured nothing.\n{tmp_path}\n"


@pytest.mark.parametrize(
    "error", [RunError("cell 3 failed"), UnknownParameter("no parameter 'x'"), PortInUse("21000")]
)
def test_run_that_could_not_be_done_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run_notebook(*_: Any, **__: Any) -> FakeRun:
        raise error

    monkeypatch.setattr("labkit.runs.run_notebook", run_notebook)
    done = labkit("run", "03_node_loss")
    assert done.exit_code == 3
    assert done.stderr.endswith(f"labkit: {error}\n")


@pytest.mark.parametrize("given", [["x"], ["=1"], ["x=1", "x=2"]])
def test_run_refuses_parameters_that_are_not_name_and_value(given: list[str]) -> None:
    done = labkit("run", "03_node_loss", *(word for text in given for word in ("-p", text)))
    assert done.exit_code == 3
    assert "labkit: parameter " in done.stderr


def test_a_gate_that_fails_is_a_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failover_run().save(tmp_path)
    monkeypatch.setattr("labkit.runs.run_notebook", lambda *_, **__: Run(tmp_path))
    passes = labkit("run", "03_node_loss", "--max-rto", "15", "--max-lost", "0")
    assert passes.exit_code == 0
    fails = labkit("run", "03_node_loss", "--max-rto", "2", "--max-p99", "100", "--json")
    assert fails.exit_code == 1
    said = [line for line in fails.stderr.splitlines() if "gate" in line]
    assert said == [
        "labkit: gate failed: RTO is 5.00 s, 3.00 s over "
        "(--max-rto 2; us-west-2, kill us-west-2/1)",
        "labkit: gate failed: p99 is 150 ms, 50 ms over (--max-p99 100; eu-west-1, after)",
    ]
    assert json.loads(fails.stdout)["verdict"] == "fail"


def test_a_gate_on_a_run_that_measured_nothing_is_not_proven(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("labkit.runs.run_notebook", lambda *_, **__: Run(tmp_path))
    done = labkit("run", "00_setup", "--max-rto", "15")
    assert done.exit_code == 2
    assert "gate not proven" in done.stderr


@pytest.mark.parametrize("bad", [["--max-rto", "-1"], ["--max-lost", "many"]])
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
    monkeypatch.setattr("labkit.runs.notebooks", lambda: names)
    monkeypatch.setattr("labkit.runs.run_notebook", run_notebook)
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
    assert done.exit_code == 3
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
    monkeypatch.setattr("labkit.run_folders.list_runs", lambda: found)
    rows = [line.split()[:2] for line in labkit("runs").stdout.splitlines()]
    assert rows == [["run", "verdict"], ["20260102T-b", "pass"], ["20260101T-a", "none"]]
    told = json.loads(labkit("runs", "--json").stdout)
    assert [one["verdict"] for one in told] == ["pass", None]


def test_without_runs_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.run_folders.list_runs", list)
    assert "labkit run" in labkit("runs").stdout
    assert json.loads(labkit("runs", "--json").stdout) == []


def test_notebook_becomes_jupyterlab_on_loopback(executed: list[Any]) -> None:
    with pytest.raises(Became):
        labkit("notebook", "--port", "24750", "--no-browser")
    program, argv = executed
    assert argv[:3] == [program, "-m", "jupyterlab"]
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=24750", "--no-browser"} <= set(argv)
    assert not any("token" in argument for argument in argv)


def test_notebook_without_jupyterlab_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.cli.runs.find_spec", lambda name: None)
    done = labkit("notebook")
    assert done.exit_code == 3
    assert "labkit[notebook]" in done.stderr


# nodes


def test_a_node_is_added_and_removed(cluster: FakeCluster) -> None:
    added = labkit("node", "add", "us-east-1")
    assert (added.exit_code, added.stdout) == (0, "us-east-1/4 is in service\n")
    removed = labkit("node", "remove", "us-east-1/4")
    assert (removed.exit_code, removed.stdout) == (0, "us-east-1/4 is gone\n")
    assert cluster.topology == DEFAULT


@pytest.mark.parametrize(
    "arguments",
    [["node", "add", "mars"], ["node", "remove", "mars/1"], ["node", "restart", "mars/1"]],
    ids=" ".join,
)
def test_nodes_of_nowhere_are_refused_with_the_list(
    cluster: FakeCluster, arguments: list[str]
) -> None:
    done = labkit(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "us-west-2" in done.stderr
    assert [str(call) for call in cluster.calls] == ["start"]


def test_a_cluster_whose_nodes_are_given_refuses_to_change_them(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
) -> None:
    class Given:
        """Somebody else's cluster: it can only be asked."""

        backend, topology = "external", DEFAULT

    monkeypatch.setattr("labkit.cluster.attach", Given)
    done = labkit("node", "add", "us-east-1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "external backend cannot" in done.stderr
    assert labkit("node", "restart").exit_code == 3


def test_nodes_are_restarted_in_turn(cluster: FakeCluster) -> None:
    done = labkit("node", "restart")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == [*(node.name for node in DEFAULT.nodes[1:]), "us-west-2/1"]
    assert done.stderr.splitlines() == [f"restarting {name}" for name in names]
    one = json.loads(labkit("node", "restart", "eu-west-1/2", "--json").stdout)
    assert [step["node"] for step in one] == ["eu-west-1/2"]


# how commands end


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["heal"],
        ["dsn", "us-west-2"],
        ["sql", "us-west-2"],
        ["fault", "kill", "primary"],
    ],
    ids=" ".join,
)
def test_without_a_lab_there_is_one_line_that_says_how_to_get_one(arguments: list[str]) -> None:
    done = labkit(*arguments)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "labkit: no lab here: `labkit up` makes one\n"


def test_a_bug_keeps_its_traceback(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "status", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        labkit("status")


def test_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", labkit("--version").stdout)


BLOCKING = """
import signal, sys, time
import labkit.cluster, labkit.lab
from labkit.cli import main
from labkit.testing import FakeCluster

def bring_up(cluster, on_stage):
    try:
        on_stage("waiting")
        time.sleep(60)
    finally:
        print("stopped what was started", flush=True)

labkit.cluster.create = lambda *args, **kwargs: FakeCluster()
labkit.lab.bring_up = bring_up
sys.argv = ["labkit", "up"]
main()
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "labkit: interrupted\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_cleans_up_and_leaves_no_traceback(
    number: signal.Signals, code: int, said: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (code, "stopped what was started\n", said)


def test_light_commands_do_not_import_heavy_packages() -> None:
    heavy = {"pandas", "plotly", "papermill", "IPython", "jupyterlab", "pyarrow", "numpy"}
    imports = "import sys, labkit.cli.app, labkit.cluster.embedded.cluster"
    script = f"{imports}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


# docs


def commands(command: Any, path: str = "labkit") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def sections() -> dict[str, str]:
    """The text under each heading that is a command."""
    parts = re.split(r"^##+ `(labkit[^`]*)`$", DOCS.read_text(), flags=re.MULTILINE)
    return {
        name: text.split("\n## ")[0] for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_docs_have_a_section_for_every_command_and_no_other() -> None:
    assert sections().keys() == {path for path, _ in commands(typer.main.get_command(app))}


def test_docs_name_every_option_and_no_other() -> None:
    docs = sections()
    for path, command in commands(typer.main.get_command(app)):
        options = {
            option
            for param in command.params
            for option in (*param.opts, *param.secondary_opts)
            if option.startswith("-")
        } - {"--help", "-h"}
        listed = "\n".join(re.findall(r"^- .*?:?(?:`[^`]*`[, ]*)+", docs[path], re.MULTILINE))
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", listed)) == options, path


def test_a_full_disk_is_one_line(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/samples.parquet")

    monkeypatch.setattr(cluster, "heal", fail)
    done = labkit("heal")
    assert done.exit_code == 3
    assert done.stderr.startswith("labkit: the disk is full")
    assert "/somewhere/samples.parquet" in done.stderr
