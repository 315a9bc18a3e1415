"""The Docker engine: who may use it, what is done to containers, what it refuses."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, DockerException
from docker_fakes import container

from labkit.cluster.machines.docker import Engine, NoEngine
from labkit.cluster.status import State
from labkit.errors import ClusterError


def connecting(monkeypatch: pytest.MonkeyPatch, error: Exception) -> str:
    def from_env(**_: object) -> None:
        raise DockerException(f"Error while fetching server API version: {error}") from error

    monkeypatch.setattr("docker.from_env", from_env)
    with pytest.raises(NoEngine) as caught:
        Engine.connect()
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file"), "install Docker"),
        (PermissionError(13, "Permission denied"), "usermod -aG docker"),
        (ConnectionRefusedError(111, "refused"), "systemctl start docker"),
        (TimeoutError("late"), "docker info"),
    ],
)
def test_an_engine_that_cannot_be_used_is_told_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    assert words in connecting(monkeypatch, error)
    # as urllib3 and requests wrap it
    wrapped = requests.ConnectionError(("Connection aborted.", error))
    assert words in connecting(monkeypatch, wrapped)


def test_a_socket_that_is_not_there_and_one_that_nobody_listens_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    where = rf"at unix://{path} \(DOCKER_HOST\)"
    with pytest.raises(NoEngine, match=f"no Docker engine {where}: install Docker"):
        Engine.connect()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(NoEngine, match=f"the Docker engine {where} is stopped: start"):
        Engine.connect()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http+docker://localhost", ""),  # a socket, whatever its path
        ("http://127.0.0.1:2375", ""),
        ("http://build-server:2375", "build-server"),
        ("http+docker://ssh", "ssh"),
    ],
)
def test_an_engine_on_another_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    client = SimpleNamespace(api=SimpleNamespace(base_url=address), ping=lambda: True)
    monkeypatch.setattr("docker.from_env", lambda **_: client)
    if not host:
        Engine.connect()
        return
    with pytest.raises(NoEngine, match=rf"another machine \({host}\).*--backend embedded"):
        Engine.connect()


def test_an_engine_behind_ssh_is_refused_and_no_package_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://somebody@build-server")
    with pytest.raises(NoEngine, match=r"another machine \(ssh\).*unset DOCKER_HOST"):
        Engine.connect()


@pytest.mark.parametrize("chosen", ["environment", "configuration"])
def test_a_context_that_is_not_there_is_named_and_no_other_engine_taken(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if chosen == "environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    else:
        monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
        (tmp_path / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(NoEngine, match=r"no Docker context 'gone'.*docker context ls"):
        Engine.connect()


@pytest.mark.parametrize("configured", [True, False])
def test_a_context_that_the_environment_names_is_used_with_and_without_a_configuration(
    configured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "podman")
    if configured:
        (tmp_path / "config.json").write_text("{}")
    path = tmp_path / "podman.sock"
    context_file(tmp_path, "podman", {"docker": {"Host": f"unix://{path}"}})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(NoEngine, match="stopped"):  # it was dialled: the default is not there
            Engine.connect()


def context_file(folder: Path, name: str, endpoints: object) -> Path:
    """As `docker context create` writes it."""
    file = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
    return file


def test_a_context_that_is_damaged_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "torn")
    context_file(tmp_path, "torn", {}).write_text('{"Name": ')
    with pytest.raises(NoEngine, match=r"context 'torn' cannot be read .*docker context create"):
        Engine.connect()


class FakeApi:
    """The SDK's lower half, at the edge to HTTP."""

    def __init__(self, *rows: dict[str, Any], error: Exception | None = None) -> None:
        self.rows = rows
        self.error = error
        self.killed: list[str] = []

    def containers(self, **_: object) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return list(self.rows)

    def volumes(self) -> dict[str, Any]:
        return {"Volumes": [*self.rows]}

    def kill(self, container: str, signal: str) -> None:
        self.killed.append(container)
        if self.error:
            raise self.error


def engine(api: FakeApi) -> Engine:
    return Engine(SimpleNamespace(api=api))


def test_containers_are_known_by_service_and_lab() -> None:
    labels = {"com.docker.compose.service": "wan", "labkit.lab": "mine"}
    found = engine(
        FakeApi({"Id": "1", "State": "paused", "Status": "Up (Paused)", "Labels": labels})
    ).containers("labkit")
    assert found["wan"].state is State.PAUSED
    assert found["wan"].lab == "mine"


def test_a_volume_that_compose_would_take_over_is_known_to_be_somebodys() -> None:
    compose = {"com.docker.compose.project": "labkit"}
    volume = {**compose, "com.docker.compose.volume": "crdb1-us-west-2"}
    found = engine(
        FakeApi(
            {"Name": "labkit_crdb1-us-west-2", "Labels": {**volume, "labkit.lab": "mine"}},
            {"Name": "labkit_crdb2-us-west-2", "Labels": None},  # docker volume create
            {"Name": "labkit_photos", "Labels": {}},
            {"Name": "labkit2_crdb1-us-west-2", "Labels": {}},
            {"Name": "labkit_certs", "Labels": {"com.docker.compose.project": "other"}},
        )
    ).volumes("labkit")
    assert found == {"crdb1-us-west-2": "mine", "crdb2-us-west-2": "", "certs": ""}


def test_only_what_lives_is_killed() -> None:
    api = FakeApi()
    engine(api).kill([container("a"), container("b", "exited"), container("c", "paused")])
    assert sorted(api.killed) == ["a", "c"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (APIError("no", explanation="it is not running"), "Docker refuses a: it is not running"),
        (requests.ConnectionError("gone"), "does not answer"),
    ],
)
def test_what_docker_refuses_names_the_service(error: Exception, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        engine(FakeApi(error=error)).kill([container("a")])
