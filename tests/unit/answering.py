"""A database that answers each attempt of the desk as the test tells it to."""

from __future__ import annotations

import socket
from queue import Queue
from time import sleep
from types import SimpleNamespace

import psycopg
from psycopg.pq import TransactionStatus

PATIENCE_S = 0.3
"""How long a desk is to try before `Server.answer_too_late` is over."""


class Server:
    """Stands in for the line and the database."""

    def __init__(self) -> None:
        self.answers: Queue[Exception | None] = Queue()
        self.unreachable = False
        self._too_late = False

    def connect(self) -> Connection:
        if self.unreachable:
            raise psycopg.OperationalError("connection refused")
        return Connection()

    def close(self) -> None:
        pass

    def answer_too_late(self, error: Exception) -> None:
        """Answer the next attempt when nobody may try again."""
        self._too_late = True
        self.answers.put(error)

    def answer(self) -> None:
        """Wait for the answer to an attempt, and raise it if it is an error."""
        answer = self.answers.get(timeout=10)
        if self._too_late:
            self._too_late = False
            sleep(PATIENCE_S)
        if answer is not None:
            raise answer


class Connection:
    """As much of a connection as retrying looks at."""

    info = SimpleNamespace(transaction_status=TransactionStatus.IDLE)

    def __init__(self) -> None:
        self._sockets = socket.socketpair()
        self.closed = False

    def fileno(self) -> int:
        return self._sockets[0].fileno()

    def close(self) -> None:
        self.closed = True
        for end in self._sockets:
            end.close()
