"""report.html: one file that opens offline, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
from markupsafe import Markup

from labkit import files
from labkit.report.figures import theme
from labkit.report.figures.chart import chart
from labkit.report.figures.timeline import timeline
from labkit.report.figures.trials import trials_figure
from labkit.report.figures.waterfall import waterfall
from labkit.report.html import TEMPLATES, context
from labkit.topology import Topology
from labkit.verdict.result import Result
from labkit.verdict.summary import Summary

REPORT_FILE = "report.html"


def report_html(result: Result) -> str:
    """Render the whole page; plotly.js (about 5 MB) is inside, nothing is fetched.

    Light or dark follows the reader's system.
    """
    return TEMPLATES.get_template("page.html.j2").render(
        **context(result.summary),
        # these two are markup of our own making; plotly escapes what it puts into its JSON
        figures=[
            (heading, Markup(chart(figure, first=i == 0)))  # noqa: S704
            for i, (heading, figure) in enumerate(figures(result))
        ],
        tokens=Markup(theme.css()),  # noqa: S704
        environment=environment(result.summary),
    )


def figures(result: Result) -> list[tuple[str, go.Figure]]:
    """Draw the figures of a result, each under its heading."""
    outage = [("What the outage was made of", waterfall(result))] if result.waterfall else []
    if not result.trials:
        return [("Over time", timeline(result)), *outage]
    worst = result.worst_trial
    number = result.trials.index(worst) + 1
    return [
        ("The trials side by side", trials_figure(result)),
        (f"The longest outage: trial {number}", timeline(worst)),
        *outage,
        ("All trials, one after another", timeline(result)),
    ]


def write_report(result: Result, folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path."""
    path = folder / REPORT_FILE
    files.write_text(path, report_html(result))
    return path


def environment(summary: Summary) -> list[tuple[str, str]]:
    """List what a reader needs to judge the numbers, or to measure again."""
    took_s = (summary.finished_at - summary.started_at).total_seconds()
    return [
        ("Started", f"{summary.started_at:%Y-%m-%d %H:%M:%S} UTC, {took_s:.0f} s"),
        ("Backend", summary.backend),
        ("Topology", _shape(summary.topology)),
        ("Round trips", _round_trips(summary.topology)),
        ("Survival goal", str(summary.topology.survive)),
        ("Workload", _pairs(summary.workload)),
        ("Parameters", _pairs(summary.parameters)),
        ("Versions", _pairs(summary.versions)),
        ("Machine", summary.machine.words),
    ]


def _shape(topology: Topology) -> str:
    regions = ", ".join(f"{region.name} ({region.nodes})" for region in topology.regions)
    return f"{len(topology.nodes)} nodes: {regions}"


def _round_trips(topology: Topology) -> str:
    return ", ".join(f"{' to '.join(link.between)} {link.rtt_ms:g} ms" for link in topology.links)


def _pairs(things: Mapping[str, object]) -> str:
    told = (f"{name} {value}" for name, value in things.items() if value is not None)
    return ", ".join(told) or "none"
