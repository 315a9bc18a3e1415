"""Docker Compose as a program: which one, and what it says when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from docker_fakes import compose_says

from labkit.cluster.machines import compose as program
from labkit.errors import ClusterError, MissingBinary, PortInUse


def test_a_compose_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 0, "1.29.2\n")
    with pytest.raises(MissingBinary, match=r"1\.29\.2, which is too old.*docs\.docker\.com"):
        program.find_compose()


def test_a_docker_without_compose_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 1, "", "docker: 'compose' is not a docker command")
    with pytest.raises(MissingBinary, match="no Docker Compose on this machine"):
        program.find_compose()


def test_a_compose_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 0, "v2.40.3\n")
    assert program.find_compose() == (["/usr/bin/docker", "compose"], "2.40.3")


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "Error response from daemon: driver failed: Bind for 127.0.0.1:26257 failed: "
        "port is already allocated"
    )
    compose_says(monkeypatch, 1, "", said)
    compose = program.Compose(["docker", "compose"], "labkit", Path("compose.yml"), {})
    with pytest.raises(PortInUse, match=r"port 26257 is taken.*--port-base"):
        compose.up()


def test_an_image_that_cannot_be_pulled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 1, "", "Error response from daemon: Get https://registry: timeout")
    with pytest.raises(
        ClusterError, match=r"haproxy:3\.2 cannot be pulled .*timeout.*HAPROXY_IMAG"
    ):
        program.pull("haproxy:3.2")
