"""A load that rises in steps: what came out, and how long it took, over what was asked."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from labkit.measurement.steps import ALL
from labkit.report.figures import theme


def steps_figure(table: pd.DataFrame, regions: Sequence[str], title: str) -> go.Figure:
    """Acknowledged orders and p90 over offered orders, a line a region.

    Where a line leaves the diagonal, orders come faster than they are done: the knee.

    Args:
        table: what `labkit.measurement.steps.by_step` returned.
        regions: the topology's, in its order.
    """
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    here = table[table["region"] != ALL]
    most = float(here[["offered_per_s", "acked_per_s"]].max().max()) if len(here) else 1.0
    figure.add_scatter(
        x=[0, most],
        y=[0, most],
        mode="lines",
        name="all that was asked",
        line={"color": theme.STATUS_COLORS["neutral"], "dash": "dot", "width": 1.5},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    for region, rows in here.groupby("region", sort=False):
        for col, column in ((1, "acked_per_s"), (2, "p90_ms")):
            figure.add_scatter(
                x=rows["offered_per_s"],
                y=rows[column],
                name=str(region),
                legendgroup=str(region),
                showlegend=col == 1,
                mode="lines+markers",
                marker={"size": 9},
                line={
                    "color": theme.region_color(regions, str(region)),
                    "dash": theme.region_dash(regions, str(region)),
                },
                row=1,
                col=col,
            )
    figure.update_layout(
        template=theme.TEMPLATE,
        title={"text": title, "y": 0.97, "yanchor": "top"},
        height=460,
        margin={"t": 110},
        hovermode="closest",
    )
    figure.update_xaxes(title_text="orders a second asked of a region", rangemode="tozero")
    figure.update_yaxes(title_text="acknowledged a second", row=1, col=1)
    figure.update_yaxes(title_text="p90, ms", type="log", dtick=1, row=1, col=2)
    return figure
