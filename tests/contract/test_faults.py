"""Every fault, on every backend: it takes effect, its probe sees that, and it heals."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labkit.cluster.base import Cluster
from labkit.cluster.status import settled
from labkit.errors import FaultUnavailable, UnknownTarget
from labkit.faults.base import Fault
from labkit.faults.brownout import Brownout
from labkit.faults.disaster import Disaster
from labkit.faults.inject import applied
from labkit.faults.links import Direction
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause, Stop
from labkit.faults.slow import Slow
from labkit.topology import Node, Region

US_WEST, EU_WEST = Region(name="us-west-2"), Region(name="eu-west-1")


def replica(cluster: Cluster) -> Node:
    """A node whose loss costs no election."""
    return next(node for node in cluster.topology.nodes if node != cluster.leader())


FAULTS: dict[str, Callable[[Cluster], Fault]] = {
    "kill a node": lambda cluster: Kill(replica(cluster)),
    "kill a balancer": lambda cluster: Kill(cluster.topology.balancers[0]),
    "stop a node": lambda cluster: Stop(replica(cluster)),
    "end a region": lambda _: Disaster(EU_WEST),
    "pause a node": lambda cluster: Pause(replica(cluster)),
    "starve a node": lambda cluster: Brownout(replica(cluster)),
    "pause a balancer": lambda cluster: Pause(cluster.topology.balancers[0]),
    "partition a region": lambda _: Partition(EU_WEST),
    "partition a link": lambda _: Partition(US_WEST, peer=EU_WEST),
    "deafen a region": lambda _: Partition(EU_WEST, direction=Direction.IN),
    "slow a region": lambda _: Slow(EU_WEST, delay_ms=50, jitter_ms=10),
    "slow one direction": lambda _: Slow(US_WEST, peer=EU_WEST, direction=Direction.OUT),
}


@pytest.mark.parametrize("make", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_holds_until_it_is_healed(
    cluster: Cluster, make: Callable[[Cluster], Fault]
) -> None:
    fault = make(cluster)
    assert fault.available(cluster) is None
    assert not fault.probe(cluster).took_effect
    with applied(fault, cluster, timeout_s=30) as injection:
        assert injection.after.took_effect, injection.after.detail
    assert not fault.probe(cluster).took_effect
    fault.heal(cluster)  # again: nothing to do
    assert not fault.probe(cluster).took_effect


def test_a_fault_that_holds_already_is_refused_and_left_alone(cluster: Cluster) -> None:
    fault = Slow(US_WEST)
    fault.inject(cluster)
    with pytest.raises(FaultUnavailable, match="holds already"), applied(fault, cluster):
        pytest.fail("the block of a refused fault was run")
    assert fault.probe(cluster).took_effect
    fault.heal(cluster)


def test_two_faults_of_one_link_heal_apart(cluster: Cluster) -> None:
    cut, slow = Partition(US_WEST, peer=EU_WEST), Slow(US_WEST, peer=EU_WEST, delay_ms=50)
    with applied(slow, cluster):
        with applied(cut, cluster):
            assert not slow.probe(cluster).took_effect, "nothing passes that could be late"
        assert slow.probe(cluster).took_effect
    assert not cut.probe(cluster).took_effect
    assert not slow.probe(cluster).took_effect


@pytest.mark.parametrize("fault", [Kill, Stop, Pause, Brownout, Disaster, Partition, Slow])
def test_a_fault_of_an_unknown_target_is_refused(
    cluster: Cluster, fault: Callable[[Region], Fault]
) -> None:
    with pytest.raises(UnknownTarget, match="nowhere"):
        fault(Region(name="nowhere")).inject(cluster)
    assert settled(cluster.status, timeout_s=60).missing == ()
