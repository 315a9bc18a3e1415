"""The cluster as a map: regions, nodes and what they do, balancers, and the links between regions.

Roles and states differ in colour, shape and word. A link shows the round-trip time in force now;
one that is cut is broken in the middle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from math import ceil, cos, pi, sin
from typing import Any, NamedTuple

import plotly.graph_objects as go

from labkit.cluster.status import ClusterStatus, LinkStatus, NodeStatus, Role, ServiceStatus, State
from labkit.report.figures.theme import (
    LEASEHOLDER,
    ROLE_MARKS,
    SIZE_PX,
    STATE_MARKS,
    STATUS_COLORS,
    TEMPLATE,
    Mark,
    node_mark,
    region_color,
)
from labkit.topology import SurvivalGoal, Topology

GOALS = {
    SurvivalGoal.NONE: "Survival goal NONE: a commit waits for no second node",
    SurvivalGoal.ZONE: "Survival goal ZONE: a commit waits for a second node in its region",
    SurvivalGoal.REGION: "Survival goal REGION: a commit waits for a second region",
    None: "Survival goal unknown",
}

_SERVICE = Mark(STATUS_COLORS["neutral"], "hexagon2", "⬡", "load balancer, coordinator")
_NODES_A_ROW = 3
_ROW_HEIGHT = 0.95
_GAP = 1.2
_WIDTH_PX = 960
"""What a notebook gives a figure; the map is laid out for it, and stretches with the page."""
_ROOMY_PX = 70
"""With less than this between two nodes, only what is out of the ordinary has a text."""


class Box(NamedTuple):
    """The centre and size of a region on the map, in distances between two nodes."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Tell whether they touch or stand closer than a link's label needs."""
        return (
            abs(self.x - other.x) < (self.width + other.width) / 2 + _GAP
            and abs(self.y - other.y) < (self.height + other.height) / 2 + _GAP
        )

    def edge_towards(self, other: Box) -> tuple[float, float]:
        """Tell where a line from its centre to the other's leaves it."""
        dx, dy = other.x - self.x, other.y - self.y
        reach = min(
            self.width / 2 / abs(dx) if dx else float("inf"),
            self.height / 2 / abs(dy) if dy else float("inf"),
        )
        return self.x + dx * reach, self.y + dy * reach


def place(node_counts: Sequence[int]) -> list[Box]:
    """Put regions on the smallest flat ring, the first at the upper left, so that none overlap."""
    sizes = [
        (_NODES_A_ROW + 0.2, 0.95 + _ROW_HEIGHT * ceil(count / _NODES_A_ROW))
        for count in node_counts
    ]
    count = len(sizes)
    radius = 0.0
    while True:
        angles = [pi / 2 + pi / count - i * 2 * pi / count for i in range(count)]
        boxes = [
            Box(1.5 * radius * cos(angle), radius * sin(angle), *size)
            for angle, size in zip(angles, sizes, strict=True)
        ]
        if not any(a.overlaps(b) for a, b in combinations(boxes, 2)):
            return boxes
        radius += 0.1


def cluster_map(status: ClusterStatus, topology: Topology) -> go.Figure:
    """Draw what a cluster looks like now.

    Args:
        status: what `Cluster.status()` told.
        topology: the cluster's shape, with the round-trip times it is meant to have.
    """
    names = topology.region_names
    boxes = dict(zip(names, place([region.nodes for region in topology.regions]), strict=True))
    left, right, bottom, top = _frame(boxes.values())
    unit_px = min(110.0, _WIDTH_PX / (right - left))
    roomy = unit_px >= _ROOMY_PX
    parts = [part for name, box in boxes.items() for part in _parts(status, name, box, roomy)]
    return go.Figure(
        data=[
            *_links(status, topology, boxes, roomy),
            *_markers(parts, size_px=max(7, unit_px / 5)),
        ],
        layout={
            "template": TEMPLATE,
            "title": {
                "text": GOALS[status.survival_goal],
                "subtitle": {"text": _subtitle(status), "font": {"size": SIZE_PX["text"]}},
            },
            "height": (top - bottom) * unit_px + 190,
            "margin": {"l": 16, "r": 16, "t": 100, "b": 90},
            "hovermode": "closest",
            "legend": {"y": -0.01, "yanchor": "top"},
            "xaxis": {"visible": False, "range": [left, right]},
            "yaxis": {"visible": False, "scaleanchor": "x", "range": [bottom, top]},
            "shapes": [_region_shape(names, name, box) for name, box in boxes.items()],
            "annotations": [_region_name(names, name, box, roomy) for name, box in boxes.items()],
        },
    )


def _frame(boxes: Collection[Box]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of all boxes, with room for the names above them."""
    return (
        min(box.x - box.width / 2 for box in boxes) - 0.1,
        max(box.x + box.width / 2 for box in boxes) + 0.1,
        min(box.y - box.height / 2 for box in boxes) - 0.1,
        max(box.y + box.height / 2 for box in boxes) + 0.5,
    )


def _subtitle(status: ClusterStatus) -> str:
    running = sum(node.state is State.RUNNING for node in status.nodes)
    health = "all in service" if status.healthy else "not all in service"
    wan = "" if status.wan else ", WAN off"
    return f"{status.backend}: {running} of {len(status.nodes)} nodes running, {health}{wan}"


def _region_shape(names: Sequence[str], name: str, box: Box) -> dict[str, Any]:
    color = region_color(names, name)
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "rect",
        "x0": box.x - box.width / 2,
        "x1": box.x + box.width / 2,
        "y0": box.y - box.height / 2,
        "y1": box.y + box.height / 2,
        "layer": "below",
        "line": {"color": color, "width": 2.5},
        "fillcolor": f"rgba({red}, {green}, {blue}, 0.07)",
    }


def _region_name(names: Sequence[str], name: str, box: Box, roomy: bool) -> dict[str, Any]:
    """In its box, where no link runs through it; above a box that is too small."""
    inset = 0.1 if roomy else 0
    return {
        "text": f"<b>{name}</b>",
        "x": box.x - box.width / 2 + inset,
        "y": box.y + box.height / 2 - inset,
        "xanchor": "left",
        "yanchor": "top" if roomy else "bottom",
        "showarrow": False,
        "font": {"color": region_color(names, name), "size": SIZE_PX["text"]},
    }


class _Part(NamedTuple):
    """A node or a service, ready to be drawn."""

    x: float
    y: float
    mark: Mark
    text: str
    hover: str
    astray: bool


def _parts(status: ClusterStatus, region: str, box: Box, roomy: bool) -> Iterator[_Part]:
    """Place the services of a region along the top of its box, its nodes in rows below."""
    right, top = box.x + box.width / 2, box.y + box.height / 2
    services = [s for s in (*status.coordinators, *status.balancers) if s.region == region]
    for i, service in enumerate(services):
        mark = STATE_MARKS.get(service.state, _SERVICE)
        kind = service.name.split(":")[0]
        text = kind if roomy or mark is not _SERVICE else ""
        yield _part(service, right - 0.4 - 0.65 * i, top - 0.35, mark, text)
    nodes = [node for node in status.nodes if node.region == region]
    across = min(len(nodes), _NODES_A_ROW)
    for i, node in enumerate(nodes):
        row, column = divmod(i, _NODES_A_ROW)
        mark = node_mark(node)
        number = node.name.split("/")[-1]
        plain = mark in (ROLE_MARKS[Role.SYNC], ROLE_MARKS[Role.REPLICA])
        text = f"{number} {mark.word}" if roomy else "" if plain else mark.word
        x, y = box.x + column - (across - 1) / 2, top - 1.2 - _ROW_HEIGHT * row
        yield _part(node, x, y, mark, text)


def _part(status: NodeStatus | ServiceStatus, x: float, y: float, mark: Mark, text: str) -> _Part:
    told = [status.name, mark.word, status.detail]
    if isinstance(status, NodeStatus):
        told.append(status.behind)
        if status.leases is not None:
            told.append(leases_text(status.leases))
    hover = "<br>".join(line for line in dict.fromkeys(told) if line)
    astray = status.state is State.RUNNING and not status.healthy
    return _Part(x, y, mark, text, hover, astray)


def leases_text(count: int) -> str:
    """Tell how many ranges a node leads, in words."""
    return "leads 1 range" if count == 1 else f"leads {count} ranges"


def _markers(parts: Sequence[_Part], size_px: float) -> Iterator[go.Scatter]:
    """Draw one trace for each mark that occurs, so that the legend explains it."""
    for mark in (*ROLE_MARKS.values(), LEASEHOLDER, *STATE_MARKS.values(), _SERVICE):
        these = [part for part in parts if part.mark == mark]
        if these:
            yield go.Scatter(
                name=mark.word,
                x=[part.x for part in these],
                y=[part.y for part in these],
                mode="markers+text",
                marker={
                    "symbol": mark.symbol,
                    "color": mark.color,
                    "size": size_px,
                    "line": {"width": 3 if mark.symbol.endswith("-open") else 0},
                },
                text=[part.text for part in these],
                textposition="bottom center",
                textfont={"size": SIZE_PX["small"]},
                hovertext=[part.hover for part in these],
                hoverinfo="text",
            )
    astray = [part for part in parts if part.astray]
    if astray:
        yield go.Scatter(
            name="runs, but not in service",
            x=[part.x for part in astray],
            y=[part.y for part in astray],
            mode="markers",
            marker={
                "symbol": "circle-open",
                "color": STATUS_COLORS["bad"],
                "size": 1.5 * size_px,
                "line": {"width": 3},
            },
            hoverinfo="skip",
        )


def _links(
    status: ClusterStatus, topology: Topology, boxes: Mapping[str, Box], roomy: bool
) -> Iterator[go.Scatter]:
    """Draw a line and a label for each pair of regions; without a WAN there is no distance."""
    ways = {(link.source, link.target): link for link in status.links}
    names = list(boxes)
    for a, b in combinations(names, 2):
        pair = [ways[way] for way in ((a, b), (b, a)) if way in ways]
        cut = [link for link in pair if link.cut]
        (x0, y0), (x1, y1) = boxes[a].edge_towards(boxes[b]), boxes[b].edge_towards(boxes[a])
        neighbours = names.index(b) - names.index(a) in (1, len(names) - 1)
        stops = (0, 0.4, None, 0.6, 1) if cut else (0, 1)
        color = STATUS_COLORS["bad" if cut else "neutral"]
        yield go.Scatter(
            x=[None if t is None else x0 + t * (x1 - x0) for t in stops],
            y=[None if t is None else y0 + t * (y1 - y0) for t in stops],
            mode="lines",
            line={"color": color, "width": 2, "dash": "dot" if cut else "solid"},
            opacity=1 if roomy or neighbours or cut else 0.35,
            showlegend=False,
            hoverinfo="skip",
        )
        if not pair:
            continue
        meant_ms = topology.rtt_ms(a, b)
        changed = cut or any(abs(2 * link.delay_ms - meant_ms) >= 1 for link in pair)
        flat = abs(x1 - x0) > 3 * abs(y1 - y0)
        text = link_text(pair, meant_ms)
        yield go.Scatter(
            # links that cross the ring meet inside it: label them near one end
            x=[x0 + (0.5 if neighbours else 0.15) * (x1 - x0)],
            y=[y0 + (0.5 if neighbours else 0.15) * (y1 - y0)],
            mode="text" if changed or neighbours or roomy else "none",
            text=[f"<b>{text}</b>" if flat else f"<b>&nbsp; {text}</b>"],
            textposition="top center" if flat else "middle right",
            textfont={"size": SIZE_PX["text"], **({"color": color} if cut else {})},
            hovertext=[f"{a} to {b}: {text}"],
            hoverinfo="text",
            showlegend=False,
        )


def link_text(pair: Sequence[LinkStatus], meant_ms: float) -> str:
    """`66 ms`, `266 ms (66)` when it was changed, or what is cut."""
    cut = [link for link in pair if link.cut]
    if len(cut) == len(pair):
        return "✕ cut"
    if cut:
        return f"✕ {cut[0].source} → {cut[0].target} cut"
    rtt_ms = sum(link.delay_ms for link in pair)
    jitter_ms = sum(link.jitter_ms for link in pair)
    jitter = f" ± {jitter_ms:.0f}" if jitter_ms else ""
    meant = f" ({meant_ms:.0f})" if abs(rtt_ms - meant_ms) >= 1 else ""
    return f"{rtt_ms:.0f}{jitter} ms{meant}"
