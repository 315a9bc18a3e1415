"""Leases and survival goal of the database, asked in the background every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic

from labkit.cluster.engines.cockroachdb.database import Leases
from labkit.errors import LabError
from labkit.topology import Node, SurvivalGoal

PACE_S = 5.0
"""Between two questions while nothing changes: for the answer, data is fetched across nodes
(show-ranges.md, v25.4, DETAILS)."""
PATIENCE_S = 0.9
"""How long a status waits for an answer when there is an older one."""
FIRST_PATIENCE_S = 4.0
"""How long it waits for the very first."""

Nodes = frozenset[Node]


@dataclass(frozen=True, slots=True)
class View:
    """Leases and survival goal, as the database gave them.

    Attributes:
        leases: empty before there are tables.
    """

    leases: Leases
    goal: SurvivalGoal | None


@dataclass(frozen=True, slots=True)
class _Known:
    view: View
    ready: Nodes
    asked_at_s: float


class Watch:
    """Remembers the last view. Any number of threads may look."""

    def __init__(self, ask: Callable[[Node], View]) -> None:
        """`ask` asks one node; it may raise LabError, and may take its time."""
        self._ask = ask
        self._known: _Known | None = None
        self._pending: Future[None] | None = None
        self._lock = Lock()

    def look(self, ready: Nodes, first: Node | None, pace_s: float = PACE_S) -> View | None:
        """Return the view, at most `pace_s` old, and newer than the last change among ready nodes.

        Args:
            ready: the nodes that take SQL clients now.
            first: the one of them to ask; None when there is none.

        Returns:
            None when nobody could be asked yet; an older view when a look takes long or fails.
        """
        if first is None:
            return None
        with self._lock:
            known = self._known
            if known and known.ready == ready and monotonic() - known.asked_at_s < pace_s:
                return known.view
            if self._pending is None or self._pending.done():
                self._pending = self._begin(ready, first)
            pending = self._pending
        try:
            pending.result(PATIENCE_S if known else FIRST_PATIENCE_S)
        except (TooLate, LabError):  # while something is broken the last view is better than none
            return known.view if known else None
        return self._known.view if self._known else None

    def forget(self) -> None:
        """Ask anew next time: something was changed."""
        with self._lock:
            self._known = None
            self._pending = None

    def _begin(self, ready: Nodes, first: Node) -> Future[None]:
        """Ask in a thread that may outlive the caller's patience."""
        future: Future[None] = Future()
        asked_at_s = monotonic()

        def ask() -> None:
            try:
                view = self._ask(first)
            except LabError as error:
                future.set_exception(error)
                return
            with self._lock:
                if self._pending is future:
                    self._known = _Known(view, ready, asked_at_s)
            future.set_result(None)

        Thread(target=ask, daemon=True, name="labkit-leases").start()
        return future
