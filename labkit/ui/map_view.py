"""The cluster map as plain data: places, roles, states, links."""

from __future__ import annotations

from itertools import combinations

from labkit.cluster.status import ClusterStatus, LinkStatus, NodeStatus, ServiceStatus, State
from labkit.report.figures import theme
from labkit.report.figures.map import GOALS, Box, leases_text, link_text, place
from labkit.topology import Topology

_IN_A_ROW = 3
_WIDTH, _HEIGHT, _BETWEEN = 3.4, 1.4, 1.35
"""Of a region and of the gap, in units of the distance between two nodes."""
_ARC = 0.55
"""How far a link around a region swings out below."""


def geometry(topology: Topology) -> dict[str, object]:
    """Place regions and links, in percent of the map; gives the map's width over its height too.

    Up to three regions stand in a row, which leaves room for the rest of a page; more on a ring.
    """
    names = topology.region_names
    row = len(names) <= _IN_A_ROW
    if row:
        boxes = [Box(i * (_WIDTH + _BETWEEN), 0, _WIDTH, _HEIGHT) for i in range(len(names))]
    else:
        boxes = place([region.nodes for region in topology.regions])
    below = _ARC if row and len(names) == _IN_A_ROW else 0.05
    left = min(b.x - b.width / 2 for b in boxes)
    width = max(b.x + b.width / 2 for b in boxes) - left
    top = max(b.y + b.height / 2 for b in boxes)
    height = top - min(b.y - b.height / 2 for b in boxes) + below

    def percent(x: float, y: float) -> tuple[float, float]:
        return round((x - left) / width * 100, 2), round((top - y) / height * 100, 2)

    links = []
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        one, other = boxes[i], boxes[j]
        if row and j - i > 1:
            y = one.y - one.height / 2
            ends = (one.x, y), (other.x, y)
            bend = ((one.x + other.x) / 2, y - 2 * _ARC * 0.62)
        else:
            ends = one.edge_towards(other), other.edge_towards(one)
            bend = ((ends[0][0] + ends[1][0]) / 2, (ends[0][1] + ends[1][1]) / 2)
        (x0, y0), (x1, y1) = ends
        # links that cross the ring meet inside it: label them near one end
        t = 0.5 if row or j - i in (1, len(names) - 1) else 0.15
        label = tuple(
            (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
            for start, middle, end in zip((x0, y0), bend, (x1, y1), strict=True)
        )
        links.append(
            {
                "name": f"{a}:{b}",
                "path": [*percent(x0, y0), *percent(*bend), *percent(x1, y1)],
                "label": percent(*label),
            }
        )
    return {
        "aspect": round(width / height, 3),
        "regions": [
            {
                "name": name,
                "color": theme.region_color(names, name),
                "at": percent(box.x - box.width / 2, box.y + box.height / 2),
                "size": (
                    round(box.width / width * 100, 2),
                    round(box.height / height * 100, 2),
                ),
            }
            for name, box in zip(names, boxes, strict=True)
        ],
        "links": links,
    }


def now(status: ClusterStatus, topology: Topology) -> dict[str, object]:
    """Return what the status says of every part, in words, signs and colours of the theme."""
    running = sum(node.state is State.RUNNING for node in status.nodes)
    pairs = {
        f"{a}:{b}": [link for link in status.links if {link.source, link.target} == {a, b}]
        for a, b in combinations(topology.region_names, 2)
    }
    return {
        "healthy": status.healthy,
        "summary": f"{running} of {len(status.nodes)} nodes running",
        "goal": GOALS[status.survival_goal],
        "wan": status.wan,
        "regions": [
            {
                "name": name,
                "nodes": [_node(node) for node in status.nodes if node.region == name],
                "services": [
                    _service(service)
                    for service in (*status.balancers, *status.coordinators)
                    if service.region == name
                ],
            }
            for name in topology.region_names
        ],
        "links": [
            _link(name, pair, topology.rtt_ms(*name.split(":"))) for name, pair in pairs.items()
        ],
    }


def _node(node: NodeStatus) -> dict[str, object]:
    mark = theme.node_mark(node)
    told = [node.behind] if node.behind else []
    if node.leases is not None:
        told.append(leases_text(node.leases))
    return {
        "name": node.name,
        "number": node.name.split("/")[-1],
        "word": mark.word,
        "glyph": mark.glyph,
        "color": mark.color,
        "state": node.state.value,
        "healthy": node.healthy,
        "detail": "; ".join([_health(node.healthy, node.detail, mark.word), *told]),
    }


def _service(service: ServiceStatus) -> dict[str, object]:
    mark = theme.STATE_MARKS.get(service.state)
    return {
        "name": service.name,
        "kind": service.name.split(":", maxsplit=1)[0],
        "glyph": mark.glyph if mark else "⬡",
        "color": mark.color if mark else theme.STATUS_COLORS["neutral"],
        "word": mark.word if mark else "running",
        "healthy": service.healthy,
        "detail": _health(service.healthy, service.detail, mark.word if mark else ""),
    }


def _health(healthy: bool, detail: str, known: str) -> str:
    if healthy:
        return "in service"
    return "out of service" + (f": {detail}" if detail and detail != known else "")


def _link(name: str, pair: list[LinkStatus], meant_ms: float) -> dict[str, object]:
    if not pair:
        return {"name": name, "text": "WAN off", "state": "off"}
    rtt_ms = sum(link.delay_ms for link in pair)
    changed = abs(rtt_ms - meant_ms) >= 1 or any(link.jitter_ms for link in pair)
    cut = any(link.cut for link in pair)
    state = "cut" if cut else "slow" if changed else "open"
    return {"name": name, "text": link_text(pair, meant_ms), "state": state}
