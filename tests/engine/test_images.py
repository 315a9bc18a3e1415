"""The tests' own engine, and what stands in its images."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from engine.compose import STORE, override
from engine.daemon import Engine
from engine.fixtures import STANDINS


def run(engine: Engine, image: str, *command: str) -> str:
    output = engine.client().containers.run(
        image, list(command), entrypoint=[], remove=True, network_mode="none"
    )
    return str(output.decode())


@pytest.fixture
def standins(docker_engine: Engine) -> Engine:
    if not docker_engine.standin:
        pytest.skip("another engine answers: it is for the real images")
    return docker_engine


@pytest.mark.docker
def test_compose_is_a_plugin_of_docker(docker_engine: Engine) -> None:
    done = subprocess.run(
        ["docker", "compose", "version", "--short"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.lstrip("v").split(".")[0]) >= 2


@pytest.mark.docker
def test_the_cockroach_image_holds_the_double_and_lends_no_python(standins: Engine) -> None:
    image = STANDINS["cockroach"]
    assert "not CockroachDB" in run(standins, image, "/cockroach/cockroach.sh", "version")
    assert run(standins, image, "/bin/bash", "-c", "type -t python3 || echo none") == "none\n"
    assert run(standins, image, "/bin/bash", "-c", "type -t curl") == "file\n"


@pytest.mark.docker
def test_the_python_image_runs_what_the_wan_needs(standins: Engine) -> None:
    code = "import asyncio, json, http.client; print('here')"
    assert run(standins, STANDINS["python"], "python", "-c", code) == "here\n"


@pytest.mark.docker
def test_the_haproxy_image_has_haproxy(standins: Engine) -> None:
    assert "HAProxy version" in run(standins, STANDINS["haproxy"], "haproxy", "-v")


def test_the_override_puts_the_store_on_every_network(tmp_path: Path) -> None:
    data = yaml.safe_load(override(["crdb1", "crdb2"], ["west", "east"], grammar=tmp_path))
    assert set(data["services"]) == {STORE, "crdb1", "crdb2"}
    assert data["services"][STORE]["networks"] == ["west", "east"]
    assert data["services"]["crdb1"]["environment"]["STANDIN_STORE"] == f"{STORE}:5432"
    assert data["services"]["crdb1"]["volumes"] == [f"{tmp_path}:/opt/grammar:ro"]
