"""Refusing to start where another process listens."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import psutil

from labkit.cluster.embedded.layout import HOST
from labkit.errors import PortInUse


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
                    "that process, or make a lab elsewhere with `labkit up --port-base N` "
                    "and another LABKIT_HOME"
                ) from error


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    try:
        for connection in psutil.net_connections("inet4"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
