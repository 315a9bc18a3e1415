"""What CockroachDB's nodes, its metrics and its leases say, as labkit sees it."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import pytest

from labkit.cluster import haproxy
from labkit.cluster.engines.cockroachdb import database, monitoring, program
from labkit.cluster.engines.cockroachdb.database import Leases
from labkit.cluster.engines.cockroachdb.monitoring import Ready
from labkit.cluster.engines.cockroachdb.status import Seen
from labkit.cluster.engines.cockroachdb.view import View, Watch
from labkit.cluster.status import NodeStatus, Role, State
from labkit.errors import ClusterError
from labkit.topology import DEFAULT, Node, SurvivalGoal

WEST, EAST, EU = (DEFAULT.nodes_of(region)[0] for region in DEFAULT.region_names)


METRICS = """\
# HELP replicas_leaseholders Number of lease holders
# TYPE replicas_leaseholders gauge
replicas_leaseholders{store="1",node_id="1"} 21
replicas_leaseholders{store="2",node_id="1"} 2
liveness_livenodes{node_id="1"} 9
ranges_unavailable 0
sql_service_latency_bucket{le="1e+06"} 1.5e+3
"""


def test_metrics_of_all_stores_are_added_up() -> None:
    found = monitoring.parse_metrics(METRICS)
    assert found["replicas_leaseholders"] == 23
    assert found["liveness_livenodes"] == 9
    assert found["ranges_unavailable"] == 0
    assert found["sql_service_latency_bucket"] == 1500


def test_a_node_tells_what_its_data_lacks() -> None:
    node = NodeStatus("a/1", "a", Role.PRIMARY, State.RUNNING, healthy=True, pid=None)
    assert node.behind == ""
    short = replace(node, ranges_unavailable=2, ranges_underreplicated=1200)
    assert short.behind == "2 ranges unavailable, 1,200 ranges short of replicas"
    assert replace(node, lag_bytes=1024).behind == "1,024 bytes not yet replayed"


def test_servers_that_are_up_are_named_by_backend() -> None:
    text = (
        "# pxname,svname,status\nsql,FRONTEND,OPEN\nus-west-2,a,UP\nus-west-2,b,DOWN\n"
        "us-west-2,BACKEND,UP\neu-west-1,c,MAINT (resolution)\neu-west-1,BACKEND,DOWN\n"
        "statistics,BACKEND,UP\n"
    )
    assert haproxy.servers_up(text) == {"us-west-2": ["a"], "eu-west-1": []}


def ranges(*rows: tuple[Node, int]) -> Leases:
    return database.parse_leases(
        [
            {
                "lease_holder_locality": program.locality(node),
                "voting_replicas": list(range(voters)),
            }
            for node, voters in rows
        ],
        DEFAULT,
    )


def test_leases_are_counted_by_the_node_whose_locality_holds_them() -> None:
    found = ranges((WEST, 5), (WEST, 5), (EU, 5))
    assert found.held == {WEST: 2, EU: 1}
    assert found.most() == WEST
    assert found.most(EU.region) == EU
    assert found.most(EAST.region) is None


@pytest.mark.parametrize(
    ("goal", "voters", "obeyed"),
    [
        (SurvivalGoal.REGION, 3, False),
        (SurvivalGoal.REGION, 5, True),
        (SurvivalGoal.ZONE, 5, False),
        (SurvivalGoal.ZONE, 3, True),
    ],
)
def test_a_goal_is_obeyed_when_all_voters_are_moved(
    goal: SurvivalGoal, voters: int, obeyed: bool
) -> None:
    right = 5 if goal is SurvivalGoal.REGION else 3
    assert database.obeys(ranges((WEST, right), (EU, voters)), goal, DEFAULT) is obeyed


def seen(leases: Leases, *ready: Node) -> Seen:
    return Seen({}, {node: Ready(True) for node in ready}, View(leases, None))


def test_the_leader_is_of_the_region_else_of_the_home_region_else_of_any() -> None:
    held = Leases({WEST: 2, EAST: 5})
    home = WEST.region
    assert seen(held, WEST, EAST, EU).leader(None, home) == WEST
    assert seen(held, WEST, EAST, EU).leader(EAST.region, home) == EAST
    assert seen(held, WEST, EAST, EU).leader(EU.region, home) == WEST
    assert seen(held, EAST, EU).leader(None, home) == EAST
    assert seen(held, EU).leader(None, home) is None


def test_before_there_are_tables_a_ready_node_counts_as_leader() -> None:
    assert seen(Leases({}), WEST, EAST).leader(None, WEST.region) == WEST
    assert seen(Leases({})).leader(None, WEST.region) is None


def test_leases_are_asked_for_once_until_the_ready_nodes_change() -> None:
    asked: list[Node] = []

    def ask(node: Node) -> View:
        asked.append(node)
        return View(Leases({node: 1}), SurvivalGoal.REGION)

    watch = Watch(ask)
    both, one = frozenset((WEST, EU)), frozenset((EU,))
    assert watch.look(both, WEST) == watch.look(both, WEST)
    assert asked == [WEST]
    after = watch.look(one, EU)
    assert after is not None
    assert after.leases.held == {EU: 1}
    assert asked == [WEST, EU]
    watch.forget()
    watch.look(one, EU)
    assert asked == [WEST, EU, EU]
    assert watch.look(frozenset(), None) is None


def test_an_older_view_is_shown_while_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labkit.cluster.engines.cockroachdb.view.PATIENCE_S", 0.01)
    released = Event()

    def ask(node: Node) -> View:
        if node is EU:
            released.wait(30)
        return View(Leases({node: 1}), None)

    watch = Watch(ask)
    first = watch.look(frozenset((WEST, EU)), WEST)
    assert first is not None
    assert watch.look(frozenset((EU,)), EU) == first
    released.set()


def test_a_database_that_refuses_has_no_view() -> None:
    def ask(node: Node) -> View:
        raise ClusterError("no")

    assert Watch(ask).look(frozenset((WEST,)), WEST) is None
