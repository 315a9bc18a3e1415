"""A plotly figure as an SVG, without a browser: for print, and for pages that may run no script.

It draws what the figures of this package are made of, from the figure itself: lines, markers,
texts, bars, shaded spans, labels, arrows and a legend on linear, logarithmic and category axes. It
looks like the interactive figure, not exactly the same: a browser knows how wide a text is.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go

from labkit.errors import BadInput
from labkit.report.figures import theme
from labkit.report.figures.static_axis import Axis
from labkit.report.figures.svg import Canvas, plain, text_width

WIDTH_PX = 1000
_GRID = theme.STATUS_COLORS["neutral"]
_SMALL_PX, _TEXT_PX, _TITLE_PX = (theme.SIZE_PX[name] for name in ("small", "text", "title"))


def static_svg(figure: go.Figure) -> str:
    """Draw a figure.

    Raises:
        BadInput: it has a kind of trace that this does not draw.
    """
    return _Drawing(figure).svg()


class _Drawing:
    def __init__(self, figure: go.Figure) -> None:
        self.figure, self.layout = figure, figure.layout
        for trace in figure.data:
            if trace.type not in ("scatter", "bar"):
                raise BadInput(f"a picture for print cannot show {trace.type!r} yet")
        self.height = float(self.layout.height or 450)
        self.canvas = Canvas()
        left, right = self._left_px(), 24.0
        top = float(self.layout.margin.t or 72) + 18 * (self._rows_above() - 1)
        bottom = float(self.layout.margin.b or 64) if self._legend_is_below() else 64.0
        self.plot = (left, top, WIDTH_PX - right, self.height - bottom)
        self.axes = {name: self._axis(name) for name in self._axis_names()}
        self._set_ranges()
        self._keep_shape()

    def svg(self) -> str:
        for shape in self.layout.shapes:
            self._shape(shape)
        for name, axis in self.axes.items():
            self._axis_lines(name, axis)
        for trace in self.figure.data:
            draw = self._bars if trace.type == "bar" else self._scatter
            draw(trace)
        for note in self.layout.annotations:
            self._annotation(note)
        self._legend()
        title = self.layout.title.text or ""
        if title:
            self.canvas.text(self.plot[0], 30, title, size=_TITLE_PX, anchor="start")
        if below := self.layout.title.subtitle.text:
            self.canvas.text(self.plot[0], 54, below, size=_TEXT_PX, anchor="start")
        return self.canvas.svg(WIDTH_PX, self.height, plain(title) or "figure")

    # axes

    def _axis_names(self) -> list[str]:
        used = [getattr(t, f"{way}axis") or way for t in self.figure.data for way in "xy"]
        return list(dict.fromkeys(used)) or ["x", "y"]

    def _layout_of(self, name: str) -> Any:
        return self.layout[f"{name[0]}axis{name[1:]}"]

    def _axis(self, name: str) -> Axis:
        layout = self._layout_of(name)
        begin, end = layout.domain or (0.0, 1.0)
        left, top, right, bottom = self.plot
        if name[0] == "x":
            pixels = left + begin * (right - left), left + end * (right - left)
        else:
            pixels = bottom - begin * (bottom - top), bottom - end * (bottom - top)
        axis = Axis(pixels, log=layout.type == "log", layout=layout)
        values = [v for t in self._on(name) for v in _list(getattr(t, name[0]))]
        if layout.type == "category" or any(isinstance(value, str) for value in values):
            axis.categories = list(dict.fromkeys(str(value) for value in values))
        for trace in self._on(name):
            axis.seen += [axis.number(value) for value in _list(getattr(trace, name[0]))]
            if trace.type == "bar" and (trace.orientation or "v") == (
                "h" if name[0] == "x" else "v"
            ):
                axis.seen.append(0.0)
        axis.seen = [value for value in axis.seen if np.isfinite(value)]
        return axis

    def _on(self, name: str) -> list[Any]:
        return [t for t in self.figure.data if (getattr(t, f"{name[0]}axis") or name[0]) == name]

    def _set_ranges(self) -> None:
        for name, axis in self.axes.items():
            given = axis.layout.range
            if given is not None and None not in given:
                axis.low, axis.high = float(given[0]), float(given[1])
                continue
            seen = list(axis.seen)
            for other, its in self.axes.items():
                if other != name and self._matched(name) == self._matched(other):
                    seen += its.seen
            if axis.categories is not None:
                axis.low, axis.high = -0.5, len(axis.categories) - 0.5
            elif seen:
                low, high = min(seen), max(seen)
                if name[0] == "y" and not axis.log:
                    low = min(low, 0.0)
                    high += 0.12 * (high - low or 1.0)
                axis.low, axis.high = low, high if high > low else low + 1.0

    def _keep_shape(self) -> None:
        """Shrink the plot to what it needs, where a unit is as long on one axis as on another.

        It keeps its middle, between axes without ticks.
        """
        for axis in self.axes.values():
            other = self.axes.get(axis.layout.scaleanchor or "")
            if other is None:
                continue
            unit = min(a.pixels_a_unit() for a in (axis, other))
            for one in (axis, other):
                one.shrink(unit)

    def _matched(self, name: str) -> str:
        return self._layout_of(name).matches or name

    def _axis_lines(self, name: str, axis: Axis) -> None:
        if axis.layout.visible is False:
            return
        other = self.axes.get(axis.layout.anchor or ("y" if name[0] == "x" else "x"))
        left, top, right, bottom = self.plot
        ends = other.pixels if other else ((bottom, top) if name[0] == "x" else (left, right))
        title = axis.layout.title.text
        hidden = axis.layout.showticklabels is False
        for pixel, text in axis.ticks():
            if not min(axis.pixels) - 0.5 <= pixel <= max(axis.pixels) + 0.5:
                continue
            if name[0] == "x":
                if axis.categories is None:
                    self.canvas.line(pixel, ends[0], pixel, ends[1], _GRID, opacity=0.25)
                if not hidden:
                    self.canvas.text(pixel, ends[0] + 18, text, size=_SMALL_PX)
            else:
                self.canvas.line(ends[0], pixel, ends[1], pixel, _GRID, opacity=0.25)
                self.canvas.text(ends[0] - 8, pixel + 5, text, size=_SMALL_PX, anchor="end")
        middle = sum(axis.pixels) / 2
        if title and name[0] == "x":
            self.canvas.text(middle, ends[0] + 48, title, size=_TEXT_PX)
        elif title:
            self.canvas.text(
                ends[0] - self._left_px() + 18, middle, title, size=_SMALL_PX, turned=True
            )

    def _left_px(self) -> float:
        """Room for the texts of the vertical axes."""
        longest = 0.0
        for name in self._axis_names():
            layout = self._layout_of(name)
            if name[0] == "y" and layout.visible is not False:
                texts = [str(text) for text in layout.ticktext or ["10,000"]]
                longest = max(longest, *(text_width(text, _SMALL_PX) for text in texts))
        return longest + 58 if longest else float(self.layout.margin.l or 16)

    # traces

    def _scatter(self, trace: Any) -> None:
        x, y = self.axes[trace.xaxis or "x"], self.axes[trace.yaxis or "y"]
        shift = self._offset(trace, x) if x.categories is not None else 0.0
        points = [
            (x.at(a) + shift, y.at(b)) for a, b in zip(_list(trace.x), _list(trace.y), strict=True)
        ]
        mode = trace.mode or "lines"
        if mode == "none":
            return
        color = trace.line.color or trace.marker.color or "currentColor"
        opacity = 1.0 if trace.opacity is None else trace.opacity
        if "lines" in mode:
            self.canvas.path(
                points,
                color,
                opacity=opacity,
                width=trace.line.width or 2.5,
                dash=trace.line.dash,
                steps=trace.line.shape == "hv",
            )
        if "markers" in mode:
            marker = trace.marker
            for px, py in points:
                if np.isfinite(px) and np.isfinite(py):
                    self._mark(px, py, marker, color)
        if "text" in mode:
            self._texts(trace, points)

    def _texts(self, trace: Any, points: list[tuple[float, float]]) -> None:
        vertical, _, side = (trace.textposition or "middle center").partition(" ")
        size = trace.textfont.size or _TEXT_PX
        away = float(trace.marker.size or 0) / 2
        drop = {"top": -away - 5, "bottom": away + size + 2}.get(vertical, 0.35 * size)
        anchor = {"left": "end", "right": "start"}.get(side, "middle")
        shift = {"left": -away - 4, "right": away + 4}.get(side, 0.0)
        texts = [trace.text] * len(points) if isinstance(trace.text, str) else _list(trace.text)
        for (px, py), text in zip(points, texts, strict=True):
            place = px + shift, py + drop
            self.canvas.text(*place, text, size=size, anchor=anchor, color=trace.textfont.color)

    def _mark(self, px: float, py: float, marker: Any, color: str) -> None:
        symbol = marker.symbol or "circle"
        if symbol.startswith("x"):
            color = marker.line.color or color
        self.canvas.mark(px, py, symbol, float(marker.size or 8), color, marker.line.width or 0)

    def _bars(self, trace: Any) -> None:
        lying = trace.orientation == "h"
        along, across = ("x", "y") if lying else ("y", "x")
        value_axis = self.axes[getattr(trace, f"{along}axis") or along]
        slot_axis = self.axes[getattr(trace, f"{across}axis") or across]
        slots, values = _list(getattr(trace, across)), _list(getattr(trace, along))
        bases = _list(trace.base) or [0.0] * len(values)
        texts = _list(trace.text) or [""] * len(values)
        unit = abs(slot_axis.at(1.0) - slot_axis.at(0.0))
        thick = (trace.width or 0.8 / self._groups(trace)) * unit
        for slot, value, base, text in zip(slots, values, bases, texts, strict=True):
            middle = slot_axis.at(slot) + self._offset(trace, slot_axis)
            begin = value_axis.at(base)
            end = begin if value is None or np.isnan(value) else value_axis.at(base + value)
            low, length = min(begin, end), abs(end - begin)
            box = (low, middle - thick / 2, length, thick)
            if not lying:
                box = (middle - thick / 2, low, thick, length)
            self.canvas.box(*box, trace.marker.color)
            inside = trace.textposition == "inside"
            if inside and not lying:
                color = trace.textfont.color or "#ffffff"
                self.canvas.text(middle, end + 20, str(text), size=_SMALL_PX, color=color)
            elif lying:
                self.canvas.text(end + 6, middle + 5, str(text), size=_SMALL_PX, anchor="start")
            else:
                self.canvas.text(middle, end - 6, str(text), size=_SMALL_PX)

    def _offset(self, trace: Any, axis: Axis) -> float:
        """Tell how far a trace stands beside the middle of its slot, in pixels."""
        groups = self._group_names(trace)
        if self.layout.barmode == "overlay" or len(groups) < 2:
            return 0.0
        place = groups.index(_group(trace))
        unit = abs(axis.at(1.0) - axis.at(0.0))
        return (place - (len(groups) - 1) / 2) * 0.8 / len(groups) * unit

    def _groups(self, trace: Any) -> int:
        return 1 if self.layout.barmode == "overlay" else len(self._group_names(trace))

    def _group_names(self, trace: Any) -> list[str]:
        ours = (trace.xaxis or "x", trace.yaxis or "y")
        bars = [t for t in self.figure.data if t.type == "bar"]
        here = [t for t in bars if (t.xaxis or "x", t.yaxis or "y") == ours]
        names = list(dict.fromkeys(_group(t) for t in here))
        return names if _group(trace) in names else []

    # what stands on top

    def _place(self, ref: str | None, value: Any, way: str) -> float:
        """Compute the pixel of a shape's or an annotation's end."""
        ref = ref or way
        left, top, right, bottom = self.plot
        if ref == "paper":
            span = (left, right) if way == "x" else (bottom, top)
            return span[0] + float(value) * (span[1] - span[0])
        name, _, domain = ref.partition(" ")
        axis = self.axes[name] if name in self.axes else self._axis(name)
        return axis.of_share(float(value)) if domain else axis.at(value)

    def _shape(self, shape: Any) -> None:
        x0, x1 = (self._place(shape.xref, v, "x") for v in (shape.x0, shape.x1))
        y0, y1 = (self._place(shape.yref, v, "y") for v in (shape.y0, shape.y1))
        color = shape.line.color or "currentColor"
        if shape.type == "line":
            look = {"width": shape.line.width or 1, "dash": shape.line.dash}
            self.canvas.line(x0, y0, x1, y1, color, **look)
            return
        self.canvas.box(
            min(x0, x1),
            min(y0, y1),
            abs(x1 - x0),
            abs(y1 - y0),
            shape.fillcolor or "none",
            stroke=color,
            stroke_width=shape.line.width or 1,
        )

    def _annotation(self, note: Any) -> None:
        x, y = self._place(note.xref, note.x, "x"), self._place(note.yref, note.y, "y")
        if note.showarrow is not False and note.axref not in (None, "pixel"):
            begin = self._place(note.axref, note.ax, "x"), self._place(note.ayref, note.ay, "y")
            color = note.arrowcolor or "currentColor"
            self.canvas.line(*begin, x, y, color, width=note.arrowwidth or 1)
            for at, toward in ((begin[0], 1), (x, -1)):
                self.canvas.line(at, y, at + 7 * toward, y - 4, color, width=2)
                self.canvas.line(at, y, at + 7 * toward, y + 4, color, width=2)
        if not note.text:
            return
        size = note.font.size or _TEXT_PX
        drop = {"top": size, "bottom": -5.0}.get(note.yanchor or "middle", 0.35 * size)
        anchor = {"left": "start", "right": "end"}.get(note.xanchor or "center", "middle")
        px, py = x + (note.xshift or 0), y - (note.yshift or 0) + drop
        self.canvas.text(px, py, note.text, size=size, anchor=anchor, color=note.font.color)

    def _entries(self) -> list[Any]:
        shown = [t for t in self.figure.data if t.name and t.showlegend is not False]
        unique = {trace.legendgroup or trace.name: trace for trace in reversed(shown)}
        in_order = list(unique.values())[::-1]
        ordered = sorted(in_order, key=lambda t: t.legendrank or 1000)
        return ordered if len(ordered) > 1 or (shown and shown[0].showlegend) else []

    def _legend_is_below(self) -> bool:
        return bool(self.layout.legend.yanchor == "top")

    def _rows_above(self) -> int:
        """Rows of the legend above the plot; one when there are none."""
        if self._legend_is_below():
            return 1
        wide = sum(text_width(plain(trace.name), _TEXT_PX) + 56 for trace in self._entries())
        return max(1, ceil(wide / (WIDTH_PX - 160)))

    def _legend(self) -> None:
        left, top, right, bottom = self.plot
        titled = any(
            note.yref == "paper" and (note.y or 0) >= 1 for note in self.layout.annotations
        )
        x, y = left, top - (38 if titled else 14) - 18 * (self._rows_above() - 1)
        if self._legend_is_below():
            y = bottom + 28
        for trace in self._entries():
            name = plain(trace.name)
            wide = text_width(name, _TEXT_PX) + 56
            if x + wide > right and x > left:
                x, y = left, y + 20
            color = trace.line.color if trace.type == "scatter" else None
            color = color or trace.marker.color or trace.marker.line.color or "currentColor"
            if trace.type == "scatter" and "markers" in (trace.mode or ""):
                self._mark(x + 12, y - 5, trace.marker, color)
            else:
                is_line = trace.type == "scatter"
                look = {"width": 3, "dash": trace.line.dash} if is_line else {"width": 12}
                self.canvas.line(x, y - 5, x + 26, y - 5, color, **look)
            self.canvas.text(x + 34, y, trace.name, size=_TEXT_PX, anchor="start")
            x += wide


def _group(trace: Any) -> str:
    return str(getattr(trace, "offsetgroup", None) or trace.name)


def _list(values: Any) -> list[Any]:
    if values is None:
        return []
    if isinstance(values, Mapping):  # how plotly's JSON has an array of numbers
        values = np.frombuffer(b64decode(values["bdata"]), dtype=values["dtype"])
    return list(np.asarray(values, dtype=object))
