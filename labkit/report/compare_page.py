"""Runs side by side, as a picture and as one page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.subplots import make_subplots

from labkit.measurement.phases import Phase
from labkit.measurement.rounding import milliseconds, seconds
from labkit.measurement.windows import ALL_REGIONS
from labkit.plain import escape
from labkit.record import OpKind
from labkit.report import words
from labkit.report.compare import compare
from labkit.report.figures import theme
from labkit.report.figures.chart import chart
from labkit.report.html import TEMPLATES
from labkit.verdict.finding import Verdict
from labkit.verdict.limits import number_of, with_error
from labkit.verdict.measures import MEASURES
from labkit.verdict.summary import Summary

HEIGHT_PX = 460
_OUTAGE = tuple((MEASURES[name].label, name) for name in ("rto_s", "write_gap_s"))


def compare_figure(summaries: Mapping[str, Summary]) -> go.Figure:
    """Draw what the fault cost and what an order takes without one, one colour per run.

    Bars are medians where a run has trials, and each trial is a dot. Latency is the p99 of all
    acknowledged orders of a region before the fault (or of the whole run without one).
    """
    figure = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.12,
        subplot_titles=("Under the fault, seconds", "Before it, order p99 in ms"),
    )
    for i, (name, summary) in enumerate(summaries.items()):
        shared = {
            "name": escape(name),
            "legendgroup": name,
            "offsetgroup": name,
            "marker": {"color": theme.REGION_COLORS[i % len(theme.REGION_COLORS)]},
        }
        values = [_median(summary, measure) for _, measure in _OUTAGE]
        figure.add_bar(
            **shared,
            x=[label for label, _ in _OUTAGE],
            y=values,
            text=[_label(summary, measure) for _, measure in _OUTAGE],
            textposition="outside",
            cliponaxis=False,
            row=1,
            col=1,
        )
        p99_ms = _p99_ms(summary)
        figure.add_bar(
            **shared,
            x=list(p99_ms),
            y=list(p99_ms.values()),
            text=[milliseconds(value) for value in p99_ms.values()],
            textposition="outside",
            cliponaxis=False,
            showlegend=False,
            row=1,
            col=2,
        )
        if summary.trials:
            points = [
                (label, number_of(measure, trial))
                for label, measure in _OUTAGE
                for trial in summary.trials
            ]
            figure.add_scatter(
                x=[label for label, _ in points],
                y=[value for _, value in points],
                mode="markers",
                name=f"{escape(name)}: trials",
                legendgroup=name,
                offsetgroup=name,
                marker={"color": theme.LIGHT["muted"], "size": 7, "symbol": "circle-open"},
                showlegend=False,
                row=1,
                col=1,
            )
    figure.update_layout(
        template=theme.TEMPLATE,
        height=HEIGHT_PX,
        barmode="group",
        scattermode="group",
        margin={"t": 110},
        legend={"y": 1.14},
        hovermode="closest",
    )
    return figure


def compare_html(summaries: Mapping[str, Summary], of_runs: Sequence[Verdict] = ()) -> str:
    """Render the whole page, with plotly.js in it; arguments as `compare` takes them.

    Raises:
        BadInput: fewer than two.
    """
    found = compare(summaries, of_runs)
    return TEMPLATES.get_template("compare.html.j2").render(
        found=found,
        HEADWORD=words.HEADWORD,
        # markup of our own making; plotly escapes what it puts into its JSON
        figure=Markup(chart(compare_figure(summaries), first=True)),  # noqa: S704
        tokens=Markup(theme.css()),  # noqa: S704
    )


def _median(summary: Summary, measure: str) -> float | None:
    spread = words.spread_of(summary, measure)
    return number_of(measure, summary) if spread is None else spread.median


def _label(summary: Summary, measure: str) -> str:
    """Label a bar with its number and its error."""
    spread = words.spread_of(summary, measure)
    if spread is not None:
        found = None if spread.median is None else (spread.median, spread.median_error)
    else:
        found = with_error(measure, summary)
    return "" if found is None else seconds(*found)


def _p99_ms(summary: Summary) -> dict[str, float]:
    quiet = (Phase.BEFORE, Phase.WHOLE)
    return {
        row.region: row.p99_ms
        for row in summary.latency
        if row.kind == OpKind.ORDER
        and row.phase in quiet
        and row.region != ALL_REGIONS
        and row.p99_ms is not None
    }
