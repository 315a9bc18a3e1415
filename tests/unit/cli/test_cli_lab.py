"""up, down, status, dsn and sql, on a cluster in memory: what they say, and how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Became, labkit

from labkit.cluster.base import OnStage
from labkit.errors import ClusterError
from labkit.testing import FakeCluster
from labkit.topology import SurvivalGoal


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
    assert done.stderr == f"labkit: {shape}: region[0].name: is missing\n"
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


def test_sql_becomes_psql_on_the_url(
    cluster: FakeCluster, executed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of something else")
    with pytest.raises(Became):
        labkit("sql", "us-west-2", "--read-only", "-c", "SELECT 1")
    program, argv, environment = executed
    assert argv == [str(program), cluster.dsn("us-west-2", read_only=True), "--command", "SELECT 1"]
    assert "PGPASSWORD" not in environment


@pytest.mark.parametrize("command", [[], ["-c", "SELECT 1"]])
def test_sql_without_psql_and_without_a_database_is_one_line(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("labkit.cluster.machines.programs.psql", lambda: None)
    monkeypatch.setattr(
        cluster, "dsn", lambda region, read_only: "postgresql://trader@127.0.0.1:1/trade_db"
    )
    done = labkit("sql", "us-west-2", *command)
    assert done.exit_code == 3
    assert done.stderr.startswith("labkit: connection")
    assert len(done.stderr.splitlines()) == 1
