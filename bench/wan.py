"""How exact and how fast the WAN process is: its own error a trip, throughput, idle cost.

    python -m bench.wan

The error of a trip is half of (round trip through the WAN - round trip without it) - the delay.
Figures are of this machine, now: run it when nothing else is.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import permutations
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from labkit.measurement.percentiles import nearest_rank
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan

HOST = "127.0.0.1"
PORT = 24_100
DELAYS_MS = (0.0, 33.0, 73.0)
ROUND_TRIPS = 60
BULK_DELAY_MS = 70.0
BULK_BYTES = 512 << 20
IDLE_LISTENERS = 60
IDLE_CONNECTIONS = 100
IDLE_S = 5.0


@contextmanager
def wan(delay_ms: float, to_port: int, listeners: int = 1) -> Iterator[psutil.Process]:
    """A WAN process between two regions, its first listener on PORT + 1."""
    plan = Plan(
        control_port=PORT,
        token=secrets.token_urlsafe(),
        links=dict.fromkeys(permutations(("near", "far"), 2), LinkSettings(delay_ms)),
        listeners=tuple(
            Listener(PORT + 1 + i, "far", Kind.FIXED, HOST, to_port, source="near")
            for i in range(listeners)
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wan.json"
        plan.save(path)
        command = [sys.executable, "-m", "labkit.wan", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline() != b"ready\n":
                    sys.exit("bench/wan.py: the WAN process did not start")
                yield psutil.Process(process.pid)
            finally:
                process.terminate()


@contextmanager
def server(echo: bool) -> Iterator[int]:
    """The port of a server that echoes, or swallows, what it is sent."""
    listening = socket.create_server((HOST, 0), backlog=IDLE_CONNECTIONS)

    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(ConnectionError):  # the WAN ends with a reset
            while data := connection.recv(1 << 20):
                if echo:
                    connection.sendall(data)
            connection.sendall(b".")  # all of it has arrived

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed: the bench is over
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def round_trips_ms(port: int, count: int) -> list[float]:
    with socket.create_connection((HOST, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times_ms = []
        for _ in range(count + 3):
            begun_s = perf_counter()
            sock.sendall(b"?" * 100)
            sock.recv(100)
            times_ms.append((perf_counter() - begun_s) * 1e3)
        return times_ms[3:]  # the first pay for the connection


def megabytes_per_s(port: int, size: int) -> float:
    with socket.create_connection((HOST, port)) as sock:
        block = bytes(1 << 20)
        begun_s = perf_counter()
        for _ in range(size // len(block)):
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
        return size / 1e6 / (perf_counter() - begun_s)


def trips() -> Table:
    table = Table("one way ms", "median error ms", "p90 ms", "max ms", title="own error a trip")
    with server(echo=True) as port:
        direct_ms = median(round_trips_ms(port, 500))
        for delay_ms in DELAYS_MS:
            with wan(delay_ms, port):
                times_ms = round_trips_ms(PORT + 1, ROUND_TRIPS)
            errors_ms = [(time_ms - direct_ms) / 2 - delay_ms for time_ms in times_ms]
            figures = (median(errors_ms), nearest_rank(np.array(errors_ms), 90), max(errors_ms))
            table.add_row(f"{delay_ms:g}", *(f"{figure:.2f}" for figure in figures))
    return table


def throughput() -> Table:
    table = Table("way", "MB/s", title="one connection, one direction")
    with server(echo=False) as port:
        table.add_row("direct", f"{megabytes_per_s(port, BULK_BYTES):.0f}")
        for delay_ms in (0.0, BULK_DELAY_MS):
            with wan(delay_ms, port):
                rate = megabytes_per_s(PORT + 1, BULK_BYTES)
            table.add_row(f"WAN, {delay_ms:g} ms one way", f"{rate:.0f}")
    return table


def idle() -> Table:
    title = f"idle: {IDLE_LISTENERS} listeners, {IDLE_CONNECTIONS} connections"
    table = Table("MB resident", "% of a core", title=title)
    with ExitStack() as stack:
        port = stack.enter_context(server(echo=True))
        process = stack.enter_context(wan(33.0, port, listeners=IDLE_LISTENERS))
        for i in range(IDLE_CONNECTIONS):
            address = (HOST, PORT + 1 + i % IDLE_LISTENERS)
            sock = stack.enter_context(socket.create_connection(address))
            sock.sendall(b"?")
        sleep(1)
        process.cpu_percent()
        sleep(IDLE_S)
        table.add_row(f"{process.memory_info().rss / 1e6:.0f}", f"{process.cpu_percent():.1f}")
    return table


def main() -> None:
    """Print one table after the other."""
    for measure in (trips, throughput, idle):
        Console().print(measure())


if __name__ == "__main__":
    main()
