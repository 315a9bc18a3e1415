from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from labkit.clock import wait_until
from labkit.cluster.status import State
from labkit.errors import UnknownTarget
from labkit.faults.inject import heal_target
from labkit.faults.parse import FAULTS
from labkit.testing import FakeCluster
from labkit.topology import DEFAULT, Topology
from labkit.ui import map_view
from labkit.ui.cluster_map import ClusterMap
from labkit.ui.fault_runner import KEPT_ENTRIES, KINDS, FaultRunner, reasons


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.start()
    return cluster


@pytest.fixture
def shown(cluster: FakeCluster) -> Iterator[ClusterMap]:
    shown = ClusterMap(cluster)
    wait_until(lambda: shown.view.get("regions"), what="first look", timeout_s=10)
    yield shown
    shown.close()


def ring(count: int) -> Topology:
    names = [f"region-{i}" for i in range(1, count + 1)]
    return Topology.model_validate(
        {
            "region": [{"name": name} for name in names],
            "link": [{"between": pair, "rtt_ms": 50} for pair in combinations(names, 2)],
            "survive": "none",
        }
    )


@pytest.mark.parametrize("count", range(1, 10))
def test_every_region_and_link_is_inside_the_map_and_regions_stay_apart(count: int) -> None:
    laid: Any = map_view.geometry(ring(count))
    boxes = [(*region["at"], *region["size"]) for region in laid["regions"]]
    for x, y, width, height in boxes:
        assert -0.1 <= x <= x + width <= 100.1
        assert -0.1 <= y <= y + height <= 100.1
    for (x0, y0, w0, h0), (x1, y1, w1, h1) in combinations(boxes, 2):
        assert x0 + w0 < x1 or x1 + w1 < x0 or y0 + h0 < y1 or y1 + h1 < y0
    assert len(laid["links"]) == count * (count - 1) // 2
    for link in laid["links"]:
        assert all(-0.1 <= at <= 100.1 for at in link["label"])


def node(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(n for region in view["regions"] for n in region["nodes"] if n["name"] == name)


def test_the_map_tells_role_and_health_of_each_node(cluster: FakeCluster) -> None:
    cluster.pause(cluster.topology.node("eu-west-1/2"))
    view = map_view.now(cluster.status(), DEFAULT)
    assert node(view, "us-west-2/1")["word"] == "primary"
    assert node(view, "eu-west-1/2")["word"] == "paused"
    assert not node(view, "eu-west-1/2")["healthy"]
    assert view["summary"] == "8 of 9 nodes running"
    assert "out of service" in node(view, "eu-west-1/2")["detail"]


def test_links_are_open_slow_or_cut(cluster: FakeCluster) -> None:
    cluster.set_link("us-west-2", "us-east-1", cut=True)
    cluster.set_link("us-east-1", "eu-west-1", delay_ms=132)
    view: Any = map_view.now(cluster.status(), DEFAULT)
    assert {link["name"]: link["state"] for link in view["links"]} == {
        "us-west-2:us-east-1": "cut",
        "us-west-2:eu-west-1": "open",
        "us-east-1:eu-west-1": "slow",
    }


def test_a_button_injects_and_the_log_has_the_receipt(
    cluster: FakeCluster, shown: ClusterMap
) -> None:
    shown.do_inject({"kind": "kill", "target": "us-east-1/2"})
    wait_until(lambda: shown.view["log"][0]["state"] != "working", what="kill", timeout_s=10)
    entry = shown.view["log"][0]
    assert (entry["action"], entry["target"], entry["state"]) == ("kill", "us-east-1/2", "effect")
    assert "down" in entry["detail"]
    wait_until(
        lambda: node(shown.view, "us-east-1/2")["word"] == "down", what="the map", timeout_s=10
    )
    shown.do_heal({"target": "everything"})
    wait_until(lambda: shown.view["healthy"], what="the map after healing", timeout_s=10)


def test_a_fault_that_holds_already_is_refused_with_the_reason(cluster: FakeCluster) -> None:
    runner = FaultRunner(cluster, lambda: None)
    runner.inject("kill", "us-east-1/2").join(10)
    runner.inject("kill", "us-east-1/2").join(10)
    newest, first = runner.entries
    assert (first.state, newest.state) == ("effect", "refused")
    assert "holds already" in newest.detail


def test_a_target_that_does_not_exist_is_refused(cluster: FakeCluster) -> None:
    runner = FaultRunner(cluster, lambda: None)
    runner.inject("kill", "mars").join(10)
    assert runner.entries[0].state == "refused"
    with pytest.raises(UnknownTarget):
        heal_target(cluster, "mars")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("kill", "us-east-1/2"),
        ("pause", "lb:us-east-1"),
        ("stop", "us-east-1"),
        ("partition", "us-east-1"),
        ("slow", "us-east-1"),
        ("partition", "us-west-2:us-east-1"),
        ("slow", "us-west-2:eu-west-1"),
    ],
)
def test_healing_a_target_undoes_what_was_done_to_it(
    cluster: FakeCluster, kind: str, target: str
) -> None:
    before = cluster.status()
    runner = FaultRunner(cluster, lambda: None)
    runner.inject(kind, target).join(10)
    assert runner.entries[0].state == "effect", runner.entries[0]
    assert cluster.status() != before
    runner.heal(target).join(20)
    assert runner.entries[0].state == "healed", runner.entries[0]
    after = cluster.status()
    assert after.healthy
    assert after.links == before.links
    assert all(part.state is State.RUNNING for part in after.nodes)


def test_healing_one_link_leaves_the_others(cluster: FakeCluster) -> None:
    cluster.set_link("us-west-2", "us-east-1", cut=True)
    cluster.set_link("us-west-2", "eu-west-1", delay_ms=500)
    heal_target(cluster, "us-west-2:us-east-1")
    links = {(link.source, link.target): link for link in cluster.status().links}
    assert not links["us-west-2", "us-east-1"].cut
    assert links["us-west-2", "eu-west-1"].delay_ms == 500


def test_without_a_wan_the_buttons_of_links_say_why_not() -> None:
    cluster = FakeCluster(wan=False)
    cluster.start()
    assert set(reasons(cluster)) == {"disaster", "partition", "slow"}
    assert "has no WAN" in reasons(cluster)["slow"]
    assert reasons(FakeCluster()) == {}


def test_every_button_is_a_fault_that_exists() -> None:
    assert {name for names in KINDS.values() for name in names} <= set(FAULTS)


def test_the_log_keeps_the_newest(cluster: FakeCluster) -> None:
    runner = FaultRunner(cluster, lambda: None)
    for _ in range(KEPT_ENTRIES + 5):
        runner.heal("us-east-1/2").join(10)
    assert len(runner.entries) == KEPT_ENTRIES
    assert runner.entries[0].number == KEPT_ENTRIES + 5


def test_what_a_page_makes_up_changes_nothing(cluster: FakeCluster, shown: ClusterMap) -> None:
    calls = list(cluster.calls)
    for content in ({"do": "inject"}, {"do": "stop"}, {"do": "inject", "kind": "slow",
                    "target": "us-east-1", "delay_ms": "much"}, {}):  # fmt: skip
        shown._on_message(shown, content, [])
    assert cluster.calls == calls
