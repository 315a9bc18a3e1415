"""Rolling restarts: their order, and what stops them."""

from __future__ import annotations

import pytest

from labkit.errors import NotReady, UnknownTarget
from labkit.operations.rolling import rolling_restart
from labkit.testing import FakeCluster
from labkit.topology import Node, Target


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster()
    fake.start()
    fake.calls.clear()
    return fake


def done_to(cluster: FakeCluster) -> list[str]:
    return [str(call) for call in cluster.calls]


def test_every_node_is_stopped_and_started_in_turn_and_the_leader_last(
    cluster: FakeCluster,
) -> None:
    first = cluster.leader()
    stages: list[str] = []
    steps = rolling_restart(cluster, on_stage=stages.append)
    assert [step.node for step in steps] == [
        *(node.name for node in cluster.topology.nodes[1:]),
        first.name,
    ]
    pairs = [(f"shut_down {step.node}", f"restart {step.node}") for step in steps[:-1]]
    assert done_to(cluster) == [
        *(call for pair in pairs for call in pair),
        f"hand_over {first}",
        f"shut_down {first}",
        f"restart {first}",
    ]
    assert stages == [f"restarting {step.node}" for step in steps]
    assert cluster.status().healthy


def test_a_cluster_that_is_not_in_service_is_left_alone(cluster: FakeCluster) -> None:
    cluster.kill(Node(region="eu-west-1", index=2))
    with pytest.raises(NotReady, match=r"eu-west-1/2: down.*labkit heal"):
        rolling_restart(cluster)
    assert done_to(cluster) == ["kill eu-west-1/2"]


def test_an_unknown_node_is_refused_before_anything_is_done(cluster: FakeCluster) -> None:
    with pytest.raises(UnknownTarget, match="us-west-2/9"):
        rolling_restart(cluster, [cluster.topology.nodes[0], Node(region="us-west-2", index=9)])
    assert cluster.calls == []


def test_a_node_whose_stop_is_interrupted_is_started_again(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(target: Target) -> None:
        cluster.kill(target)
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "shut_down", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rolling_restart(cluster)
    assert done_to(cluster) == ["kill us-west-2/2", "restart us-west-2/2"]
    assert cluster.status().healthy
