"""A connection that stays registered with the event loop, and sends one statement cheaply.

psycopg's own `execute` registers the connection with the event loop for every wait and takes it out
again, which costs several times as much as sending an order and reading the reply. Here it stays
registered, so the end of an idle connection is detected at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult as Result

from labkit.trading.order_statement import OrderStatement

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[tuple[object, ...]]):
    """A connection of one event loop; the methods of psycopg work as well."""

    _on_end: Callable[[Connection], None] | None = None
    _descriptor = -1
    _waiting: asyncio.Future[Result] | None = None
    _result: Result | None = None
    _is_full = False
    order_statement: OrderStatement | None = None
    """How orders are placed on it, once one was."""

    def listen(self, on_end: Callable[[Connection], None]) -> None:
        """Register the connection if it is not, and call `on_end` if it ends while idle."""
        self._on_end = on_end
        if self._descriptor < 0:
            self._descriptor = self.fileno()
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_input)

    def drop(self) -> None:
        """Close the connection at once, without telling the server."""
        self._deafen()
        self.pgconn.finish()

    async def answer(
        self, statement: bytes, values: Sequence[bytes | None], types: Sequence[int]
    ) -> Result:
        """Send one statement, and wait for its result, which may be an error of the server.

        Args:
            values: the values of the parameters $1, $2 ..., as text.
            types: their OIDs, or 0 if the server is to infer one.

        Raises:
            psycopg.OperationalError: the link died before the answer came.
        """
        assert self._descriptor >= 0, "ask a connection that listens"
        self._result = None
        self.pgconn.send_query_params(statement, values, types)
        if self.pgconn.flush():
            self._flush()
        self._waiting = asyncio.get_running_loop().create_future()
        return await self._waiting

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait as psycopg does, which registers the connection itself and takes it out again."""
        self._deafen()
        return await super().wait(gen, *args, **kwargs)

    def _flush(self) -> None:
        # what does not fit into the socket's buffer now is sent when there is room
        loop = asyncio.get_running_loop()
        if self.pgconn.flush():
            self._is_full = True
            loop.add_writer(self._descriptor, self._flush)
        elif self._is_full:
            self._is_full = False
            loop.remove_writer(self._descriptor)

    def _on_input(self) -> None:
        pgconn = self.pgconn
        try:
            pgconn.consume_input()  # idle: a changed setting, a notice, or the end
            if self._waiting is None:
                return
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # the server is ready for the next statement
                    break
                self._result = result
            else:
                return
        except psycopg.OperationalError as error:
            self._ended(error)
        else:
            assert self._result is not None
            self._answered(self._result)

    def _answered(self, answer: Result | psycopg.OperationalError) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            return
        if isinstance(answer, psycopg.OperationalError):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _ended(self, error: psycopg.OperationalError) -> None:
        self.drop()
        if self._waiting:
            # the server's last word may say more, such as that it is shutting down; a success
            # counts when the server is ready again: until then its commit is not over
            said = self._result
            self._answered(said if said and said.status == ExecStatus.FATAL_ERROR else error)
        elif self._on_end:
            self._on_end(self)

    def _deafen(self) -> None:
        # also when libpq has closed the socket: the number must be free before another one has it
        if self._descriptor >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._descriptor)
            loop.remove_writer(self._descriptor)
            self._descriptor = -1
