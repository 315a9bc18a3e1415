"""What every backend promises (labkit.cluster.base)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from labkit.clock import wait_until
from labkit.cluster.base import (
    CanHandOver,
    CanKill,
    CanPause,
    CanScale,
    CanStop,
    Cluster,
    HasWan,
    HasWaysElsewhere,
)
from labkit.cluster.engines.cockroachdb import monitoring
from labkit.cluster.engines.cockroachdb.cluster import CockroachCluster
from labkit.cluster.engines.cockroachdb.layout import node_service
from labkit.cluster.status import ClusterStatus, Role, State, settled
from labkit.errors import BadInput, NotReady, NotRunning, TopologyError, UnknownTarget
from labkit.operations.rolling import rolling_restart
from labkit.topology import Balancer, Node, Region, SurvivalGoal, Target

FAILOVER_S = 60.0
"""Generous: a loaded machine is slow, and what is tested is that it happens."""

NOWHERE: list[Target] = [
    Node(region="nowhere", index=1),
    Region(name="nowhere"),
    Balancer(region="nowhere"),
]


def leader(cluster: Cluster) -> Node | None:
    try:
        return cluster.leader()
    except NotReady:
        return None


def await_other_leader(cluster: Cluster, old: Node) -> Node:
    wait_until(
        lambda: leader(cluster) not in (None, old), what="another leader", timeout_s=FAILOVER_S
    )
    return cluster.leader()


def at_rest(cluster: Cluster) -> ClusterStatus:
    """Its status with everything in service: on a busy machine a part may answer late."""
    status = settled(cluster.status, timeout_s=FAILOVER_S)
    assert status.missing == ()
    return status


def undisturbed(cluster: Cluster, status: ClusterStatus) -> list[object]:
    """What no node may lose: its process, and the lead where the engine has one leader.

    Patroni chooses synchronous replicas and CockroachDB moves leases on their own, also a while
    after the last fault was healed.
    """
    leads = [node.name for node in status.nodes if node.role is Role.PRIMARY]
    return [*(leads if cluster.single_primary else ()), *((n.name, n.pid) for n in status.nodes)]


# in service


def test_start_of_a_started_cluster_changes_nothing(cluster: Cluster) -> None:
    before = undisturbed(cluster, at_rest(cluster))
    cluster.start()
    assert undisturbed(cluster, at_rest(cluster)) == before


def test_status_names_every_node_and_balancer_once(cluster: Cluster) -> None:
    status = at_rest(cluster)
    assert [node.name for node in status.nodes] == [node.name for node in cluster.topology.nodes]
    assert [b.name for b in status.balancers] == [b.name for b in cluster.topology.balancers]
    assert status.backend == cluster.backend


def test_the_leader_is_a_primary_and_the_only_one_where_the_engine_has_one(
    cluster: Cluster,
) -> None:
    primaries = [node.name for node in at_rest(cluster).nodes if node.role is Role.PRIMARY]
    assert cluster.leader().name in primaries
    assert len(primaries) == 1 or not cluster.single_primary


def test_the_leader_of_a_region_is_a_node_and_of_an_unknown_region_refused(
    cluster: Cluster,
) -> None:
    for region in cluster.topology.region_names:
        assert cluster.leader(region) in cluster.topology.nodes
    with pytest.raises(UnknownTarget, match="us-west-2"):
        cluster.leader("nowhere")


def test_dsn_is_a_url_of_the_region_without_a_password(cluster: Cluster) -> None:
    urls = [
        cluster.dsn(region, read_only=read_only)
        for region in cluster.topology.region_names
        for read_only in (False, True)
    ]
    assert len(set(urls)) == len(urls)
    for url in map(urlsplit, urls):
        assert url.scheme == "postgresql"
        assert url.hostname
        assert url.password is None


def test_clients_that_fail_over_know_every_balancer_the_nearest_first(cluster: Cluster) -> None:
    assert isinstance(cluster, HasWaysElsewhere)
    for region in cluster.topology.region_names:
        hosts = urlsplit(cluster.failover_dsn(region)).netloc.rpartition("@")[2].split(",")
        own = urlsplit(cluster.dsn(region)).netloc.rpartition("@")[2]
        assert hosts[0] == own
        assert len(set(hosts)) == len(cluster.topology.regions)
    with pytest.raises(UnknownTarget, match="us-west-2, us-east-1, eu-west-1"):
        cluster.failover_dsn("nowhere")


def test_dsn_of_an_unknown_region_is_refused_with_the_list(cluster: Cluster) -> None:
    with pytest.raises(UnknownTarget, match="us-west-2, us-east-1, eu-west-1"):
        cluster.dsn("nowhere")


def test_heal_of_a_healthy_cluster_changes_nothing(cluster: Cluster) -> None:
    before = undisturbed(cluster, at_rest(cluster))
    cluster.heal()
    cluster.heal()
    assert undisturbed(cluster, at_rest(cluster)) == before


def test_status_can_be_written_as_json(cluster: Cluster) -> None:
    data: Any = at_rest(cluster).to_json()
    assert data["healthy"] is True
    assert {"from", "to", "delay_ms", "cut"} <= data["links"][0].keys()


def test_a_whole_cluster_lacks_no_range_where_there_are_any(cluster: Cluster) -> None:
    expected = None if cluster.single_primary else 0

    def counted() -> bool:
        nodes = cluster.status().nodes
        return all(
            node.ranges_unavailable == node.ranges_underreplicated == expected for node in nodes
        )

    wait_until(counted, what="an answer of every node", timeout_s=FAILOVER_S)


def test_versions_are_names_and_texts(cluster: Cluster) -> None:
    assert all(name and version for name, version in cluster.versions().items())


# processes


def await_replaced(cluster: Cluster, old: Node, new: Node) -> None:
    """The old leader is in service; where the engine has one primary, as a replica.

    Waited for, because a standby that was well a moment ago may be connecting once more: Patroni
    changes from where it streams when it learns of a new primary.
    """
    roles = (Role.SYNC, Role.REPLICA) if cluster.single_primary else tuple(Role)

    def back() -> bool:
        node = cluster.status().node(old.name)
        return node.healthy and node.role in roles

    wait_until(back, what=f"{old} in service", timeout_s=FAILOVER_S)
    if cluster.single_primary:
        assert cluster.leader() == new


def test_a_killed_leader_is_replaced_and_comes_back(cluster: Cluster) -> None:
    assert isinstance(cluster, CanKill)
    old = cluster.leader()
    cluster.kill(old)
    dead = cluster.status().node(old.name)
    assert (dead.state, dead.healthy) == (State.DOWN, False)
    new = await_other_leader(cluster, old)
    cluster.restart(old)
    at_rest(cluster)
    await_replaced(cluster, old, new)
    cluster.restart(old)  # again: nothing to do
    await_replaced(cluster, old, new)


def test_a_killed_region_is_down_with_all_its_parts_until_heal(cluster: Cluster) -> None:
    assert isinstance(cluster, CanKill)
    old = cluster.leader()
    region = cluster.topology.region(old.region)
    cluster.kill(region)
    status = cluster.status()
    assert {p.state for p in status.parts if p.region == region.name} == {State.DOWN}
    assert await_other_leader(cluster, old).region != region.name
    cluster.heal()
    at_rest(cluster)


def test_a_killed_balancer_takes_no_node_with_it(cluster: Cluster) -> None:
    assert isinstance(cluster, CanKill)
    before, balancer = undisturbed(cluster, at_rest(cluster)), cluster.topology.balancers[-1]
    cluster.kill(balancer)

    def alone() -> bool:
        return [part.name for part in cluster.status().parts if not part.healthy] == [balancer.name]

    wait_until(alone, what="all but the balancer in service", timeout_s=FAILOVER_S)
    assert undisturbed(cluster, cluster.status()) == before
    cluster.restart(balancer)
    at_rest(cluster)


def test_a_stopped_leader_hands_over(cluster: Cluster) -> None:
    assert isinstance(cluster, CanStop)
    old = cluster.leader()
    cluster.shut_down(old)
    assert cluster.status().node(old.name).state is State.DOWN
    await_other_leader(cluster, old)


def test_a_paused_leader_is_alive_but_replaced_and_comes_back(cluster: Cluster) -> None:
    assert isinstance(cluster, CanPause)
    old = cluster.leader()
    cluster.pause(old)
    frozen = cluster.status().node(old.name)
    assert (frozen.state, frozen.healthy) == (State.PAUSED, False)
    new = await_other_leader(cluster, old)
    cluster.resume(old)
    at_rest(cluster)
    await_replaced(cluster, old, new)
    cluster.resume(old)  # again: nothing to do
    at_rest(cluster)


@pytest.mark.parametrize("target", NOWHERE, ids=lambda target: type(target).__name__)
def test_unknown_targets_are_refused_with_the_list(cluster: Cluster, target: Target) -> None:
    assert isinstance(cluster, CanKill)
    assert isinstance(cluster, CanStop)
    assert isinstance(cluster, CanPause)
    actions = (
        cluster.kill,
        cluster.restart,
        cluster.shut_down,
        cluster.pause,
        cluster.resume,
    )
    for action in actions:
        with pytest.raises(UnknownTarget, match="us-west-2"):
            action(target)
    at_rest(cluster)


# links


def test_links_have_the_delay_of_the_topology(cluster: Cluster) -> None:
    topology = cluster.topology
    links = {(link.source, link.target): link for link in cluster.status().links}
    regions = topology.region_names
    assert links.keys() == {(a, b) for a in regions for b in regions if a != b}
    for (a, b), link in links.items():
        assert link.delay_ms == topology.one_way_ms(a, b)
        assert not link.cut


def test_a_changed_link_shows_it_in_one_direction_until_reset(cluster: Cluster) -> None:
    assert isinstance(cluster, HasWan)
    cluster.set_link("us-west-2", "eu-west-1", delay_ms=200, jitter_ms=20)
    cluster.set_link("us-west-2", "eu-west-1", cut=True)
    changed = {(k.source, k.target): k for k in cluster.status().links}["us-west-2", "eu-west-1"]
    assert (changed.delay_ms, changed.jitter_ms, changed.cut) == (200, 20, True)
    assert [link.source for link in cluster.status().links if link.cut] == ["us-west-2"]
    assert not cluster.status().healthy
    cluster.reset_links()
    cluster.reset_links()
    test_links_have_the_delay_of_the_topology(cluster)


def test_a_region_cut_off_loses_the_leader_and_heal_brings_it_back(cluster: Cluster) -> None:
    assert isinstance(cluster, HasWan)
    old = cluster.leader()
    for other in set(cluster.topology.region_names) - {old.region}:
        cluster.set_link(old.region, other, cut=True)
        cluster.set_link(other, old.region, cut=True)

    def elsewhere() -> bool:  # leases may first go to a neighbour that has not noticed yet
        new = leader(cluster)
        return new is not None and new.region != old.region

    wait_until(elsewhere, what="a leader in another region", timeout_s=FAILOVER_S)
    new = cluster.leader()
    wait_until(
        lambda: not cluster.status().node(old.name).healthy,
        what="the old leader out of service",
        timeout_s=FAILOVER_S,
    )
    cluster.heal()
    at_rest(cluster)
    await_replaced(cluster, old, new)


def test_links_of_unknown_regions_or_of_one_region_are_refused(cluster: Cluster) -> None:
    assert isinstance(cluster, HasWan)
    with pytest.raises(UnknownTarget, match="us-west-2"):
        cluster.set_link("nowhere", "us-west-2", cut=True)
    with pytest.raises(BadInput):
        cluster.set_link("us-west-2", "us-west-2", cut=True)


# survival


@pytest.mark.parametrize("goal", [SurvivalGoal.NONE, SurvivalGoal.ZONE, SurvivalGoal.REGION])
def test_roles_fit_the_survival_goal(cluster: Cluster, goal: SurvivalGoal) -> None:
    if goal not in cluster.survival_goals:
        with pytest.raises(TopologyError, match=goal):
            cluster.set_survival_goal(goal)
        return
    cluster.set_survival_goal(goal)
    assert cluster.survival_goal() is goal
    home = cluster.leader().region

    def fits() -> bool:
        status = cluster.status()
        waited_for = {node.region for node in status.nodes if node.role is Role.SYNC}
        expected = {
            SurvivalGoal.NONE: not waited_for,
            SurvivalGoal.ZONE: home in waited_for,
            SurvivalGoal.REGION: bool(waited_for - {home}),
        }
        fitting = expected[goal] or not cluster.single_primary
        return status.survival_goal is goal and status.healthy and fitting

    wait_until(fits, what=f"roles of {goal}", timeout_s=FAILOVER_S)


# maintenance and shape


def test_a_leader_hands_over_to_another_node_and_a_replica_has_nothing_to_hand_over(
    cluster: Cluster,
) -> None:
    if not isinstance(cluster, CanHandOver):
        assert not cluster.single_primary
        return
    old = cluster.leader()
    new = cluster.hand_over(old)
    assert new == cluster.leader() != old
    assert cluster.hand_over(old) == new
    at_rest(cluster)
    with pytest.raises(UnknownTarget, match="us-west-2"):
        cluster.hand_over(Node(region="nowhere", index=1))


def test_a_rolling_restart_leaves_every_node_in_service_and_restarts_the_leader_last(
    cluster: Cluster,
) -> None:
    before = at_rest(cluster)
    first = cluster.leader()
    region = cluster.topology.nodes_of(first.region)
    done = rolling_restart(cluster, region)
    assert {step.node for step in done} == {node.name for node in region}
    after = at_rest(cluster)
    if cluster.single_primary:
        assert done[-1].node == first.name != cluster.leader().name
    for node in cluster.topology.nodes:
        pids = before.node(node.name).pid, after.node(node.name).pid
        assert (pids[0] != pids[1]) == (node in region and pids[0] is not None)


def assert_behind_every_balancer(cluster: Cluster, node: Node, there: bool) -> None:
    """Whether the balancers use a node, as they say themselves.

    Those of the embedded engine: tests/contract/test_scaling.py.
    """
    if not isinstance(cluster, CockroachCluster):
        return
    service = node_service(node)
    known = {node_service(one) for one in cluster.topology.nodes_of(node.region)}
    assert (service in known, service in cluster.machine.states()) == (there, there)
    for region in cluster.topology.region_names:
        statistics = cluster.layout.statistics(region)
        servers, up = monitoring.servers(statistics), monitoring.servers_up(statistics)
        assert servers is not None
        assert up is not None
        assert servers[node.region] == known
        assert (service in up[node.region]) is there


def test_a_node_is_added_serves_behind_its_balancer_and_is_removed_again(cluster: Cluster) -> None:
    if not isinstance(cluster, CanScale):
        pytest.skip("its nodes are what they are")
    before = cluster.topology
    node = cluster.add_node("us-east-1")
    assert node == Node(region="us-east-1", index=4)
    assert cluster.topology.nodes_of("us-east-1")[-1] == node
    assert at_rest(cluster).node(node.name).healthy
    assert_behind_every_balancer(cluster, node, True)
    cluster.remove_node(node)
    assert_behind_every_balancer(cluster, node, False)
    assert cluster.topology == before
    at_rest(cluster)
    assert node.name not in [part.name for part in cluster.status().nodes]


@pytest.mark.long
def test_a_node_of_one_region_can_come_after_one_of_another_has_gone(cluster: Cluster) -> None:
    if not isinstance(cluster, CanScale):
        pytest.skip("its nodes are what they are")
    before = cluster.topology
    for region in ("eu-west-1", "us-east-1"):
        node = cluster.add_node(region)
        assert_behind_every_balancer(cluster, node, True)
        cluster.remove_node(node)
        assert_behind_every_balancer(cluster, node, False)
    assert cluster.topology == before
    at_rest(cluster)


def test_a_leader_that_is_removed_hands_over_and_its_name_is_free_again(cluster: Cluster) -> None:
    if not isinstance(cluster, CanScale):
        pytest.skip("its nodes are what they are")
    before, old = cluster.topology, cluster.leader()
    cluster.remove_node(old)
    assert old not in cluster.topology.nodes
    assert cluster.leader() != old
    at_rest(cluster)
    assert cluster.add_node(old.region) == old
    assert cluster.topology == before
    at_rest(cluster)


def test_nodes_of_nowhere_cannot_be_added_or_removed(cluster: Cluster) -> None:
    if not isinstance(cluster, CanScale):
        pytest.skip("its nodes are what they are")
    with pytest.raises(UnknownTarget, match="us-west-2"):
        cluster.add_node("nowhere")
    with pytest.raises(UnknownTarget, match="us-west-2"):
        cluster.remove_node(Node(region="nowhere", index=1))


# stopped


def test_a_stopped_cluster_is_all_down_and_has_no_leader_until_started(cluster: Cluster) -> None:
    cluster.stop()
    cluster.stop()
    status = cluster.status()
    assert {part.state for part in status.parts} == {State.DOWN}
    assert not status.healthy
    with pytest.raises(NotReady):
        cluster.leader()
    with pytest.raises(NotRunning, match="labkit up"):
        cluster.heal()
    if isinstance(cluster, CanScale):
        with pytest.raises(NotRunning, match="labkit up"):
            cluster.add_node("us-west-2")
        with pytest.raises(NotRunning, match="labkit up"):
            cluster.remove_node(cluster.topology.nodes[-1])
    cluster.start()
    at_rest(cluster)
    assert cluster.leader() in cluster.topology.nodes
