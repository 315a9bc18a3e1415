"""A run over time: latency above, throughput below, the faults shaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.history import History
from labkit.measurement.recovery import write_gap
from labkit.measurement.rounding import seconds
from labkit.measurement.windows import per_window, run_end_s, watched_orders
from labkit.plain import escape
from labkit.record import FaultWindow
from labkit.report.figures import theme
from labkit.report.words import rto_words
from labkit.verdict.result import Result

HEIGHT_PX = 680
WINDOWS = 240
"""At most about so many a region: more would be narrower than a line is wide."""
_WIDTHS_S = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_HEADROOM = 1.25
"""How much higher than the data an axis is: labels stand there."""
_LATENCY, _THROUGHPUT = 1, 2


def timeline(result: Result, *, width_s: float | None = None) -> go.Figure:
    """Draw what the clients felt, in seconds since the first fault (or since the start).

    Latency is that of acknowledged operations from their scheduled moment, the slowest of each
    window bold and p50 thin, on a logarithmic scale: an outage is a slope that falls to the moment
    service is back.
    Throughput counts acknowledgements as they arrive; crosses are operations that were not.

    Args:
        width_s: seconds a point stands for, by default what gives a line of about 240 points.

    Raises:
        BadInput: `width_s` is not positive.
    """
    history = result.history
    origin_s = _origin_s(history)
    points = per_window(history, origin_s=origin_s, width_s=width_s or _width_s(history))
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.55, 0.45]
    )
    for region in history.regions:
        _draw_region(figure, history, region, points[points["region"] == region])
    for i, fault in enumerate(history.faults):
        _shade(figure, fault, i, origin_s, run_end_s(history.ops))
    _mark_write_gap(figure, history, origin_s)

    figure.update_layout(
        template=theme.TEMPLATE,
        height=HEIGHT_PX,
        title={"text": escape(_title(result)), "y": 0.97, "yanchor": "top"},
        margin={"t": 104},
        legend={"itemsizing": "constant", "tracegroupgap": 0},
    )
    figure.update_yaxes(
        row=_LATENCY,
        col=1,
        title_text="latency, ms<br>(slowest bold, p50 thin)",
        type="log",
        dtick=1,
        tickformat=",",
        range=_decades(points),
    )
    most_per_s = points[["acked_per_s", "failed_per_s"]].to_numpy(dtype=float).max(initial=0)
    figure.update_yaxes(
        row=_THROUGHPUT,
        col=1,
        title_text="acked, per s",
        range=[0, _HEADROOM * (most_per_s or 1)],
    )
    since = "the fault" if history.faults else "the start"
    figure.update_xaxes(title_text=f"seconds since {since}", row=_THROUGHPUT, col=1)
    return figure


def _title(result: Result) -> str:
    title = f"{result.summary.scenario} on {result.summary.backend}"
    slowest = result.summary.worst_recovery
    return title if slowest is None else f"{title}: RTO {rto_words(slowest)}"


def _decades(points: pd.DataFrame) -> list[float] | None:
    """Compute the range of the latency axis, with room for labels above; None without points."""
    found = points[["p50_ms", "slowest_ms"]].to_numpy(dtype=float)
    found = found[found > 0]
    if not found.size:
        return None
    low, high = np.log10(found.min()), np.log10(found.max())
    span = max(high - low, 0.5)
    return [float(low - 0.1 * span), float(low + _HEADROOM * span)]


def _origin_s(history: History) -> float:
    if history.faults:
        return min(fault.injected_s for fault in history.faults)
    return 0.0 if history.ops.empty else float(history.ops["scheduled_s"].iloc[0])


def _width_s(history: History) -> float:
    if history.ops.empty:
        return _WIDTHS_S[0]
    span_s = run_end_s(history.ops) - float(history.ops["scheduled_s"].iloc[0])
    return next((width for width in _WIDTHS_S if span_s / width <= WINDOWS), _WIDTHS_S[-1])


def _draw_region(figure: go.Figure, history: History, region: str, points: pd.DataFrame) -> None:
    line = {
        "color": theme.region_color(history.regions, region),
        "dash": theme.region_dash(history.regions, region),
    }
    shared = {"x": points["at_s"], "legendgroup": region, "mode": "lines"}

    def latency(column: str, width: float, opacity: float) -> go.Scatter:
        return go.Scatter(
            **shared,
            y=points[column],
            name=region,
            line={**line, "width": width},
            opacity=opacity,
            showlegend=column == "slowest_ms",
            hovertemplate=f"{column.removesuffix('_ms')} %{{y:,.0f}} ms",
        )

    figure.add_trace(latency("p50_ms", 1.5, 0.75), row=_LATENCY, col=1)
    figure.add_trace(latency("slowest_ms", 3, 1), row=_LATENCY, col=1)
    figure.add_trace(
        go.Scatter(
            **shared,
            y=points["acked_per_s"],
            name=region,
            line={**line, "shape": "hv"},
            showlegend=False,
            hovertemplate="%{y:,.0f} acked/s",
        ),
        row=_THROUGHPUT,
        col=1,
    )
    failed = points[points["failed_per_s"] > 0]
    cross = {"color": line["color"], "width": 2.5}
    figure.add_trace(
        go.Scatter(
            x=failed["at_s"],
            y=failed["failed_per_s"],
            name="not acked",
            legendgroup="not acked",
            legendrank=2000,  # after the regions
            mode="markers",
            marker={"symbol": "x-thin", "size": 9, "line": cross},
            showlegend=region == history.regions[0],
            hovertemplate="%{y:,.0f} not acked/s",
        ),
        row=_THROUGHPUT,
        col=1,
    )


def shade(figure: go.Figure, fault: FaultWindow, origin_s: float, end_s: float, *rows: int) -> None:
    """Shade a fault in some rows of a figure; one never healed ends with the run, `end_s`."""
    healed_s = max(end_s, fault.injected_s) if fault.healed_s is None else fault.healed_s
    for row in rows:
        figure.add_vrect(
            x0=fault.injected_s - origin_s,
            x1=healed_s - origin_s,
            fillcolor=theme.FAULT_FILL,
            line={"color": theme.FAULT_LINE, "width": 1},
            layer="below",
            row=row,
            col=1,
        )


def _shade(figure: go.Figure, fault: FaultWindow, i: int, origin_s: float, end_s: float) -> None:
    shade(figure, fault, origin_s, end_s, _LATENCY, _THROUGHPUT)
    figure.add_annotation(
        x=fault.injected_s - origin_s,
        y=1,
        yref="y domain",
        yshift=-4 - 22 * (i % 4),  # labels of faults close together stand below each other
        text=escape(
            fault.label if fault.took_effect_s is not None else f"{fault.label} (no effect)"
        ),
        font={"color": theme.FAULT_LINE, "size": theme.SIZE_PX["text"]},
        showarrow=False,
        xanchor="left",
        yanchor="top",
        xshift=4,
    )


def _mark_write_gap(figure: go.Figure, history: History, origin_s: float) -> None:
    orders = watched_orders(history)
    gaps = [
        (gap[1] - gap[0], gap, region)
        for region in history.regions
        for fault in history.faults
        if (gap := write_gap(orders[orders["region"] == region], fault))
    ]
    if not gaps:
        return
    length_s, (begin_s, end_s), region = max(gaps)
    at = {"xref": "x2", "yref": "y2 domain", "axref": "x2", "ayref": "y2 domain", "y": 0.83}
    figure.add_annotation(
        **at,
        x=end_s - origin_s,
        ax=begin_s - origin_s,
        ay=0.83,
        text="",
        showarrow=True,
        arrowside="start+end",
        arrowhead=2,
        arrowwidth=2,
        arrowcolor=theme.FAULT_LINE,
    )
    figure.add_annotation(
        xref="x2",
        yref="y2 domain",
        x=begin_s - origin_s,
        y=0.83,
        yshift=4,
        text=f"write gap {seconds(length_s)} in {escape(region)}",
        font={"size": theme.SIZE_PX["text"]},
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
    )
