"""The one real cluster of a test session: started when first needed, healed after each test."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cluster.embedded.cluster import EmbeddedCluster


@pytest.fixture(scope="session")
def lab() -> Iterator[EmbeddedCluster]:
    """Nine nodes with the WAN on, ports from LABKIT_TEST_PORT_BASE (22000) up."""

    def terminated(*_: object) -> None:
        pytest.exit("terminated", returncode=128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminated)
    home = Path(tempfile.mkdtemp(prefix="labkit-"))
    port_base = int(os.environ.get("LABKIT_TEST_PORT_BASE", "22000"))
    cluster = EmbeddedCluster.create(home, port_base=port_base)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        cluster.purge()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def _heal_the_lab(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test meets what another one broke."""
    yield
    if "lab" in request.fixturenames:
        cluster: EmbeddedCluster = request.getfixturevalue("lab")
        cluster.start()
        if cluster.survival_goal() is not cluster.topology.survive:
            cluster.set_survival_goal(cluster.topology.survive)
