"""The age of a replica's answer, measured against fresh reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from threading import Lock

_KEPT_S = 120.0


class Staleness:
    """Compares two ways of reading the same counters, which only grow.

    A replica that shows fewer orders than a fresh read had shown at some moment is at least as old
    as that moment. So the staleness told is a lower bound, and as fine as the fresh reads are
    frequent. For any threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._fresh: deque[tuple[float, Mapping[str, int]]] = deque()

    def fresh(self, at_s: float, moves: Mapping[str, int]) -> None:
        """Add a fresh read that was answered at `at_s`: how many orders had moved each price."""
        with self._lock:
            if not self._fresh or self._fresh[-1][1] != moves:
                self._fresh.append((at_s, moves))
            while len(self._fresh) > 1 and self._fresh[1][0] < at_s - _KEPT_S:
                self._fresh.popleft()

    def of(self, asked_s: float, moves: Mapping[str, int]) -> tuple[float, int]:
        """Tell how stale an answer is that a replica was asked for at `asked_s`.

        Returns:
            Seconds, and how many orders it did not show yet; 0 and 0 when it was up to date.
        """
        with self._lock:
            known = [(at_s, seen) for at_s, seen in self._fresh if at_s <= asked_s]
        missing = [(at_s, _behind(seen, moves)) for at_s, seen in known]
        late = [(at_s, count) for at_s, count in missing if count]
        return (asked_s - late[0][0], late[-1][1]) if late else (0.0, 0)


def _behind(fresh: Mapping[str, int], replica: Mapping[str, int]) -> int:
    return sum(max(0, count - replica.get(symbol, 0)) for symbol, count in fresh.items())
