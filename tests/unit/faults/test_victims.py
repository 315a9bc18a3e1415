"""Whom the next trial hits: another part of the same kind and role."""

from __future__ import annotations

from random import Random

import pytest

from labkit.faults.base import Fault
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause
from labkit.faults.victims import Victims
from labkit.testing import FakeCluster
from labkit.topology import Balancer, Region, Topology


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster()
    fake.start()
    return fake


def chosen(cluster: FakeCluster, fault: Fault, n: int) -> list[Fault]:
    """The victims of `n` trials; each fault is really injected and healed again."""
    victims, taken, chance = Victims.like(fault, cluster), [fault], Random(1)
    while len(taken) < n:
        taken[-1].inject(cluster)
        taken[-1].heal(cluster)
        taken.append(victims.another(cluster, taken, chance))
    return taken


def test_the_primary_is_followed_by_whoever_is_primary_then(cluster):
    fault = Kill(cluster.leader())
    victims = Victims.like(fault, cluster)
    fault.inject(cluster)
    fault.heal(cluster)
    assert victims.another(cluster, [fault], Random(1)) == Kill(cluster.leader())
    assert cluster.leader() != fault.target


def test_a_replica_is_followed_by_every_other_replica_and_never_by_the_primary(cluster):
    replicas = [node for node in cluster.topology.nodes if node != cluster.leader()]
    taken = chosen(cluster, Pause(replicas[3]), len(replicas))
    assert {fault.target for fault in taken} == set(replicas)


def test_the_primarys_region_is_followed_by_the_one_that_has_the_primary_then(cluster):
    fault = Kill(cluster.topology.region(cluster.leader().region))
    victims = Victims.like(fault, cluster)
    fault.inject(cluster)
    home = cluster.leader().region
    fault.heal(cluster)
    following = victims.another(cluster, [fault], Random(1))
    assert following.target_name == home != fault.target_name


def test_another_region_is_followed_by_another_without_the_primary(cluster):
    names = {str(fault.target) for fault in chosen(cluster, Kill(Region(name="eu-west-1")), 4)}
    assert names == {"eu-west-1", "us-east-1"}


def test_a_balancer_is_followed_by_the_others(cluster):
    taken = chosen(cluster, Kill(Balancer(region="us-east-1")), 3)
    assert {fault.target for fault in taken} == set(cluster.topology.balancers)


def test_a_link_is_followed_by_other_links_and_keeps_its_other_settings(cluster):
    west, east, _ = cluster.topology.regions
    taken = chosen(cluster, Partition(west, peer=east), 6)
    assert len({fault.target_name for fault in taken}) == 6


def test_who_is_alone_is_hit_again():
    alone = FakeCluster(
        Topology.model_validate({"region": [{"name": "north", "nodes": 1}], "survive": "none"})
    )
    alone.start()
    fault = Pause(alone.topology.nodes[0])
    assert Victims.like(fault, alone).another(alone, [fault], Random(1)) == fault


def test_the_same_seed_hits_the_same_victims(cluster):
    fault = Pause(cluster.topology.node("us-east-1/1"))
    assert chosen(cluster, fault, 5) == chosen(cluster, fault, 5)
