"""Ending a wait for a database that does not answer.

A frozen server answers no cancel request either, and a cancelled commit reports success although
no standby has it. So a wait is ended by hanging up: the socket is shut down, the pending call
fails as if the server had gone, and the connection is not used again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any

import psycopg

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]


def hang_up(conn: AnyConnection) -> None:
    """Make what waits for `conn` fail at once with OperationalError.

    Call it in the thread that uses the connection (async code); other threads use
    `hanging_up_after`.
    """
    with suppress(psycopg.OperationalError), _same_socket(conn) as sock:  # unless closed already
        _shut_down(sock)


@contextmanager
def hanging_up_after(conn: psycopg.Connection[Any], timeout_s: float) -> Iterator[None]:
    """Hang up if the block takes longer than `timeout_s`; its pending call raises then."""
    # the copy is made here: when the timer fires, the number may be that of another socket
    with _same_socket(conn) as sock:
        timer = Timer(timeout_s, _shut_down, (sock,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def hanging_up_after_async(conn: psycopg.AsyncConnection[Any], timeout_s: float) -> Iterator[None]:
    """`hanging_up_after` for an async connection, in the thread of its event loop.

    Not asyncio.timeout: on cancellation psycopg cancels the statement, and a cancelled commit
    reports success.
    """
    timer = asyncio.get_running_loop().call_later(timeout_s, hang_up, conn)
    try:
        yield
    finally:
        timer.cancel()


def _same_socket(conn: AnyConnection) -> socket.socket:
    return socket.socket(fileno=os.dup(conn.fileno()))


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        sock.shutdown(socket.SHUT_RDWR)
