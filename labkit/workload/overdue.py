"""The closing of connections that do not answer in time."""

from __future__ import annotations

import asyncio
from time import monotonic

from labkit.trading.connection import hang_up
from labkit.workload.connection import Connection


class Overdue:
    """A timer for all connections, of which the one that was asked first is overdue first.

    A timer per statement would cost a client as much as sending the statement.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._asked: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def asked(self, conn: Connection) -> None:
        """Give a connection `timeout_s` to answer, from now on."""
        self._asked[conn] = monotonic()
        if self._timer is None:
            self._wait(self._timeout_s)

    def answered(self, conn: Connection) -> None:
        """Expect no answer of a connection any more: it has answered, or is closed."""
        del self._asked[conn]

    def _wait(self, for_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(for_s, self._look)

    def _look(self) -> None:
        self._timer = None
        for conn, asked_s in list(self._asked.items()):
            left_s = asked_s + self._timeout_s - monotonic()
            if left_s > 0:
                self._wait(left_s)
                return
            hang_up(conn)  # its answer is an error now, which it tells by itself
