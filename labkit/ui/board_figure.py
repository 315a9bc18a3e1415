"""The live board's picture: one plotly figure, drawn live in the browser and left when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from labkit.measurement.live import LiveSample
from labkit.record import FaultWindow
from labkit.report.figures.theme import (
    FAULT_FILL,
    FAULT_LINE,
    SIZE_PX,
    TEMPLATE,
    region_color,
    region_dash,
)

COLUMNS = ("slowest_ms", "p50_ms", "acked_per_s", "failed_per_s")
"""A row is the seconds since the start, then these of the first region, of the second, and so on.

The figure has one trace for each, in the same order.
"""


def row(sample: LiveSample, regions: Sequence[str], start_s: float) -> list[float]:
    """One row of a sample; NaN where there is nothing to draw."""
    by_name = {region.region: region for region in sample.regions}
    cells = [sample.at_s - start_s]
    for name in regions:
        region = by_name[name]
        cells += [region.slowest_ms, region.p50_ms, region.acked_per_s]
        cells.append(region.failed_per_s or np.nan)
    return cells


def skeleton(regions: Sequence[str]) -> go.Figure:
    """Return the figure without its points: latency above, orders per second below."""
    figure = go.Figure(
        layout={
            "template": TEMPLATE,
            "height": 480,
            "margin": {"l": 76, "r": 16, "t": 40, "b": 44},
            "hoverlabel": {"namelength": -1},
            "xaxis": {
                "anchor": "y2",
                "title": "seconds since the start",
                "range": [0, 30],
                "ticklabelstandoff": 6,
            },
            "yaxis": {
                "domain": [0.56, 1],
                "type": "log",
                "range": [1, 3],
                "tickvals": [1, 10, 100, 1_000, 10_000, 100_000],
                "ticktext": ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"],
            },
            "yaxis2": {"domain": [0, 0.42], "autorangeoptions": {"include": 1}},
            "annotations": [
                _panel_title("Latency: <b>slowest</b> thick, p50 thin", y=1),
                _panel_title("Orders per second: <b>acked</b> as lines, failed as ✕", y=0.42),
            ],
        }
    )
    for name in regions:
        color, dash = region_color(regions, name), region_dash(regions, name)
        shared = {"legendgroup": name, "showlegend": False}
        below = {**shared, "yaxis": "y2"}
        thick, thin = ({"color": color, "dash": dash, "width": width} for width in (3, 1.25))
        figure.add_scatter(
            **shared | {"showlegend": True}, name=name, line=thick, mode="lines", hovertemplate=_MS
        )
        figure.add_scatter(
            **shared, name=f"{name} p50", line=thin, mode="lines", opacity=0.8, hovertemplate=_MS
        )
        figure.add_scatter(
            **below, name=f"{name} acked", line=thick, mode="lines", hovertemplate=_PER_S
        )
        figure.add_scatter(
            **below,
            name=f"{name} failed",
            mode="markers",
            marker={"symbol": "x", "size": 9, "color": color},
            hovertemplate=_PER_S,
        )
    return figure


_MS = "%{y:,.0f} ms"
_PER_S = "%{y:,.0f}/s"


def shapes(faults: Iterable[FaultWindow], start_s: float) -> list[dict[str, Any]]:
    """Bands from injection to healing in both panels; `x1` is None while a fault holds."""
    label = {"textposition": "top left", "font": {"color": FAULT_LINE, "size": SIZE_PX["small"]}}
    return [
        {
            "type": "rect",
            "x0": fault.injected_s - start_s,
            "x1": None if fault.healed_s is None else fault.healed_s - start_s,
            "yref": f"{axis} domain",
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "fillcolor": FAULT_FILL,
            "line": {"width": 1, "color": FAULT_LINE},
            "label": {**label, "text": text},
        }
        for fault in faults
        for axis, text in (("y", fault.label), ("y2", ""))
    ]


@dataclass(frozen=True, slots=True)
class Recording:
    """The samples and faults of a run that a board has shown.

    Attributes:
        rows: one a sample, columns as `COLUMNS` says; shape (samples, 1 + 4 * regions).
        start_s: the monotonic time of second 0.
    """

    regions: tuple[str, ...]
    title: str
    rows: np.ndarray
    faults: tuple[FaultWindow, ...]
    start_s: float


def finished(recording: Recording) -> go.Figure:
    """Return the figure with everything recorded, for a page without a kernel."""
    figure = skeleton(recording.regions)
    columns = recording.rows.T.astype("float32")  # half the bytes in the notebook, 7 digits still
    for trace, y in zip(figure.data, columns[1:], strict=True):
        trace.x, trace.y = columns[0], y
    last_s = float(recording.rows[-1, 0]) if len(recording.rows) else 0.0
    latencies_ms = np.concatenate([columns[1::4], columns[2::4]])
    if not np.isnan(latencies_ms).all():
        low, high = np.log10(np.nanmin(latencies_ms)), np.log10(np.nanmax(latencies_ms))
        figure.update_yaxes(range=[np.floor(low), np.ceil(high)], selector={"type": "log"})
    figure.update_layout(
        title=recording.title,
        shapes=[
            {**band, "x1": max(last_s, band["x0"]) if band["x1"] is None else band["x1"]}
            for band in shapes(recording.faults, recording.start_s)
        ],
        xaxis_range=[float(recording.rows[0, 0]), last_s] if last_s else [0, 30],
        height=560,
        margin_t=120,
        legend_y=1.07,
    )
    return figure


def summary(recording: Recording) -> str:
    """Write the recording in words, one line per region and one per fault."""
    rows = recording.rows
    if not len(rows):
        return f"{recording.title}: nothing was seen"
    lines = [f"{recording.title}: watched for {rows[-1, 0] - rows[0, 0]:.0f} s"]
    for i, name in enumerate(recording.regions):
        slowest_ms, _, acked, failed = rows[:, 1 + 4 * i : 5 + 4 * i].T
        worst = "none" if np.isnan(slowest_ms).all() else f"{np.nanmax(slowest_ms):,.0f} ms"
        lines.append(
            f"  {name}: slowest {worst}, acked {acked.mean():,.1f}/s, "
            f"failed {np.nan_to_num(failed).mean():,.1f}/s, "
            f"no acks in {np.mean(acked == 0):.0%} of the samples"
        )
    for fault in recording.faults:
        if fault.healed_s is None:
            end = "not healed"
        else:
            end = f"healed after {fault.healed_s - fault.injected_s:.1f} s"
        lines.append(f"  {fault.label} at {fault.injected_s - recording.start_s:.1f} s, {end}")
    return "\n".join(lines)


def _panel_title(text: str, y: float) -> dict[str, Any]:
    return {
        "text": text,
        "showarrow": False,
        "font": {"size": SIZE_PX["text"]},
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yref": "paper",
        "y": y,
        "yanchor": "bottom",
    }
