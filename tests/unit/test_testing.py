"""The fake cluster's own rules; what it shares with every backend is in tests/contract."""

from __future__ import annotations

import psycopg
import pytest

from labkit.cluster.base import (
    CanHandOver,
    CanKill,
    CanPause,
    CanScale,
    CanStop,
    Cluster,
    HasWan,
)
from labkit.cluster.status import Role
from labkit.errors import FaultUnavailable, LabBusy, NotReady, TopologyError
from labkit.testing import Call, FakeCluster
from labkit.topology import Node, SurvivalGoal, Topology


def started(**options: object) -> FakeCluster:
    cluster = FakeCluster(**options)  # type: ignore[arg-type]
    cluster.start()
    return cluster


def cut_off(cluster: FakeCluster, region: str) -> None:
    for other in set(cluster.topology.region_names) - {region}:
        cluster.set_link(region, other, cut=True)


def test_it_has_every_capability() -> None:
    cluster: Cluster = FakeCluster()
    for capability in (
        CanKill,
        CanStop,
        CanPause,
        CanHandOver,
        CanScale,
        HasWan,
    ):
        assert isinstance(cluster, capability)


def test_what_is_done_to_it_is_recorded_and_questions_are_not() -> None:
    cluster = started()
    cluster.status()
    cluster.kill(cluster.leader())
    cluster.set_link("us-west-2", "us-east-1", cut=True)
    assert cluster.calls == [
        Call("start"),
        Call("kill", "us-west-2/1"),
        Call("set_link", "us-west-2>us-east-1"),
    ]
    assert str(cluster.calls[1]) == "kill us-west-2/1"


def test_an_election_ends_at_once_by_default() -> None:
    cluster = started()
    cluster.kill(cluster.leader())
    assert cluster.leader() == Node(region="us-west-2", index=2)


def test_an_election_takes_its_time_on_the_given_clock() -> None:
    now_s = 0.0
    cluster = started(election_s=5.0, clock=lambda: now_s)
    cluster.kill(cluster.leader())
    now_s = 4.9
    with pytest.raises(NotReady):
        cluster.leader()
    assert not any(node.healthy for node in cluster.status().nodes)
    now_s = 5.0
    assert cluster.leader() == Node(region="us-west-2", index=2)
    assert cluster.status().node("us-west-2/2").role is Role.PRIMARY


def test_a_primary_that_is_back_before_the_election_ends_stays_primary() -> None:
    now_s = 0.0
    cluster = started(election_s=5.0, clock=lambda: now_s)
    old = cluster.leader()
    cluster.pause(old)
    now_s = 4.0
    cluster.resume(old)
    now_s = 9.0
    assert cluster.leader() == old


def test_a_primary_that_is_back_after_the_election_ended_finds_another_though_nobody_looked() -> (
    None
):
    now_s = 0.0
    cluster = started(election_s=5.0, clock=lambda: now_s)
    cluster.kill(cluster.leader())
    now_s = 6.0
    cluster.heal()
    assert cluster.leader() == Node(region="us-west-2", index=2)


def test_a_primary_that_is_stopped_in_order_hands_over_without_an_election() -> None:
    cluster = started(election_s=1e9)
    cluster.shut_down(cluster.leader())
    assert cluster.leader() == Node(region="us-west-2", index=2)


def test_one_direction_cut_is_enough_to_lose_the_majority() -> None:
    cluster = started()
    cut_off(cluster, "us-west-2")
    assert cluster.leader().region == "us-east-1"


def test_one_link_cut_leaves_the_majority_over_the_third_region() -> None:
    cluster = started()
    cluster.set_link("us-west-2", "us-east-1", cut=True)
    assert cluster.leader().region == "us-west-2"
    unwell = {node.region for node in cluster.status().nodes if not node.healthy}
    assert unwell == {"us-east-1"}


def test_without_a_majority_there_is_no_primary_until_one_is_back() -> None:
    cluster = started()
    for region in cluster.topology.regions[:2]:
        cluster.kill(region)
    with pytest.raises(NotReady):
        cluster.leader()
    cluster.restart(cluster.topology.regions[1])
    assert cluster.leader().region == "us-east-1"


@pytest.mark.parametrize(
    ("goal", "takes_over"),
    [(SurvivalGoal.REGION, True), (SurvivalGoal.NONE, True), (SurvivalGoal.ZONE, False)],
)
def test_only_zone_survival_does_not_survive_the_loss_of_the_region(
    goal: SurvivalGoal, takes_over: bool
) -> None:
    cluster = started()
    cluster.set_survival_goal(goal)
    lost = cluster.topology.region("us-west-2")
    cluster.kill(lost)
    assert any(node.role is Role.PRIMARY for node in cluster.status().nodes) is takes_over
    cluster.restart(lost)
    assert cluster.status().healthy


def test_zone_survival_survives_the_loss_of_the_node() -> None:
    cluster = started()
    cluster.set_survival_goal(SurvivalGoal.ZONE)
    cluster.kill(cluster.leader())
    assert cluster.leader() == Node(region="us-west-2", index=2)


def test_a_goal_that_the_shape_cannot_give_is_refused_and_the_old_one_stays() -> None:
    shape = Topology.model_validate(
        {
            "region": [{"name": "west"}, {"name": "east"}],
            "link": [{"between": ["west", "east"], "rtt_ms": 60}],
            "survive": "zone",
        }
    )
    cluster = started(topology=shape)
    with pytest.raises(TopologyError, match="at least 3 regions"):
        cluster.set_survival_goal(SurvivalGoal.REGION)
    assert cluster.survival_goal() is SurvivalGoal.ZONE


def test_without_a_wan_there_are_no_links() -> None:
    cluster = started(wan=False)
    assert cluster.status().links == ()
    with pytest.raises(FaultUnavailable, match="--wan on"):
        cluster.set_link("us-west-2", "us-east-1", cut=True)
    with pytest.raises(FaultUnavailable, match="--wan on"):
        cluster.reset_links()


def test_a_started_cluster_is_not_purged() -> None:
    cluster = started()
    with pytest.raises(LabBusy, match="labkit down"):
        cluster.purge()
    cluster.stop()
    cluster.purge()
    cluster.start()
    assert cluster.leader() == cluster.topology.nodes[0]


def test_a_connection_to_its_url_is_refused() -> None:
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(FakeCluster().dsn("eu-west-1"), connect_timeout=5)
