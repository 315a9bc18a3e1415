"""The clusters of a test session: each started when first needed, healed after each test."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from engine.compose import override
from engine.daemon import Engine
from engine.fixtures import (
    cockroach_on_path,
    docker_engine,  # noqa: F401 - a fixture
    grammar_folder,
)
from labs import LABS, REAL_CLUSTERS
from results import problems

from labkit.cluster.cockroach.layout import node_service
from labkit.cluster.cockroach_binary.cluster import BinaryCluster
from labkit.cluster.compose.cluster import ComposeCluster
from labkit.cluster.compose.layout import LAB_LABEL
from labkit.cluster.compose.project import OVERRIDE_FILE
from labkit.cluster.embedded.cluster import EmbeddedCluster

RealLab = EmbeddedCluster | ComposeCluster | BinaryCluster
AnyLab = TypeVar("AnyLab", EmbeddedCluster, ComposeCluster, BinaryCluster)

# A job in the background is made to ignore Ctrl-C by its shell, and hang-ups by nohup,
# and so would every process that the tests start: they could not be ended the way some tests do.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


PORT_BASE = int(os.environ.get("LABKIT_TEST_PORT_BASE", "22000"))
"""The embedded lab has the 1000 ports from here, the one in containers the 300 after them, and the
one of `cockroach` processes the 1000 after those."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` each lab is one worker's, and a module that needs none is, too."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(lab_of(item) or item.path.stem))


def lab_of(item: pytest.Item) -> str | None:
    """The lab that a test runs on, as its fixtures or its parameters name it."""
    if item.get_closest_marker("docker"):
        return LABS["cockroachdb"]
    names = {*getattr(item, "fixturenames", ())}
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        named = (value for value in item.callspec.params.values() if isinstance(value, str))
        names |= {LABS[value] for value in named if value in LABS}
    return next((name for name in LABS.values() if name in names), None)


@pytest.fixture(scope="session")
def lab() -> Iterator[EmbeddedCluster]:
    """Nine nodes of the embedded engine with the WAN on."""
    home = Path(tempfile.mkdtemp(prefix="labkit-"))
    with for_this_session(EmbeddedCluster.create(home, port_base=PORT_BASE)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def containers(docker_engine: Engine) -> Iterator[ComposeCluster]:  # noqa: F811
    """Nine CockroachDB nodes in containers with the WAN on; stand-ins in the tests' own engine."""
    home = Path(tempfile.mkdtemp(prefix="labkit-"))
    cluster = ComposeCluster.create(home, port_base=PORT_BASE + 1000)
    if docker_engine.standin:
        text = override(
            # one more a region: the override speaks of nodes that may come
            [
                node_service(node)
                for region in cluster.topology.region_names
                for node in cluster.topology.with_node(region)[0].nodes_of(region)
            ],
            cluster.topology.region_names,
            grammar=grammar_folder(),
            labels={LAB_LABEL: cluster.settings.lab_id},
        )
        (home / "compose").mkdir()
        (home / "compose" / OVERRIDE_FILE).write_text(text)
    with for_this_session(cluster) as running:
        yield running


@pytest.fixture(scope="session")
def processes() -> Iterator[BinaryCluster]:
    """Nine CockroachDB nodes as processes with the WAN on; the double is their `cockroach`."""
    home = Path(tempfile.mkdtemp(prefix="labkit-"))
    with cockroach_on_path():
        cluster = BinaryCluster.create(home, port_base=PORT_BASE + 1300)
        with for_this_session(cluster) as running:
            yield running


@contextmanager
def for_this_session(cluster: AnyLab) -> Iterator[AnyLab]:
    """Started, and in the end removed, also when the session is terminated."""

    def terminated(*_: object) -> None:
        pytest.exit("terminated", returncode=128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        cluster.purge()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(params=REAL_CLUSTERS)
def real_cluster(request: pytest.FixtureRequest) -> RealLab:
    """Each lab in turn, in service and without a fault."""
    cluster: RealLab = request.getfixturevalue(LABS[request.param])
    return cluster


@pytest.fixture(autouse=True)
def _results_are_as_documented(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every run of every test, also those in other processes, keeps to docs/result.schema.json."""
    spoils = request.node.get_closest_marker("spoils_results")
    looks = "tmp_path" in request.fixturenames and not spoils
    folder: Path | None = request.getfixturevalue("tmp_path") if looks else None
    yield
    if folder is not None:
        assert problems(folder) == []


@pytest.fixture(autouse=True)
def _heal_the_labs(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test meets what another one broke."""
    yield
    for name in LABS.values():
        if name in request.fixturenames:
            heal(request.getfixturevalue(name))


def heal(cluster: RealLab) -> None:
    """Undo what a test did. Most only look, so this looks first."""
    status = cluster.status()
    far = cluster.topology.one_way_ms
    undisturbed = status.healthy and all(
        link.delay_ms == far(link.source, link.target) and link.jitter_ms == 0
        for link in status.links
    )
    if not undisturbed:
        cluster.start()
    if cluster.survival_goal() is not cluster.topology.survive:
        cluster.set_survival_goal(cluster.topology.survive)
