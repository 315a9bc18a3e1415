"""The one real cluster of a test session: started when first needed, healed after each test."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.cluster.embedded.cluster import EmbeddedCluster

# A job in the background is made to ignore Ctrl-C by its shell, and hang-ups by nohup,
# and so would every process that the tests start: they could not be ended the way some tests do.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


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
        if not _undisturbed(cluster):
            cluster.start()
        if cluster.survival_goal() is not cluster.topology.survive:
            cluster.set_survival_goal(cluster.topology.survive)


def _undisturbed(cluster: EmbeddedCluster) -> bool:
    """Everything is in service and the WAN is as the topology says: most tests only look."""
    status = cluster.status()
    far = cluster.topology.one_way_ms
    return status.healthy and all(
        link.delay_ms == far(link.source, link.target) and link.jitter_ms == 0
        for link in status.links
    )
