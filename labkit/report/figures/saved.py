"""Figures as a saved notebook keeps them: the data, and a picture.

JupyterLab draws the figure. Whatever knows no plotly, such as nbconvert or a site that shows
notebooks, takes the picture.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

from labkit.errors import BadInput
from labkit.report.figures.static import static_svg
from labkit.report.figures.theme import MADE_HERE

PICTURE = "image/svg+xml"


def picture(figure: go.Figure) -> dict[str, str]:
    """Draw a picture of a figure, by MIME type; empty where that takes a browser."""
    try:
        return {PICTURE: static_svg(figure)}
    except BadInput:
        return {}


class _PictureRenderer(MimetypeRenderer):  # type: ignore[misc]
    """Adds the picture to a figure of labkit, and nothing to others."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        look = fig_dict.get("layout", {}).get("template", {}).get("layout", {})
        return picture(go.Figure(fig_dict)) if look.get("meta") == MADE_HERE else {}


pio.renderers["labkit"] = _PictureRenderer()
# beside what plotly chose for this notebook, and nowhere where it opens a browser instead
if "mimetype" in (pio.renderers.default or ""):
    pio.renderers.default += "+labkit"
