from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import plotly.graph_objects as go
import pytest

from labkit.cluster.status import ClusterStatus
from labkit.report.figures.map import cluster_map, place
from labkit.report.figures.theme import STATUS_COLORS, region_color
from labkit.testing import FakeCluster
from labkit.topology import DEFAULT, SurvivalGoal, Topology


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.start()
    return cluster


def draw(cluster: FakeCluster) -> go.Figure:
    return cluster_map(cluster.status(), cluster.topology)


def texts_by_mark(figure: go.Figure) -> dict[str, list[str]]:
    """What the legend explains, and what stands under each of its marks."""
    return {t.name: list(t.text or ()) for t in figure.data if t.name}


def link_texts(figure: go.Figure) -> dict[str, str]:
    hovers = [t.hovertext[0] for t in figure.data if not t.name and t.hovertext]
    return dict(hover.split(": ") for hover in hovers)


def regions(count: int, nodes: int = 3) -> Topology:
    names = [f"region-{i}" for i in range(1, count + 1)]
    return Topology.model_validate(
        {
            "region": [{"name": name, "nodes": nodes} for name in names],
            "link": [{"between": pair, "rtt_ms": 50} for pair in combinations(names, 2)],
            "survive": "none",
        }
    )


def test_every_node_stands_under_its_role(cluster: FakeCluster) -> None:
    marks = texts_by_mark(draw(cluster))
    assert marks["primary"] == ["1 primary"]
    assert sorted(marks["sync"]) == sorted(
        ["2 sync", "3 sync", *["1 sync", "2 sync", "3 sync"] * 2]
    )
    assert sorted(marks["load balancer, coordinator"]) == ["etcd"] * 3 + ["lb"] * 3


def test_what_is_down_or_paused_is_told_by_word_and_shape(cluster: FakeCluster) -> None:
    cluster.kill(cluster.topology.node("eu-west-1/3"))
    cluster.kill(cluster.topology.balancers[0])
    cluster.pause(cluster.topology.node("us-east-1/2"))
    figure = draw(cluster)
    marks = texts_by_mark(figure)
    assert sorted(marks["down"]) == ["3 down", "lb"]
    assert marks["paused"] == ["2 paused"]
    symbols = [trace.marker.symbol for trace in figure.data if trace.name]
    assert len(symbols) == len(set(symbols))


def test_a_node_that_runs_but_does_not_serve_is_ringed(cluster: FakeCluster) -> None:
    assert "runs, but not in service" not in texts_by_mark(draw(cluster))
    status = cluster.status()
    lost = replace(status.nodes[4], healthy=False, detail="it does not stream")
    figure = cluster_map(
        replace(status, nodes=(*status.nodes[:4], lost, *status.nodes[5:])), cluster.topology
    )
    ring = next(trace for trace in figure.data if trace.name == "runs, but not in service")
    assert len(ring.x) == 1
    hovers = [hover for trace in figure.data for hover in trace.hovertext or ()]
    assert any("us-east-1/2" in hover and "it does not stream" in hover for hover in hovers)


def test_links_show_the_round_trip_time_in_force(cluster: FakeCluster) -> None:
    assert link_texts(draw(cluster)) == {
        "us-west-2 to us-east-1": "66 ms",
        "us-west-2 to eu-west-1": "146 ms",
        "us-east-1 to eu-west-1": "64 ms",
    }
    cluster.set_link("us-west-2", "us-east-1", delay_ms=233, jitter_ms=5)
    assert link_texts(draw(cluster))["us-west-2 to us-east-1"] == "266 ± 5 ms (66)"


def test_a_cut_link_is_broken_and_says_which_way(cluster: FakeCluster) -> None:
    cluster.set_link("us-west-2", "us-east-1", cut=True)
    figure = draw(cluster)
    assert link_texts(figure)["us-west-2 to us-east-1"] == "✕ us-west-2 → us-east-1 cut"
    broken = [trace for trace in figure.data if trace.mode == "lines" and None in trace.x]
    assert [trace.line.color for trace in broken] == [STATUS_COLORS["bad"]]
    cluster.set_link("us-east-1", "us-west-2", cut=True)
    assert link_texts(draw(cluster))["us-west-2 to us-east-1"] == "✕ cut"


def test_without_a_wan_no_distance_is_shown() -> None:
    cluster = FakeCluster(wan=False)
    cluster.start()
    figure = draw(cluster)
    assert link_texts(figure) == {}
    assert figure.layout.title.subtitle.text.endswith("WAN off")


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        (SurvivalGoal.REGION, "REGION: a commit waits for a second region"),
        (SurvivalGoal.ZONE, "ZONE: a commit waits for a second node"),
        (SurvivalGoal.NONE, "NONE"),
        (None, "unknown"),
    ],
)
def test_the_title_tells_the_survival_goal(
    cluster: FakeCluster, goal: SurvivalGoal | None, words: str
) -> None:
    status: ClusterStatus = replace(cluster.status(), survival_goal=goal)
    assert words in cluster_map(status, DEFAULT).layout.title.text


def test_the_subtitle_tells_how_many_nodes_run(cluster: FakeCluster) -> None:
    assert "9 of 9 nodes running, all in service" in draw(cluster).layout.title.subtitle.text
    cluster.kill(cluster.topology.node("eu-west-1/3"))
    assert "8 of 9 nodes running, not all" in draw(cluster).layout.title.subtitle.text


def test_a_region_has_the_colour_it_has_everywhere(cluster: FakeCluster) -> None:
    frames = [shape.line.color for shape in draw(cluster).layout.shapes]
    names = cluster.topology.region_names
    assert frames == [region_color(names, name) for name in names]


@pytest.mark.parametrize("nodes", [1, 3, 9])
@pytest.mark.parametrize("count", range(1, 10))
def test_regions_never_overlap_and_their_nodes_stay_inside(count: int, nodes: int) -> None:
    boxes = place([nodes] * count)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    cluster = FakeCluster(regions(count, nodes))
    cluster.start()
    drawn = [(x, y) for t in draw(cluster).data if t.name for x, y in zip(t.x, t.y, strict=True)]
    assert len(drawn) == count * (nodes + 2)
    for x, y in drawn:
        assert any(abs(x - b.x) < b.width / 2 and abs(y - b.y) < b.height / 2 for b in boxes)


def test_the_first_region_stands_at_the_upper_left() -> None:
    first, second, third = place([3, 3, 3])
    assert first.x < third.x < second.x
    assert first.y > third.y
