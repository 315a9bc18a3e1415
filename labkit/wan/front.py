"""One listener: take a connection, find out who dials, dial the service when it is time."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from labkit.errors import ClusterError, PortInUse
from labkit.wan.line import Connection
from labkit.wan.links import Network
from labkit.wan.peek import Finding, From, Refuse, Reply, peek_for
from labkit.wan.plan import Listener, Plan
from labkit.wan.socket_owner import command_of

log = logging.getLogger(__name__)

PEEK_TIMEOUT_S = 30.0
"""A dialler that has not said by then who it is, is refused."""

ETCD = "etcd"
"""The name of the program whose peers are known by their process."""

BACKLOG = 512
"""Connections the kernel takes ahead of this process: after a cut heals, many dial at once."""


@contextmanager
def naming_port(host: str, port: int, name: str) -> Iterator[None]:
    """Turn the failure to bind a port into one clear line.

    Raises:
        PortInUse: it is taken.
        ClusterError: it cannot be bound for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} for {name} is in use: stop what listens there"
            ) from error
        reason = os.strerror(error.errno) if error.errno else error
        raise ClusterError(f"port {port} on {host} for {name} cannot be bound: {reason}") from error


class Front:
    """A listening socket of the WAN in front of one service.

    Attributes:
        listener: its configuration.
        diallers: the number of connections opened, by the region of the client.
        refused: the number of connections refused, by reason.
    """

    def __init__(self, listener: Listener, plan: Plan, network: Network) -> None:
        self.listener = listener
        self.peek = peek_for(listener, plan)
        self.diallers: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._plan = plan
        self._network = network
        self._server: asyncio.Server | None = None
        self._arrivals: set[Arrival] = set()
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    async def listen(self) -> None:
        """Bind the port.

        Raises:
            PortInUse, ClusterError: see `naming_port`.
        """
        host, port = self._plan.host, self.listener.port
        loop = asyncio.get_running_loop()
        with naming_port(host, port, repr(self.listener.name)):
            self._server = await loop.create_server(
                lambda: Arrival(self), host, port, backlog=BACKLOG
            )

    def close(self) -> None:
        """Free the port and reset every connection. Idempotent."""
        if self._server is not None:
            self._server.close()
        for arrival in tuple(self._arrivals):
            arrival.abort()
        for connection in tuple(self._connections):
            connection.abort()

    def arrived(self, arrival: Arrival) -> None:
        """Someone has dialled."""
        self._arrivals.add(arrival)

    def gone(self, arrival: Arrival) -> None:
        """They hung up, or are no longer strangers."""
        self._arrivals.discard(arrival)

    def look(self, transport: asyncio.Transport, first: bytes) -> Finding:
        """Find out who dials: by the first bytes or, where they tell nothing, by the process."""
        return self._process(transport) if self.peek is None else self.peek(first)

    def connect(
        self, source: str, transport: asyncio.Transport, first: bytes, dialled_at_s: float
    ) -> None:
        """Begin the connection of a dialler whose region is known."""
        self.diallers[source] += 1
        route = self._network.route(source, self.listener.region)
        connection = Connection(route, dialled_at_s, self._over)
        self._connections[connection] = asyncio.create_task(self._dial(connection))
        transport.set_protocol(connection.client)
        connection.client.connection_made(transport)
        if first:
            connection.client.data_received(first)

    def refuse(self, refusal: Refuse) -> None:
        """Count a dialler that is turned away; log the first for each reason."""
        self.refused[refusal.reason] += 1
        if self.refused[refusal.reason] == 1:
            name, port = self.listener.name, self.listener.port
            log.warning("%s (port %d): refused: %s: %s", name, port, refusal.reason, refusal.seen)

    async def _dial(self, connection: Connection) -> None:
        """Connect to the service when the handshake is over, or reset the dialler if it is down."""
        loop = asyncio.get_running_loop()
        wait_s = connection.handshake_over_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        while cut := [link for link in connection.route if link.settings.cut]:
            await cut[0].alive.wait()
        host, port = self.listener.to_host, self.listener.to_port
        try:
            await loop.create_connection(lambda: connection.service, host, port)
        except OSError:
            connection.abort()

    def _process(self, transport: asyncio.Transport) -> Finding:
        """Name the etcd whose socket it is by its `--name`; None if it has hung up already."""
        ends = (transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        command = command_of(*ends, program=ETCD) if all(ends) else None
        if command is None:
            return None
        for region in self._plan.regions:
            if f"--name={region}" in command:
                return From(region)
        return Refuse("not the socket of an etcd of this lab", repr(ends[0]))

    def _over(self, connection: Connection) -> None:
        self._connections.pop(connection).cancel()


class Arrival(asyncio.Protocol):
    """A connection nobody has named yet. It has PEEK_TIMEOUT_S to say who it is."""

    _transport: asyncio.Transport
    _timeout: asyncio.TimerHandle

    def __init__(self, front: Front) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._dialled_at_s = self._loop.time()
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at once: some listeners know without a byte."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._front.arrived(self)
        silent = Refuse("did not say who it is", f"nothing that names it in {PEEK_TIMEOUT_S:g} s")
        self._timeout = self._loop.call_later(PEEK_TIMEOUT_S, self._refuse, silent)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Look again."""
        self._first += data
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection that hung up before it was named, or was refused."""
        self._leave()

    def abort(self) -> None:
        """Reset it."""
        self._transport.abort()

    def _look(self) -> None:
        finding = self._front.look(self._transport, self._first)
        while isinstance(finding, Reply):
            self._transport.write(finding.data)
            self._first = self._first[finding.consumed :]
            finding = self._front.look(self._transport, self._first)
        if isinstance(finding, Refuse):
            self._refuse(finding)
        elif isinstance(finding, From):
            self._leave()
            self._front.connect(finding.region, self._transport, self._first, self._dialled_at_s)

    def _refuse(self, refusal: Refuse) -> None:
        self._leave()
        self._front.refuse(refusal)
        self._transport.close()

    def _leave(self) -> None:
        self._timeout.cancel()
        self._front.gone(self)
