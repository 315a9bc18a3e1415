"""Ports of 127.0.0.1 for what tests start."""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle

HOST = "127.0.0.1"
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORT_BASE = int(os.environ.get("LABKIT_TEST_PORT_BASE", "11000")) + 2800 * WORKER
"""The embedded lab has the 1000 ports from here, the one in containers the 400 after them, the one
of `cockroach` processes the 1000 after those, and labs that tests make for themselves 400 more;
then come those of the next worker."""
_ALL = range(26_000, 32_000)
"""Below the kernel's ephemeral ports, which an outgoing connection may take at any moment."""

_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_own = _ALL[WORKER::_workers]
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
