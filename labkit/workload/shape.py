"""The level of the load over a run: constant, in steps, or a ramp.

The level is orders per second in an open loop, and customers in a closed one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from random import Random
from typing import Any

from labkit.errors import BadInput


@dataclass(frozen=True, slots=True)
class Steps:
    """A load of one level after another, the last for good.

        TradingWorkload(rate_per_s=Steps((50, 100, 200), every_s=10))

    Attributes:
        levels: orders per second, or customers, each above 0.
        every_s: the seconds of each level.

    Raises:
        BadInput: a number is not above 0 and finite, or there is no level.
    """

    levels: tuple[float, ...]
    every_s: float

    def __post_init__(self) -> None:
        if not self.levels:
            raise BadInput("Steps: needs at least one level")
        for level in self.levels:
            _must_be_positive("Steps: a level", level)
        _must_be_positive("Steps: every_s", self.every_s)

    def __str__(self) -> str:
        return f"{', '.join(f'{level:g}' for level in self.levels)} (steps of {self.every_s:g} s)"


@dataclass(frozen=True, slots=True)
class Ramp:
    """A load that goes from one level to another in a straight line, and stays there.

    Attributes:
        start: orders per second, or customers, 0 or more.
        end: likewise, above 0.
        over_s: the seconds from one level to the other.

    Raises:
        BadInput: a number outside its range.
    """

    start: float
    end: float
    over_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < inf:
            raise BadInput(f"Ramp: start is {self.start}, it must be 0 or more, and finite")
        _must_be_positive("Ramp: end", self.end)
        _must_be_positive("Ramp: over_s", self.over_s)

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g} (over {self.over_s:g} s)"


@dataclass(frozen=True, slots=True)
class Piece:
    """A straight line from one level to another, over `for_s` seconds."""

    for_s: float
    start: float
    end: float

    @property
    def area(self) -> float:
        """Return the area under the line: the expected number of orders."""
        return self.for_s * (self.start + self.end) / 2

    def level(self, at_s: float) -> float:
        """Return the level after so many seconds of the piece."""
        return self.start + (self.end - self.start) * at_s / self.for_s

    def reached_s(self, area: float) -> float:
        """Return the seconds after which so many orders are expected.

        It is the positive root of `start t + slope t^2 / 2 = area`, in the form that also holds for
        a slope of 0 and loses no digits near it.
        """
        slope = (self.end - self.start) / self.for_s
        return 2 * area / (self.start + sqrt(max(0.0, self.start**2 + 2 * slope * area)))


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of the load: pieces one after the other, and then one level for good."""

    pieces: tuple[Piece, ...]
    then: float

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Shape:
        """Read back what `dataclasses.asdict` made."""
        return cls(tuple(Piece(**piece) for piece in data["pieces"]), data["then"])

    @classmethod
    def of(cls, given: float | Steps | Ramp) -> Shape:
        """Make the shape of a number, `Steps` or a `Ramp`.

        Raises:
            BadInput: a number is not above 0 and finite.
        """
        match given:
            case Steps(levels, every_s):
                return cls(tuple(Piece(every_s, n, n) for n in levels[:-1]), levels[-1])
            case Ramp(start, end, over_s):
                return cls((Piece(over_s, start, end),), end)
        _must_be_positive("the load", given)
        return cls((), given)

    def divided_by(self, parts: float) -> Shape:
        """Return one of so many equal parts, which is more than the whole if `parts` is below 1."""
        pieces = tuple(Piece(p.for_s, p.start / parts, p.end / parts) for p in self.pieces)
        return Shape(pieces, self.then / parts)

    @property
    def peak(self) -> float:
        """Return the highest level."""
        return max([self.then, *(level for p in self.pieces for level in (p.start, p.end))])

    def level(self, at_s: float) -> float:
        """Return the level at so many seconds after the start."""
        for piece in self.pieces:
            if at_s < piece.for_s:
                return piece.level(at_s)
            at_s -= piece.for_s
        return self.then

    def arrivals(self, seed: str) -> Iterator[float]:
        """Yield endless arrival times in seconds after the start, the same for the same seed.

        They are a Poisson process whose rate is the level, in arrivals per second. Each gap is the
        time in which the area under the level grows by an exponential number of mean 1.
        """
        random = Random(seed)
        wanted = random.expovariate(1.0)
        begun_s = passed = 0.0
        for piece in self.pieces:
            while wanted < passed + piece.area:
                yield begun_s + piece.reached_s(wanted - passed)
                wanted += random.expovariate(1.0)
            begun_s += piece.for_s
            passed += piece.area
        while True:
            yield begun_s + (wanted - passed) / self.then
            wanted += random.expovariate(1.0)


def _must_be_positive(what: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise BadInput(f"{what} is {value}, it must be above 0 and finite")
