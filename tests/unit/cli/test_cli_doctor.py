"""What `labkit doctor` says about machines that lack something."""

from __future__ import annotations

import json
import os
import socket
import sys
import webbrowser
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import labkit

from labkit import doctor
from labkit.cluster.engines.postgresql.settings import Settings
from labkit.cluster.machines import programs
from labkit.cluster.machines.docker import NoEngine
from labkit.cluster.machines.programs import Program
from labkit.doctor import docker
from labkit.doctor.check import Check, Diagnosis, Feature, Level
from labkit.errors import MissingBinary


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def missing(*_: object) -> Program:
    raise MissingBinary("no haproxy on this machine: `brew install haproxy`")


# what follows


def test_only_a_failed_check_blocks_and_only_what_needs_it() -> None:
    diagnosis = Diagnosis(
        (
            Check("etcd", Level.WARN, "3.5.1"),
            Check("HAProxy", Level.FAIL, "missing"),
            Check("browser", Level.FAIL, "none", needed_for=()),
            Check("extras", Level.FAIL, "missing", needed_for=(Feature.NOTEBOOKS,)),
        )
    )
    assert [c.name for c in diagnosis.blockers(Feature.EMBEDDED)] == ["HAProxy"]
    assert [c.name for c in diagnosis.blockers(Feature.NOTEBOOKS)] == ["extras"]
    assert diagnosis.blockers(Feature.CONTAINERS) == ()


def test_this_machine_is_diagnosed_and_the_exit_code_says_whether_the_engine_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "none"))
    done = labkit("doctor", "--json")
    told = json.loads(done.stdout)
    assert {"name", "level", "found", "advice", "needed_for"} == told["checks"][0].keys()
    assert done.exit_code == (1 if told["blockers"]["embedded"] else 0)
    assert not (tmp_path / "none").exists()


def test_a_missing_server_is_named_with_the_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setattr(programs, "haproxy", missing)
    done = labkit("doctor")
    assert done.exit_code == 1
    assert "brew install haproxy" in done.stdout
    assert "embedded will not run: HAProxy\n" in done.stdout


# single checks


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 4, 9), Level.OK),
        ((3, 5, 0), Level.WARN),
        ((3, 5, 2), Level.WARN),
        ((3, 5, 3), Level.OK),
        ((3, 6, 0), Level.OK),
    ],
)
def test_an_etcd_that_may_diverge_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], level: Level
) -> None:
    found = Program("etcd", Path("/opt/etcd"), version)
    monkeypatch.setattr(programs, "etcd", lambda: found)
    assert doctor.etcd().level is level
    assert found.release in doctor.etcd().found


@pytest.mark.parametrize(
    ("available_mib", "level"), [(647, Level.FAIL), (700, Level.WARN), (8000, Level.OK)]
)
def test_memory_that_is_short_is_said(
    monkeypatch: pytest.MonkeyPatch, available_mib: int, level: Level
) -> None:
    seen = SimpleNamespace(available=available_mib << 20)
    monkeypatch.setattr("psutil.virtual_memory", lambda: seen)
    monkeypatch.setattr("labkit.cluster.limits._memory_left_in_group", lambda: 1 << 50)
    assert doctor.memory().level is level


def test_memory_within_a_container_is_what_its_limit_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labkit.cluster.limits._memory_left_in_group", lambda: 100 << 20)
    assert doctor.memory().level is Level.FAIL
    assert doctor.memory().found.startswith("100 MiB")


def test_a_full_disk_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=900 << 20))
    check = doctor.disk(tmp_path / "deep" / "down")
    assert check.level is Level.FAIL
    assert f"900 MiB free in {tmp_path}" in check.found
    assert "LABKIT_HOME" in check.advice


def test_a_folder_that_cannot_be_written_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert doctor.disk(tmp_path).level is Level.FAIL


@pytest.mark.parametrize(
    ("system", "level"),
    [("Linux", Level.OK), ("Darwin", Level.WARN), ("Windows", Level.FAIL)],
)
def test_systems_are_told_apart(monkeypatch: pytest.MonkeyPatch, system: str, level: Level) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    assert doctor.system().level is level


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_root_that_may_not_change_user_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("labkit.privileges.held_capabilities", lambda: 1 << 5)
    check = doctor.user()
    assert check.level is Level.FAIL
    assert "CAP_SETUID" in check.advice
    assert "CAP_KILL" not in check.advice
    assert "ordinary user" in check.advice


def test_an_ordinary_user_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert doctor.user() == Check("user", Level.OK, "uid 1000; servers run as the same user")


def test_ports_of_somebody_else_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr(doctor, "DEFAULT_PORT_BASE", port)
    monkeypatch.setattr(doctor, "PORTS_A_LAB", 1)
    check = doctor.ports(tmp_path)
    assert check.level is Level.WARN
    assert f"1 taken ({port})" in check.found
    assert "--port-base" in check.advice


def test_ports_of_the_lab_itself_are_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    Settings(port_base=port).save(tmp_path)
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "wan.json").write_text("{}")
    monkeypatch.setattr(doctor, "PORTS_A_LAB", 1)
    check = doctor.ports(tmp_path)
    assert check.level is Level.OK
    assert f"{port}-{port} on 127.0.0.1: 1 taken" in check.found


def test_a_usual_port_of_cockroachdb_that_is_taken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_free", lambda port: port != 8080)
    check = doctor.cockroach_ports(tmp_path)
    assert (check.level, check.found) == (
        Level.WARN,
        "1 of the usual ones are taken: 8080 (us-west-2/1 DB Console)",
    )
    assert "--port-base" in check.advice
    (tmp_path / "lab.json").write_text('{"backend": "cockroachdb"}')
    assert doctor.cockroach_ports(tmp_path).level is Level.OK


def on_path(folder: Path, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "cockroach"
    program.write_text(f"#!/bin/sh\necho 'Build Tag:        {tag}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize(("tag", "level"), [("v25.4.2", Level.OK), ("v23.1.11", Level.WARN)])
def test_a_cockroach_on_path_tells_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str, level: Level
) -> None:
    on_path(tmp_path, tag, monkeypatch)
    check = doctor.cockroach()
    assert (check.level, check.found) == (level, f"{tag} ({tmp_path / 'cockroach'})")
    assert check.needed_for == (Feature.PROGRAM,)


def test_without_a_cockroach_only_its_backend_will_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    check = doctor.cockroach()
    assert (check.level, check.needed_for) == (Level.FAIL, (Feature.PROGRAM,))
    assert "no cockroach program on PATH" in check.advice


def test_missing_notebook_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "voila" else object())
    check = doctor.notebook_packages()
    assert (check.level, check.found) == (Level.FAIL, "missing: voila")
    assert "install labkit again" in check.advice


def test_brackets_in_advice_reach_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "notebook_packages", doctor.python)
    assert "pip install 'patroni[etcd3,psycopg3]'" in labkit("doctor").stdout


def test_no_browser_is_only_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise webbrowser.Error

    monkeypatch.setattr("webbrowser.get", none)
    assert doctor.browser().level is Level.WARN
    assert doctor.browser().needed_for == ()


# containers


def engine(*images: str, memory_bytes: int = 64 << 30) -> Any:
    facts = SimpleNamespace(version="28.2.2", memory_bytes=memory_bytes, system="Debian")
    return SimpleNamespace(facts=lambda: facts, has_image=lambda name: name in images)


def test_a_docker_that_answers_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker.Engine, "connect", lambda: engine())
    found = {check.name: check for check in docker.containers()}
    assert found["Docker Engine"].found == "28.2.2 (Debian)"
    assert found["Docker memory"].level is Level.OK
    assert found["images"].level is Level.WARN
    assert "cockroachdb/cockroach:v25" in found["images"].found


def test_no_docker_at_all_blocks_only_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoEngine("no Docker engine here: install Docker and start it")

    monkeypatch.setattr(docker.Engine, "connect", none)
    check = docker.containers()[0]
    assert (check.level, check.needed_for) == (Level.FAIL, (Feature.CONTAINERS,))
    assert "install Docker" in check.advice


@pytest.mark.parametrize(
    ("memory_mib", "level"), [(3599, Level.FAIL), (3600, Level.WARN), (9216, Level.OK)]
)
def test_memory_that_docker_lacks_is_said(memory_mib: int, level: Level) -> None:
    assert docker.docker_memory(memory_mib << 20).level is level


def test_a_compose_that_is_missing_blocks_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise MissingBinary("no Docker Compose on this machine")

    monkeypatch.setattr(docker, "find_compose", none)
    assert docker.compose().level is Level.FAIL
    assert docker.compose().needed_for == (Feature.CONTAINERS,)


def test_a_compose_that_answers_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "find_compose", lambda: (["/usr/bin/docker", "compose"], "2.40.3"))
    assert docker.compose().found == "2.40.3 (docker compose)"
