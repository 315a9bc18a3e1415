"""A WAN process in a thread, and services behind it, for the tests of labkit.wan."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from queue import SimpleQueue

from ports import HOST, free_port

from labkit.wan.client import WanClient
from labkit.wan.control import ControlServer
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan
from labkit.wan.proxy import Proxy

WEST, EAST, EU = REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
TOKEN = "a-token-for-tests-only"
PATIENCE_S = 10.0
"""How long a test waits for what must happen; nothing asserts how quickly it does."""

QUIET_S = 0.15
"""How long a test waits to see that something does not happen."""


def make_plan(
    *listeners: Listener,
    settings: LinkSettings = LinkSettings(),  # noqa: B008 - frozen
    **more: object,
) -> Plan:
    links = dict.fromkeys(permutations(REGIONS, 2), settings)
    return Plan(control_port=free_port(), token=TOKEN, links=links, listeners=listeners, **more)


def listener(
    kind: Kind, to_port: int, *, region: str = EAST, source: str | None = None
) -> Listener:
    return Listener(free_port(), region, kind, HOST, to_port, source, name=f"{region} {kind.value}")


def fixed(to_port: int, source: str = WEST, region: str = EAST) -> Listener:
    return listener(Kind.FIXED, to_port, region=region, source=source)


@contextmanager
def running(plan: Plan) -> Iterator[WanClient]:
    """The WAN of a plan in a thread of its own, until the end of the block."""
    started: SimpleQueue[BaseException | Callable[[], None]] = SimpleQueue()

    async def serve() -> None:
        over = asyncio.Event()
        proxy = Proxy(plan)
        control = ControlServer(plan, proxy)
        loop = asyncio.get_running_loop()
        try:
            await proxy.listen()
            await control.listen()
            started.put(lambda: loop.call_soon_threadsafe(over.set) and None)
            await over.wait()
        except BaseException as error:
            started.put(error)
        finally:
            control.close()
            proxy.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    stop = started.get()
    if isinstance(stop, BaseException):
        thread.join()
        raise stop
    try:
        yield WanClient(plan.control_port, plan.token)
    finally:
        stop()
        thread.join()


class Service:
    """A TCP server that gives each connection to the test."""

    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]

    def accept(self, timeout_s: float = PATIENCE_S) -> socket.socket:
        """The next connection; TimeoutError if nobody dials."""
        self._socket.settimeout(timeout_s)
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE_S)
        return connection

    def answer_once_with(self, data: bytes) -> None:
        """Answer the next connection, whatever it asks, and hang up."""

        def answer() -> None:
            with self.accept() as connection:
                connection.recv(1 << 16)
                connection.sendall(data)

        threading.Thread(target=answer).start()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def service() -> Iterator[Service]:
    server = Service()
    try:
        yield server
    finally:
        server.close()


class Rig:
    """A service in us-east-1, a WAN in front of it, and connections through it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.service = stack.enter_context(service())

    def start(self, plan: Plan) -> WanClient:
        self.wan: WanClient = self._stack.enter_context(running(plan))
        self.port = plan.listeners[0].port
        return self.wan

    def dial(self, port: int | None = None) -> socket.socket:
        client = socket.create_connection((HOST, port or self.port), timeout=PATIENCE_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._stack.enter_context(client)

    def accept(self, timeout_s: float = PATIENCE_S) -> socket.socket:
        return self._stack.enter_context(self.service.accept(timeout_s))

    def connected(self) -> tuple[socket.socket, socket.socket]:
        """A dialler's socket and the service's, after a first byte each way."""
        client = self.dial()
        client.sendall(b"?")
        server = self.accept()
        assert receive(server, 1) == b"?"
        server.sendall(b"!")
        assert receive(client, 1) == b"!"
        return client, server


@contextmanager
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(stack)


def receive(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, fewer only if the stream ends."""
    data = bytearray()
    while len(data) < size and (more := sock.recv(min(size - len(data), 1 << 20))):
        data += more
    return bytes(data)


def silent(sock: socket.socket) -> bool:
    """Nothing arrives, and the connection does not end."""
    sock.settimeout(QUIET_S)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE_S)
    return False
