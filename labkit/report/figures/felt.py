"""Tables and a figure of the cluster as a client feels it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from labkit.cluster.status import ClusterStatus
from labkit.report.figures import theme
from labkit.report.figures.theme import region_color

_STATEMENTS = {
    "local_read_ms": "read from a replica in the region",
    "fresh_read_ms": "read from the primary",
    "order_ms": "place an order",
    "connect_ms": "open a connection",
}


def node_table(status: ClusterStatus) -> pd.DataFrame:
    """Tabulate the nodes of a cluster: region, node, role, state, lag in bytes, pid."""
    rows = [
        {
            "region": node.region,
            "node": node.name,
            "role": theme.node_mark(node).word,
            "healthy": node.healthy,
            "lag_bytes": node.lag_bytes,
            "pid": node.pid,
        }
        for node in status.nodes
    ]
    return pd.DataFrame(rows).astype({"lag_bytes": "Int64", "pid": "Int64"}).set_index("node")


def felt_figure(felt: pd.DataFrame) -> go.Figure:
    """Tell how long each statement takes from each region, on a logarithmic scale.

    Args:
        felt: what `labkit.measurement.felt.felt_latency` returned.
    """
    regions = list(felt["region"])
    figure = go.Figure(
        layout={
            "template": theme.TEMPLATE,
            "title": "Median time of a statement, by the client's region",
            "height": 420,
            "xaxis": {"type": "log", "title": "milliseconds", "dtick": 1},
            "hovermode": "closest",
        }
    )
    for row in felt.to_dict("records"):
        values = [float(row[key]) for key in _STATEMENTS]
        figure.add_scatter(
            name=row["region"],
            x=values,
            y=list(_STATEMENTS.values()),
            mode="markers+text",
            text=[f"{value:.3g}" for value in values],
            # the same statement of two regions may take the same time: labels take turns
            textposition=("top center", "bottom center")[regions.index(row["region"]) % 2],
            marker={"size": 16, "color": region_color(regions, row["region"])},
        )
    return figure


def felt_beside(felts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tabulate the same statements under several circumstances, in milliseconds.

    Args:
        felts: what `labkit.measurement.felt.felt_latency` returned, by what it was like then.

    Returns:
        Index: the region and the statement; a column for each circumstance.
    """
    columns = {
        name: felt.set_index("region")[list(_STATEMENTS)].rename(columns=_STATEMENTS).stack()
        for name, felt in felts.items()
    }
    return pd.DataFrame(columns).rename_axis(["region", "statement"]).round(1)
