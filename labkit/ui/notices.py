"""Notices of what happened to a person's orders, each once, the newest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from time import time
from typing import Final

KEPT: Final = 30


@dataclass(frozen=True, slots=True)
class Notice:
    """One line.

    Attributes:
        kind: "acked", "refused", "unknown", "processed" or "deposit".
    """

    number: int
    at_s: float
    kind: str
    text: str

    def to_page(self) -> dict[str, object]:
        """Plain data for the page."""
        return {
            "number": self.number,
            "at_ms": round(self.at_s * 1000),
            "kind": self.kind,
            "text": self.text,
        }


class Notices:
    """The last notices. For any threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._kept: deque[Notice] = deque(maxlen=KEPT)
        self._processed: set[str] | None = None

    @property
    def newest(self) -> list[Notice]:
        """The newest first."""
        with self._lock:
            return list(reversed(self._kept))

    def add(self, kind: str, text: str) -> None:
        """Something happened."""
        with self._lock:
            self._count += 1
            self._kept.append(Notice(self._count, time(), kind, text))

    def processed(self, orders: Mapping[str, str]) -> None:
        """Tell of orders that are processed now and were not when last looked at.

        Args:
            orders: those that are processed, by id, with what to call each.
        """
        with self._lock:
            known = self._processed
            self._processed = set(orders) | (known or set())
        for text in self._news(orders, known):
            self.add("processed", text)

    @staticmethod
    def _news(orders: Mapping[str, str], known: set[str] | None) -> Iterable[str]:
        # what was processed before the desk was opened is no news
        if known is None:
            return []
        return [f"{text} is processed" for key, text in orders.items() if key not in known]
