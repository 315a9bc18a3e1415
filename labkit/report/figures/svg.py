"""Strokes of an SVG: lines, marks, boxes and texts, by pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape, unescape
from math import cos, pi, sin

import numpy as np

from labkit.plain import escape as text_of
from labkit.report.figures import theme

_CHARACTER = 0.55
"""How wide a letter is on average, in font sizes."""
_DASHES = {"dash": "9,6", "dot": "2,4", "dashdot": "9,4,2,4", "longdash": "15,6"}
_SHAPES = {"square": (4, pi / 4, 1.0), "diamond": (4, 0.0, 1.0), "hexagon2": (6, 0.0, 1.0)}
"""Marks with corners: how many, the angle of the first, and how far in every second one is."""
_STAR = (10, -pi / 2, 0.45)


def plain(text: str) -> str:
    """Remove plotly's markup from a text, and replace escapes by their characters."""
    return unescape(re.sub(r"<[^>]+>", "", text))


def text_width(text: str, size: float) -> float:
    """About how wide a text is, in pixels."""
    return _CHARACTER * size * len(text)


class Canvas:
    """The drawing so far, from the back to the front."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def svg(self, width: float, height: float, label: str) -> str:
        """All of it as one picture; `label` is for who cannot see it."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'role="img" aria-label="{text_of(label)}" '
            f'font-family="{escape(theme.FONT_FAMILY)}" '
            f'fill="currentColor">{"".join(self._parts)}</svg>'
        )

    def line(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        color: str,
        *,
        opacity: float = 1,
        width: float = 1,
        dash: str | None = None,
    ) -> None:
        """Draw a straight line; `dash` is one of plotly's names."""
        self._parts.append(
            f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{color}" '
            f'stroke-width="{width}" opacity="{opacity}"{_dash(dash)}/>'
        )

    def path(
        self,
        points: Iterable[tuple[float, float]],
        color: str,
        *,
        opacity: float = 1,
        width: float = 1,
        dash: str | None = None,
        steps: bool = False,
    ) -> None:
        """Draw a line through points, with a gap where one is missing."""
        self._parts.append(
            f'<path d="{_way(points, steps=steps)}" fill="none" stroke="{color}" '
            f'stroke-width="{width}" stroke-linejoin="round" opacity="{opacity}"{_dash(dash)}/>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        stroke: str | None = None,
        stroke_width: float = 1,
    ) -> None:
        """Draw a rectangle, from its upper left corner."""
        edge = f' stroke="{stroke}" stroke-width="{stroke_width}"' if stroke else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{fill}"{edge}/>'
        )

    def mark(self, x: float, y: float, symbol: str, size: float, color: str, edge: float) -> None:
        """Draw a point's mark: one of plotly's symbols, `-open` for its outline only."""
        half = size / 2
        if symbol.startswith("x"):
            for way in (1, -1):
                ends = (x - half, y - half * way, x + half, y + half * way)
                self.line(*ends, color, width=edge or 2)
            return
        name, _, hollow = symbol.partition("-open")
        hollow = "none" if symbol.endswith("-open") else ""
        look = f'fill="{hollow or color}" stroke="{color}"'
        look += f' stroke-width="{edge}"' if edge else ""
        corners = _STAR if name == "star" else _SHAPES.get(name)
        if corners is None:
            self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{half:g}" {look}/>')
            return
        count, first, inner = corners
        reach = [half * 1.2 * (inner if i % 2 else 1.0) for i in range(count)]
        angles = [first + i * 2 * pi / count for i in range(count)]
        around = " ".join(
            f"{x + r * cos(angle):.1f},{y + r * sin(angle):.1f}"
            for r, angle in zip(reach, angles, strict=True)
        )
        self._parts.append(f'<polygon points="{around}" {look}/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        anchor: str = "middle",
        color: str | None = None,
        turned: bool = False,
    ) -> None:
        """Draw a text on its base line, in lines where plotly's markup breaks it."""
        lines = [text_of(plain(line)) for line in re.split(r"<br\s*/?>", text)]
        spans = "".join(
            f'<tspan x="{x:.1f}" dy="{0 if i == 0 else 1.2 * size:.1f}">{line}</tspan>'
            for i, line in enumerate(lines)
        )
        fill = f' fill="{color}"' if color else ""
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" '
            f'text-anchor="{anchor}"{fill}{turn}>{spans}</text>'
        )


def _dash(name: str | None) -> str:
    pattern = _DASHES.get(name or "", "")
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def _way(points: Iterable[tuple[float, float]], *, steps: bool) -> str:
    words: list[str] = []
    before: tuple[float, float] | None = None
    for x, y in points:
        if not (np.isfinite(x) and np.isfinite(y)):
            before = None
            continue
        if before is None:
            words.append(f"M{x:.1f} {y:.1f}")
        elif steps:
            words.append(f"H{x:.1f}V{y:.1f}")
        else:
            words.append(f"L{x:.1f} {y:.1f}")
        before = (x, y)
    return "".join(words)
