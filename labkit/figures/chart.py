"""A plotly figure as a piece of a page."""

from __future__ import annotations

import plotly.graph_objects as go


def chart(figure: go.Figure, *, first: bool) -> str:
    """A figure as HTML; the first on a page brings plotly.js (about 5 MB), nothing is fetched."""
    markup: str = figure.to_html(
        full_html=False, include_plotlyjs=first, config={"displaylogo": False, "responsive": True}
    )
    return markup
