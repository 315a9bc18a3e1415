"""A Docker engine's containers, and Docker Compose, without Docker."""

from __future__ import annotations

import subprocess

import pytest

from labkit.cluster.machines.docker import Container


def container(name: str, raw_state: str = "running") -> Container:
    return Container(name, name, raw_state, "", "")


def compose_says(
    monkeypatch: pytest.MonkeyPatch, code: int, stdout: str = "", stderr: str = ""
) -> None:
    done = subprocess.CompletedProcess([], code, stdout, stderr)
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: done)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")
