"""The prices that were seen, for a chart: one point a price."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import Final

KEPT_POINTS: Final = 400
Point = tuple[int, float]
"""Milliseconds since the epoch, and the price."""


class PriceHistory:
    """The last prices of each symbol. For any threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._moves: dict[str, int] = {}
        self._points: dict[str, deque[Point]] = {}

    def seen(self, symbol: str, at_ms: int, price: float, moves: int) -> bool:
        """Add a price that was read, with how many orders had moved it; True when it is new."""
        with self._lock:
            if moves <= self._moves.get(symbol, -1):
                return False
            self._moves[symbol] = moves
            self._kept(symbol).append((at_ms, price))
            return True

    def before(self, symbol: str, points: Iterable[Point]) -> None:
        """Return what the orders tell of the time before the first price was seen here."""
        with self._lock:
            seen = list(self._kept(symbol))
            until_ms = seen[0][0] if seen else float("inf")
            older = [point for point in points if point[0] < until_ms]
            self._points[symbol] = deque([*older, *seen], maxlen=KEPT_POINTS)

    def points(self, symbol: str) -> list[Point]:
        """Return the last points of a symbol, the oldest first."""
        with self._lock:
            return list(self._kept(symbol))

    def _kept(self, symbol: str) -> deque[Point]:
        return self._points.setdefault(symbol, deque(maxlen=KEPT_POINTS))
