"""Ports of 127.0.0.1 for what tests start."""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle

HOST = "127.0.0.1"
_ALL = range(25_000, 31_000)
"""Below the kernel's ephemeral ports, which an outgoing connection may take at any moment."""

_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_own = _ALL[_WORKER::_WORKERS]
_ports = cycle(random.sample(_own, len(_own)))


def free_port() -> int:
    """A port that nobody has bound; none is given twice before all were, nor to two workers."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port
    raise AssertionError("a cycle does not end")
