"""A HAProxy that runs: what its statistics say, and changing its servers without a restart.

Its runtime API (HAProxy 2.8 management guide, "9.3. Unix Socket commands": add server, del server)
listens on a socket in the state folder that nobody else can open. Sessions of other servers go on.
"""

from __future__ import annotations

import csv
import os
import socket
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from labkit.clock import wait_until
from labkit.errors import ClusterError

TIMEOUT_S = 5.0
"""For an answer."""
CHECKED_S = 30.0
"""How long a new server's first checks, or the end of a removed one's sessions, may take."""
LONGEST_SOCKET_PATH = 100
"""sun_path has 104 bytes on macOS and 108 on Linux."""

_NO_SERVERS = ("FRONTEND", "BACKEND")
"""Rows of the statistics that are sums."""

Servers = Mapping[str, Mapping[str, str]]
"""Proxy -> server's name -> the rest of its `server` line."""


def servers_up(statistics: str) -> dict[str, list[str]]:
    """Return what a HAProxy sends traffic to: for each proxy the names of its servers that are up.

    Args:
        statistics: as CSV (`/;csv`, `show stat`).
    """
    up: dict[str, list[str]] = {proxy: [] for proxy in servers(statistics)}
    for row in _rows(statistics):
        if row["svname"] not in _NO_SERVERS and row["status"].startswith("UP"):
            up[row["pxname"]].append(row["svname"])
    return up


def servers(statistics: str) -> dict[str, set[str]]:
    """For each proxy that has servers, or could have, their names; `statistics` as CSV."""
    found: dict[str, set[str]] = {}
    for row in _rows(statistics):
        names = found.setdefault(row["pxname"], set())
        if row["svname"] not in _NO_SERVERS:
            names.add(row["svname"])
    backends = {row["pxname"] for row in _rows(statistics) if row["svname"] == "BACKEND"}
    return {proxy: names for proxy, names in found.items() if proxy in backends - {"statistics"}}


def answers(path: Path) -> bool:
    """Tell whether a HAProxy listens on its socket; one that was killed leaves the file."""
    try:
        _ask(path, "show version")
    except ClusterError:
        return False
    return True


def give(path: Path, wanted: Servers) -> None:
    """Let a running HAProxy have these servers in these proxies, and no others. Idempotent.

    A new server gets no session before its checks have said what it is: HAProxy would take it for
    healthy until two have failed. A server that goes loses its sessions.

    Raises:
        ClusterError: it does not answer, or refuses; says what it said.
        NotReady: a new server was not checked, or an old one's sessions did not end, in time.
    """
    there = _states(path)
    new = [
        (proxy, name)
        for proxy, servers in wanted.items()
        for name in servers
        if (proxy, name) not in there
    ]
    for proxy, name in new:
        server = f"{proxy}/{name}"
        _order(path, f"add server {server} {wanted[proxy][name]}", "New server registered.")
        _order(path, f"enable health {server}")
        _order(path, f"set server {server} state drain")
    for proxy, name in there:
        if proxy in wanted and name not in wanted[proxy]:
            _remove(path, f"{proxy}/{name}")
    if new:
        wait_until(lambda: _checked(path, new), what=f"checks of {new[0][1]}", timeout_s=CHECKED_S)
    for proxy, name in new:
        _order(path, f"set server {proxy}/{name} state ready")


def _checked(path: Path, servers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether the checks of new servers have said whether they are up."""
    states = [_states(path)[server] for server in servers]
    return all(
        row["status"].startswith("DOWN") or row["check_status"] in ("L4OK", "L6OK", "L7OK")
        for row in states
    )


def _remove(path: Path, server: str) -> None:
    _order(path, f"set server {server} state maint")
    said = ""

    def removed() -> bool:
        nonlocal said
        _order(path, f"shutdown sessions server {server}")
        said = _ask(path, f"del server {server}")
        return said == "Server deleted."

    wait_until(removed, what=f"end of {server}", timeout_s=CHECKED_S, hint=lambda: said)


def _states(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the statistics of each server."""
    only_servers = 4
    rows = _rows(_ask(path, f"show stat -1 {only_servers} -1"))
    return {(row["pxname"], row["svname"]): row for row in rows}


def _rows(statistics: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(statistics.lstrip("# "))))


def _order(path: Path, command: str, expected: str = "") -> None:
    said = _ask(path, command)
    if said != expected:
        raise ClusterError(f"HAProxy at {path} refuses `{command}`: {said or 'it said nothing'}")


def _ask(path: Path, command: str) -> str:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            _connect(connection, path)
            connection.sendall(f"{command}\n".encode())
            chunks = iter(lambda: connection.recv(65536), b"")
            return b"".join(chunks).decode(errors="replace").strip()
    except OSError as error:
        raise ClusterError(
            f"HAProxy does not answer on {path} ({error}): `labkit heal` starts what is down"
        ) from error


def _connect(connection: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        connection.connect(str(path))
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # a short name for a long path; Linux only
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
