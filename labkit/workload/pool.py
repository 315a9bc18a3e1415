"""A pool of connections to one balancer, opened before they are needed.

A new connection costs several round trips across the WAN, so lost ones are replaced at once, not
when an order needs them. Idle ones are watched: one that the balancer or the server ended is
replaced without costing an order an attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import uniform

import psycopg

from labkit.libpq import alone
from labkit.workload.connection import Connection

CONNECT_TIMEOUT_S = 2
OPEN_EVERY_S = 0.025
OPEN_EVERY_S_WHILE_FAILING = 0.1
"""The least time between attempts to connect, so that an outage causes no storm of them."""


class Pool:
    """A pool of one event loop, with `size` open connections while `keep_open` runs.

    Every lease ends with `give_back` or `discard`.
    """

    def __init__(
        self,
        dsn: str,
        size: int,
        *,
        application_name: str,
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a pool without connections; `on_open` is called after each that is opened."""
        self._conninfo = alone(
            dsn, connect_timeout=CONNECT_TIMEOUT_S, application_name=application_name
        )
        self._on_open = on_open
        self._size = size
        self._ready: asyncio.Queue[Connection] = asyncio.Queue()
        self._waiting = 0
        self._missing = asyncio.Semaphore(size)
        self._failing = False
        self._filled = asyncio.Event()

    async def keep_open(self) -> None:
        """Open missing connections until cancelled, and then close the idle ones."""
        try:
            async with asyncio.TaskGroup() as opening:
                while True:
                    await self._missing.acquire()
                    opening.create_task(self._open())
                    pause_s = OPEN_EVERY_S_WHILE_FAILING if self._failing else OPEN_EVERY_S
                    await asyncio.sleep(pause_s * uniform(0.5, 1.5))
        finally:
            while not self._ready.empty():
                self._ready.get_nowait().drop()

    async def filled(self) -> None:
        """Wait until all connections have been open and idle once."""
        await self._filled.wait()

    def idle(self) -> Connection | None:
        """Take the connection that was idle longest; None if none is idle, or others wait."""
        if not self._waiting:  # nobody is overtaken
            while not self._ready.empty():
                conn = self._ready.get_nowait()
                if not conn.closed:
                    return conn
        return None

    async def lease(self, timeout_s: float) -> Connection | None:
        """Wait for an idle connection, and take the one idle longest; None if the time is up."""
        if timeout_s <= 0:
            return None
        if conn := self.idle():
            return conn
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    conn = await self._ready.get()
                    if not conn.closed:
                        return conn
        except TimeoutError:
            return None
        finally:
            self._waiting -= 1

    def give_back(self, conn: Connection) -> None:
        """Return a connection that can be used again."""
        conn.listen(self._on_end)
        self._ready.put_nowait(conn)
        if self._ready.qsize() == self._size:
            self._filled.set()

    def discard(self, conn: Connection) -> None:
        """Close a connection and have it replaced."""
        conn.drop()
        self._missing.release()

    async def _open(self) -> None:
        try:
            conn = await Connection.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=None,
            )
        except psycopg.OperationalError:
            self._failing = True
            self._missing.release()
        else:
            self._failing = False
            self._on_open()
            self.give_back(conn)

    def _on_end(self, conn: Connection) -> None:
        self.discard(conn)  # it stays in the queue, where `lease` passes over it
