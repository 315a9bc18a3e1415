"""The lab that commands find, and how many examples a property is tried on."""

from __future__ import annotations

import os
from typing import Any

import pytest
from commands import Became
from hypothesis import settings

from labkit.errors import NotRunning
from labkit.testing import FakeCluster

# deadlines are times, and a busy machine has others; `make test-long` asks for "thorough"
settings.register_profile("quick", max_examples=10, deadline=None)
settings.register_profile("thorough", max_examples=100, deadline=None)
settings.load_profile("quick")


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


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the process turned into."""
    calls: list[Any] = []

    def become(*arguments: Any) -> None:
        calls.extend(arguments)
        raise Became

    for name in ("execv", "execve"):
        monkeypatch.setattr(os, name, become)
    return calls
