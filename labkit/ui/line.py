"""Connections to balancers on which no question can hang."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg

from labkit import libpq
from labkit.cluster.base import Cluster
from labkit.trading.connection import hanging_up_after

T = TypeVar("T")

CONNECT_S = 2
ANSWER_S = 2.5
"""Longer than a failover's every stall, shorter than a reader's patience."""


class Line:
    """Keeps one connection open, for one thread; made anew after whatever goes wrong."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: psycopg.Connection[Any] | None = None

    def connect(self) -> psycopg.Connection[Any]:
        """Return the open connection, or a new one.

        Raises:
            psycopg.OperationalError: there is none to be had; nothing was sent.
        """
        if self._conn is not None and not self._conn.closed:
            try:
                self._conn.pgconn.consume_input()  # sees an end that came while nobody asked
            except psycopg.OperationalError:
                self.close()
        if self._conn is None or self._conn.closed:
            self._conn = libpq.connect(
                self._dsn,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_S,
                application_name="labkit-desk",
            )
        return self._conn

    def ask(self, question: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Ask something, with a deadline for connecting and one for the answer.

        Raises:
            psycopg.Error: no connection, no answer in time, or an error of the server.
            LabError: what the question raises.
        """
        conn = self.connect()
        try:
            with hanging_up_after(conn, ANSWER_S):
                return question(conn)
        except psycopg.Error:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection; the next question makes a new one."""
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.close()
        self._conn = None


class RegionLine:
    """Keeps one line open, to the balancer of the region that was asked for last."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._region = ""
        self._line: Line | None = None

    def to(self, region: str) -> Line:
        """Return the line to a region, and close the one to another region.

        Raises:
            LabError: the region has no address; a lab that is gone, for example.
        """
        if self._line is None or self._region != region:
            self.close()
            self._line, self._region = Line(self._cluster.dsn(region)), region
        return self._line

    def close(self) -> None:
        """Close the line. Idempotent."""
        if self._line is not None:
            self._line.close()
            self._line = None
