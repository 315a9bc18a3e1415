"""Timers beside the kernel's main thread, and the age of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread
from time import monotonic, time
from typing import Generic, TypeVar

import psycopg

from labkit.errors import LabError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """The last answer, however old, and what the last question met.

    Attributes:
        value: None until there was an answer.
        at_s: when it was asked for, seconds since the epoch: not younger than it says.
        took_s: from the question to the answer.
        problem: why the last question had no answer; empty when it had one.
        asked_s: when the last question was asked, answered or not; seconds since the epoch.
    """

    value: T | None = None
    at_s: float = 0.0
    took_s: float = 0.0
    problem: str = ""
    asked_s: float = 0.0

    def to_page(self) -> dict[str, object]:
        """Tell how old it is, for a page: milliseconds since the epoch, as JavaScript counts.

        Every question makes a difference, so that a page hears of each: of what does not change,
        nothing is sent.
        """
        return {
            "seen_ms": round(self.at_s * 1000),
            "asked_ms": round(self.asked_s * 1000),
            "problem": self.problem,
        }


class Every:
    """Calls a function again and again in a thread of its own, so that it may take long."""

    def __init__(self, do: Callable[[], None], *, every_s: float, name: str) -> None:
        """Begin.

        Args:
            every_s: seconds from the end of one call to the next.
            name: of the thread.
        """
        self.every_s = every_s
        self._do = do
        self._due = Event()
        self._ended = False
        self._thread = Thread(target=self._run, name=f"labkit-{name}", daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Call now, or as soon as the call under way has ended."""
        self._due.set()

    def end(self) -> None:
        """Call no more. Does not wait for a call under way. Idempotent."""
        self._ended = True
        self._due.set()

    def _run(self) -> None:
        while not self._ended:
            self._due.clear()
            self._do()
            self._due.wait(self.every_s)


class Poller(Every, Generic[T]):
    """A thread that calls `ask` again and again, and keeps the last answer.

    It calls `tell` after every call of `ask`, also after one that failed. So a page can tell that
    the kernel is gone: nothing comes any more.
    """

    def __init__(
        self,
        ask: Callable[[], T],
        tell: Callable[[Seen[T]], None],
        *,
        every_s: float,
        name: str,
    ) -> None:
        """Begin to ask.

        Args:
            ask: may take long, and may raise LabError or psycopg.Error: then the last answer stays.
            tell: called in the thread that asks.
            every_s: seconds from the end of one question to the next.
            name: of the thread.
        """
        self._ask, self._tell = ask, tell
        self.seen: Seen[T] = Seen()
        super().__init__(self._ask_once, every_s=every_s, name=name)

    def _ask_once(self) -> None:
        at_s, begun_s = time(), monotonic()
        try:
            self.seen = Seen(self._ask(), at_s, monotonic() - begun_s, asked_s=at_s)
        except (LabError, psycopg.Error) as error:
            self.seen = replace(self.seen, problem=first_line(error), asked_s=at_s)
        if not self._ended:
            self._tell(self.seen)


def first_line(error: BaseException) -> str:
    """Return what an error says, short enough for a page.

    Of the driver's words for a connection that failed, only why: which one it was is known.
    """
    line = str(error).strip().split("\n")[0]
    if refused := _NO_CONNECTION.fullmatch(line):
        return f"no connection: {refused[1][:1].lower()}{refused[1][1:]}"
    return line or type(error).__name__


_NO_CONNECTION = re.compile(r"connection failed: connection to server at .* failed: (.+)")
