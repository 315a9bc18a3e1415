"""An axis of a picture for print: from values to pixels, and where its ticks stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any

_TICKS = 6


@dataclass
class Axis:
    """One axis.

    Attributes:
        pixels: where it begins and ends.
        log: whether `low`, `high` and `seen` are powers of ten.
        categories: their names, where it has some; each is a whole number then.
        layout: plotly's.
        seen: every number on it.
    """

    pixels: tuple[float, float]
    log: bool = False
    categories: list[str] | None = None
    low: float = 0.0
    high: float = 1.0
    layout: Any = None
    seen: list[float] = field(default_factory=list)

    def number(self, value: Any) -> float:
        """Convert a value to a number on the axis; NaN where there is none."""
        if value is None:
            return float("nan")
        if self.categories is not None:
            if isinstance(value, str):
                return float(self.categories.index(value))
            return float(value)
        if self.log:
            return log10(value) if value > 0 else float("nan")
        return float(value)

    def at(self, value: Any) -> float:
        """Compute the pixel of a value."""
        return self.of_share((self.number(value) - self.low) / ((self.high - self.low) or 1.0))

    def of_share(self, share: float) -> float:
        """Compute the pixel of a share of the axis."""
        begin, end = self.pixels
        return begin + share * (end - begin)

    def pixels_a_unit(self) -> float:
        """Tell how long a unit is."""
        return abs(self.pixels[1] - self.pixels[0]) / ((self.high - self.low) or 1.0)

    def shrink(self, unit_px: float) -> None:
        """Make a unit so long; its middle stays where it is."""
        middle = sum(self.pixels) / 2
        half = unit_px * (self.high - self.low) / 2
        way = 1 if self.pixels[1] > self.pixels[0] else -1
        self.pixels = middle - way * half, middle + way * half

    def ticks(self) -> list[tuple[float, str]]:
        """Pixels and texts."""
        if self.layout.tickvals is not None:
            texts = self.layout.ticktext or self.layout.tickvals
            return [(self.at(v), str(t)) for v, t in zip(self.layout.tickvals, texts, strict=False)]
        if self.categories is not None:
            return [(self.at(name), name) for name in self.categories]
        if self.log:
            powers = range(floor(self.low), ceil(self.high) + 1)
            # one or two powers of ten alone say little
            factors = (1,) if self.high - self.low > 2 else (1, 2, 5)
            values = [factor * 10.0**power for power in powers for factor in factors]
            inside = [v for v in values if self.low - 1e-9 <= log10(v) <= self.high + 1e-9]
            return [(self.at(value), f"{value:,g}") for value in inside]
        step = _round_step((self.high - self.low) / _TICKS)
        first = ceil(self.low / step - 1e-9)
        count = floor((self.high - first * step) / step + 1e-9)
        digits = max(0, -floor(log10(step)))
        values = [(first + i) * step for i in range(count + 1)]
        return [(self.at(value), f"{value:,.{digits}f}") for value in values]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** floor(log10(rough)) if rough > 0 else 1.0
    return power * next(
        factor for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999
    )
