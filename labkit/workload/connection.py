"""A connection that is listened to all the time, and can be asked one statement cheaply.

psycopg's own `execute` registers the connection with the event loop for every wait and takes it out
again, which costs several times as much as sending an order and reading the reply. Here it stays
registered, which also tells at once when an idle connection ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq.abc import PGresult as Result

from labkit.trading.asking import OrderTalk

T = TypeVar("T")


class Connection(psycopg.AsyncConnection[tuple[object, ...]]):
    """For one event loop. What psycopg offers works as well; it then listens for itself."""

    _on_end: Callable[[Connection], None] | None = None
    _descriptor = -1
    _answer: asyncio.Future[Result] | None = None
    _result: Result | None = None
    _is_full = False
    order_talk: OrderTalk | None = None
    """How orders are placed on it, once one was."""

    def listen(self, on_end: Callable[[Connection], None]) -> None:
        """Listen, if it does not yet, and call `on_end` when the connection ends while idle."""
        self._on_end = on_end
        if self._descriptor < 0:
            self._descriptor = self.fileno()
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_input)

    def drop(self) -> None:
        """Close at once, without a word to the server."""
        self._deafen()
        self.pgconn.finish()

    def ask(
        self, statement: bytes, values: Sequence[bytes | None], types: Sequence[int]
    ) -> asyncio.Future[Result]:
        """Send one statement; await its result, which may be an error of the server.

        Args:
            values: of the parameters $1, $2 ..., as text.
            types: their OIDs, 0 where the server shall find out.

        Raises:
            psycopg.OperationalError: the link died before there was a result.
        """
        assert self._descriptor >= 0, "ask a connection that listens"
        self._result = None
        self.pgconn.send_query_params(statement, values, types)
        if self.pgconn.flush():
            self._flush()
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """How psycopg waits: it registers the connection itself, and takes it out again."""
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
            if self._answer is None:
                return
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # the server is ready for the next statement
                    self._answered()
                    return
                self._result = result
        except psycopg.OperationalError as error:
            self._ended(error)

    def _answered(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            assert self._result is not None
            answer.set_result(self._result)

    def _ended(self, error: psycopg.OperationalError) -> None:
        self.drop()
        answer = self._answer
        if answer is None:
            if self._on_end:
                self._on_end(self)
        elif self._result is not None:  # the server's last word, such as that it is shutting down
            self._answered()
        elif not answer.done():
            answer.set_exception(error)

    def _deafen(self) -> None:
        # also when libpq has closed the socket: the number must be free before another one has it
        if self._descriptor >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._descriptor)
            loop.remove_writer(self._descriptor)
            self._descriptor = -1
