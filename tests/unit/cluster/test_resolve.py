"""Targets as people type them."""

from __future__ import annotations

import pytest

from labkit.cluster.base import resolve
from labkit.errors import NotReady, UnknownTarget
from labkit.testing import FakeCluster
from labkit.topology import Balancer, Node, Region, Target


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster()
    fake.start()
    return fake


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("us-east-1/2", Node(region="us-east-1", index=2)),
        ("us-east-1", Region(name="us-east-1")),
        ("lb:us-east-1", Balancer(region="us-east-1")),
        ("primary", Node(region="us-west-2", index=1)),
        ("leader-region", Region(name="us-west-2")),
    ],
)
def test_a_target_means(cluster: FakeCluster, typed: str, meant: Target) -> None:
    assert resolve(cluster, typed) == meant


@pytest.mark.parametrize("target", ["us-east-1/2", "us-east-1", "lb:us-east-1"])
def test_a_target_reads_as_it_was_typed(cluster: FakeCluster, target: str) -> None:
    assert str(resolve(cluster, target)) == target


def test_the_primary_follows_a_failover(cluster: FakeCluster) -> None:
    cluster.kill(cluster.topology.region("us-west-2"))
    assert resolve(cluster, "primary") == Node(region="us-east-1", index=1)
    assert resolve(cluster, "leader-region") == Region(name="us-east-1")


@pytest.mark.parametrize("target", ["primary", "leader-region"])
def test_there_may_be_no_primary(cluster: FakeCluster, target: str) -> None:
    cluster.stop()
    with pytest.raises(NotReady, match="no primary"):
        resolve(cluster, target)


@pytest.mark.parametrize(
    "target", ["us-west-9", "us-east-1/4", "us-east-1/", "lb:", "lb:mars", "etcd:us-east-1", ""]
)
def test_what_names_nothing_is_refused_with_what_there_is(
    cluster: FakeCluster, target: str
) -> None:
    with pytest.raises(UnknownTarget, match="us-west-2"):
        resolve(cluster, target)
