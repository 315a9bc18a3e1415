"""A plotly figure as a piece of a page: interactive, with a picture for where that cannot be."""

from __future__ import annotations

from html import escape

import plotly.graph_objects as go

from labkit.errors import BadInput
from labkit.report.figures.static import static_svg


def chart(figure: go.Figure, *, first: bool) -> str:
    """Render a figure as HTML; the first on a page has plotly.js (5 MB) in it, nothing is fetched.

    The picture is an SVG of the same data. `page.css` shows it in print, and where no script runs:
    in a mail, or in a CI that shows artefacts without letting them run any.
    """
    live = figure.to_html(
        full_html=False, include_plotlyjs=first, config={"displaylogo": False, "responsive": True}
    )
    return f'<div class="lk-live">{live}</div><div class="lk-static">{_picture(figure)}</div>'


def _picture(figure: go.Figure) -> str:
    try:
        return static_svg(figure)
    except BadInput as error:
        return f"<p>{escape(str(error))}: open this page where scripts run.</p>"
