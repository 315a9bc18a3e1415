"""A lab's ports on this machine: one for each part, and nobody else's."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

import psutil

from labkit.errors import PortInUse, TopologyError

HOST = "127.0.0.1"
"""Nothing of a lab listens on another address of this machine."""
LAST = 65535


def require_distinct(parts: Iterable[tuple[int, str]]) -> None:
    """Make sure that each part of a lab has a port of its own.

    Args:
        parts: every port, and what it is for.

    Raises:
        TopologyError: two have the same, or one has none; names them.
    """
    known: dict[int, str] = {}
    for port, what in parts:
        if port in known:
            raise TopologyError(
                f"{known[port]} and {what} need the same port {port}: take away nodes or regions, "
                "or make a new lab with another --port-base"
            )
        if port > LAST:
            raise TopologyError(
                f"{what} needs port {port}, and {LAST} is the last one: take away nodes or "
                "regions, or make a new lab with a lower --port-base"
            )
        known[port] = what


def require_free(wanted: Mapping[int, str]) -> None:
    """Make sure that nobody listens on ports that are about to be used.

    Args:
        wanted: port -> what it is for.

    Raises:
        PortInUse: names the port, what it is for, and who has it when that can be seen.
    """
    for port, purpose in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise PortInUse(
                    f"port {port} ({purpose}) is taken{_holder(port)} ({error.strerror}): end "
                    "that process, or take other ports with `labkit up --port-base N` (a lab that "
                    "was started keeps its own: set LABKIT_HOME to make another)"
                ) from error


def _holder(port: int) -> str:
    """Tell who listens on a port, as far as this user may see."""
    try:
        for connection in psutil.net_connections("inet4"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
