"""One design for the desk, the live board, the figures and the report: every colour and size.

Lines and marks keep one colour on light and on dark pages, so a saved figure can be opened in
either: each has a contrast of at least 3:1 on white and on JupyterLab's #111 (WCAG 2.2, 1.4.11).
What can follow the page (text, surfaces) does so through the custom properties of `css()`.
Nothing is told by colour alone: roles have shapes, and regions after the third have dashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import plotly.io as pio

from labkit.cluster.status import NodeStatus, Role, State
from labkit.errors import UnknownTarget

REGION_COLORS = (
    "#0072b2",  # the first three are blue, vermilion and bluish green of
    "#d55e00",  # Okabe & Ito, Color Universal Design (2008)
    "#009e73",
    "#8a4fff",
    "#c2387d",
    "#a05a3c",
    "#b06a94",
    "#6b7f8c",
    "#7a7a1f",
)
"""By position in the region list. The first four stay apart in every colour blindness."""

REGION_DASHES = ("solid", "solid", "solid", "dash", "dot", "dashdot", "longdash", "dash", "dot")
"""Line styles by position: they carry the difference where colours no longer can."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The look of one kind of thing: `symbol` is a plotly marker, `glyph` one character of text."""

    color: str
    symbol: str
    glyph: str
    word: str


ROLE_MARKS: dict[Role, Mark] = {
    Role.PRIMARY: Mark("#b07800", "star", "★", "primary"),
    Role.SYNC: Mark("#0c8a9e", "circle", "●", "sync"),
    Role.REPLICA: Mark("#6b7f8c", "circle-open", "○", "replica"),
    Role.UNKNOWN: Mark("#767676", "diamond-open", "?", "unknown"),
}
LEASEHOLDER = Mark("#b07800", "star", "★", "leaseholder")
"""A primary among several: each leads some ranges."""
STATE_MARKS: dict[State, Mark] = {
    State.PAUSED: Mark("#8a4fff", "square", "‖", "paused"),
    State.DOWN: Mark("#d4145a", "x", "✕", "down"),
}
"""A node that does not run has no role to show: these win over `ROLE_MARKS`."""

STATUS_COLORS = {"ok": "#1a8754", "bad": "#d4145a", "unknown": "#b07800", "neutral": "#767676"}
"""Verdicts and outcomes: passed or acked, failed, not known, and everything else."""

FAULT_LINE = "#d4145a"
FAULT_FILL = "rgba(212, 20, 90, 0.14)"
"""The time a fault holds; translucent, so grid and lines stay visible through it."""

FONT_FAMILY = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
SIZE_PX = {"small": 14, "text": 16, "title": 20, "number": 40}
"""Readable from the back of a room: nothing is set smaller than "small"."""

_INK = "#737780"  # 4.5:1 on white, 4.2:1 on #111: text of figures that cannot know their page
_GRID = "rgba(128, 132, 140, 0.28)"

_AXIS = {
    "gridcolor": _GRID,
    "linecolor": _GRID,
    "zeroline": False,
    "automargin": True,
    "title": {"font": {"size": SIZE_PX["text"]}},
}

SPACE_PX = {"xs": 4, "s": 8, "m": 12, "l": 16, "xl": 24}
RADIUS_PX = {"control": 6, "panel": 10}
CONTROL_PX = 40
"""The height of what is pressed: WCAG 2.2, 2.5.8 asks for 24, a presenter's hand for more."""

LIGHT = {
    "page": "#eceff2",
    "ink": "#1b1f24",
    "muted": "#59616b",
    "surface": "#ffffff",
    "raised": "#f4f6f8",
    "line": "#d5dae0",
    "edge": "#7b858f",
    "accent": "#0b5cad",
    "on-accent": "#ffffff",
    "good": "#14693f",
    "bad": "#b3103f",
    "warn": "#7a5200",
}
DARK = {
    "page": "#0a0b0c",
    "ink": "#e8eaed",
    "muted": "#a4abb5",
    "surface": "#111111",
    "raised": "#1c1f23",
    "line": "#3a4048",
    "edge": "#7f8893",
    "accent": "#7ab8f5",
    "on-accent": "#0a1a2b",
    "good": "#63d297",
    "bad": "#ff8cab",
    "warn": "#e3b655",
}
"""The tokens that follow the page. `edge` is the border of a control; `good`, `bad` and `warn` are
for text, beside a word or a sign that says the same."""

MADE_HERE = "labkit"
"""`meta` of the layouts of this package's figures."""

TEMPLATE = go.layout.Template(
    layout=go.Layout(
        meta=MADE_HERE,
        colorway=REGION_COLORS,
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"family": FONT_FAMILY, "size": SIZE_PX["text"], "color": _INK},
        title={"font": {"size": SIZE_PX["title"]}, "x": 0, "xref": "paper", "xanchor": "left"},
        margin={"l": 72, "r": 24, "t": 72, "b": 56},
        hovermode="x unified",
        modebar={"remove": ["sendChartToCloud"]},  # what the lab measures stays on this machine
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis=_AXIS,
        yaxis={**_AXIS, "rangemode": "tozero"},
    ),
    data={"scatter": [go.Scatter(line={"width": 2.5})]},
)
"""The plotly template, also known to plotly by its name "labkit"."""

pio.templates["labkit"] = TEMPLATE


def region_color(regions: Sequence[str], name: str) -> str:
    """Choose the colour of a region by its place in `regions`: the same in every figure.

    Raises:
        UnknownTarget: `name` is not among `regions`.
    """
    return REGION_COLORS[_place(regions, name) % len(REGION_COLORS)]


def region_dash(regions: Sequence[str], name: str) -> str:
    """Choose the line style of a region, a plotly `dash`.

    Raises:
        UnknownTarget: `name` is not among `regions`.
    """
    return REGION_DASHES[_place(regions, name) % len(REGION_DASHES)]


def node_mark(node: NodeStatus) -> Mark:
    """Tell how a node looks now: its state when it does not run, else its role."""
    role = LEASEHOLDER if node.leases else ROLE_MARKS[node.role]
    return STATE_MARKS.get(node.state) or role


def css() -> str:
    """Write the tokens as CSS custom properties (`--lk-...`), for the widgets and the report.

    Light or dark follows JupyterLab's and voila's theme where there is one, else the reader's
    system. Text of plotly figures inside an element of class `lk-figures` follows too.
    """
    fixed = {
        "font": FONT_FAMILY,
        "fault": FAULT_LINE,
        "fault-fill": FAULT_FILL,
        "control": f"{CONTROL_PX}px",
        **{f"size-{name}": f"{px}px" for name, px in SIZE_PX.items()},
        **{f"space-{name}": f"{px}px" for name, px in SPACE_PX.items()},
        **{f"radius-{name}": f"{px}px" for name, px in RADIUS_PX.items()},
        **{f"region-{i}": color for i, color in enumerate(REGION_COLORS, start=1)},
        **{f"status-{name}": color for name, color in STATUS_COLORS.items()},
        **{f"role-{role}": mark.color for role, mark in ROLE_MARKS.items()},
        **{f"state-{state}": mark.color for state, mark in STATE_MARKS.items()},
    }
    light, dark = _declarations(LIGHT), _declarations(DARK)
    # themed pages mark their body, and what stands on the body wins over :root by inheritance
    return f"""\
:root {{ {_declarations(fixed)} {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
body[data-jp-theme-light="true"] {{ {light} }}
body[data-jp-theme-light="false"] {{ {dark} }}
.lk-figures .js-plotly-plot
:is([class$="tick"] text, [class$="title"], .legendtext, .annotation-text) {{
  fill: var(--lk-ink) !important;
}}
"""


def _place(regions: Sequence[str], name: str) -> int:
    if name not in regions:
        raise UnknownTarget(f"no region {name!r}: there are {', '.join(regions)}")
    return list(regions).index(name)


def _declarations(tokens: Mapping[str, str]) -> str:
    return " ".join(f"--lk-{name}: {value};" for name, value in tokens.items())
