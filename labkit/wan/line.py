"""A connection across the WAN: two sockets, and a delay line from each to the other."""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from struct import pack

from labkit.wan.links import Link, Route

HIGH_WATER_BYTES = 8 << 20
"""A line that holds more reads no more until it is below the low mark. What may be on its way
at once bounds what one connection carries: 8 MiB in 73 ms are 115 MB/s, more than TCP's default
window (6 MiB) would let through."""

LOW_WATER_BYTES = 4 << 20

WRITE_BUFFER_BYTES = 1 << 18
"""What may wait inside a socket's transport before its line holds the rest."""

TIMER_STEP_S = 1e-3
"""How finely epoll waits: asyncio rounds every wait up to whole milliseconds (CPython,
Lib/selectors.py, EpollSelector.select). A line aims half a step early, so that what it adds of its
own is spread around zero, not up to a millisecond late on each trip."""

_NO_LINGERING = pack("ii", 1, 0)  # closing such a socket sends a reset


class Ending(Enum):
    """The way in which one direction of a connection ends."""

    EOF = "eof"
    """The sender has finished; the other direction may go on."""
    RESET = "reset"
    """The sender's socket is gone."""


class DelayLine:
    """One direction of one connection: what `source` reads, `sink` writes a trip later, in order.

    Attributes:
        held_bytes: on their way, or held by a cut or by a sink that does not take them.
        finished: the end of the stream has been passed on.
    """

    def __init__(self, link: Link, source: Endpoint, sink: Endpoint, not_before_s: float) -> None:
        self.held_bytes = 0
        self.finished = False
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._source = source
        self._sink = sink
        self._queue: deque[tuple[float, bytes | Ending]] = deque()
        self._last_due_s = not_before_s
        self._timer: asyncio.TimerHandle | None = None
        link.lines.add(self)

    @property
    def link(self) -> Link:
        """The link it uses now."""
        return self._link

    def put(self, data: bytes) -> None:
        """Take bytes the source has read."""
        if self._sink.lost:
            return
        self._link.bytes += len(data)
        self.held_bytes += len(data)
        self._append(data)
        if self.held_bytes > HIGH_WATER_BYTES:
            self._source.pause_reading()
        if self._timer is None:
            self._release()

    def end(self, ending: Ending) -> None:
        """Take note that the source sends no more.

        What a cut holds at that moment is dropped, and the sink is reset when it heals: a
        dialler that gave up during a partition must not act after it.
        """
        if self._sink.lost:
            return
        if self._link.settings.cut:
            self._drop()
            ending = Ending.RESET
        self._append(ending)
        if self._timer is None:
            self._release()

    def settings_changed(self) -> None:
        """Go on, or hold what is on its way, because the link's settings have changed."""
        self._release()

    def sink_changed(self) -> None:
        """Go on, because the sink takes bytes again, or end, because it never will."""
        if self._sink.lost:
            self._drop()
        self._release()

    def leave(self) -> None:
        """Leave the link, because the connection is over."""
        self._drop()
        self._stop_timer()
        self._link.lines.discard(self)

    def _append(self, item: bytes | Ending) -> None:
        due_s = max(self._last_due_s, self._loop.time() + self._link.trip_s())
        self._last_due_s = due_s
        self._queue.append((due_s, item))

    def _release(self) -> None:
        """Pass on everything that is due; come back when the next item is."""
        self._stop_timer()
        now_s = self._loop.time() + TIMER_STEP_S / 2
        while self._queue and self._sink.writable and not self._link.settings.cut:
            due_s, item = self._queue[0]
            if due_s > now_s:
                self._timer = self._loop.call_at(due_s - TIMER_STEP_S / 2, self._release)
                break
            self._queue.popleft()
            self._pass_on(item)
        if self.held_bytes < LOW_WATER_BYTES:
            self._source.resume_reading()

    def _pass_on(self, item: bytes | Ending) -> None:
        if isinstance(item, bytes):
            self.held_bytes -= len(item)
            self._sink.write(item)
        elif item is Ending.EOF:
            self.finished = True
            self._sink.finish_writing()
        else:
            self._sink.abort()

    def _drop(self) -> None:
        self._queue.clear()
        self.held_bytes = 0

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Endpoint(asyncio.Protocol):
    """One socket of a connection.

    Attributes:
        lost: the socket is gone; what is sent to it vanishes.
        outgoing: takes what this socket's other side sends.
        incoming: brings what is to be written here.
    """

    outgoing: DelayLine
    incoming: DelayLine

    def __init__(self, connection: Connection) -> None:
        self.lost = False
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._keeps_up = True

    @property
    def connected(self) -> bool:
        """There is, or was, a socket."""
        return self._transport is not None

    @property
    def writable(self) -> bool:
        """It is connected, not about to close, and its reader keeps up."""
        transport = self._transport
        return transport is not None and self._keeps_up and not transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket; what already waits for it may flow."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._transport = transport
        self.incoming.sink_changed()

    def data_received(self, data: bytes) -> None:
        """Pass on what was read, later."""
        self.outgoing.put(data)

    def eof_received(self) -> bool:
        """Pass on the end of the stream, later; the socket lives on unless a cut is in the way.

        A half-close cannot be told from a close here, so during a cut both are a close.
        """
        self.outgoing.end(Ending.EOF)
        return not self.outgoing.link.settings.cut

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the other socket, later."""
        self.lost = True
        self.incoming.sink_changed()
        self._connection.lost(self)

    def pause_writing(self) -> None:
        """Stop reading: the reader at the other side is slow."""
        self._keeps_up = False

    def resume_writing(self) -> None:
        """Read again: the reader at the other side has caught up."""
        self._keeps_up = True
        self.incoming.sink_changed()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def finish_writing(self) -> None:
        """Send the end of the stream; close both sockets when both directions have ended."""
        if self._transport is not None:
            try:
                self._transport.write_eof()
            except OSError:  # the peer has reset the socket and asyncio has not noticed yet
                self.abort()
        self._connection.direction_finished()

    def pause_reading(self) -> None:
        """Read no more for now."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the socket when what was written has left."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Reset the socket: unlike a clean end, no reader takes this for a whole answer."""
        if self._transport is not None and not self.lost:
            socket: TransportSocket = self._transport.get_extra_info("socket")
            with suppress(OSError):  # it may be gone already
                socket.setsockopt(SOL_SOCKET, SO_LINGER, _NO_LINGERING)
            self._transport.abort()


class Connection:
    """A dialler's socket, the service's socket, and a line in each direction.

    Attributes:
        client: the dialler's socket.
        service: the service's socket; not connected before the handshake is over.
        handshake_over_s: when the service may be dialled, on the event loop's clock.
    """

    def __init__(
        self, route: Route, dialled_at_s: float, on_over: Callable[[Connection], None]
    ) -> None:
        """Make the lines; bytes pass no earlier than a handshake begun at `dialled_at_s` allows."""
        there, back = route
        there_s, back_s = there.trip_s(), back.trip_s()
        self.handshake_over_s = dialled_at_s + there_s + back_s
        first_bytes_s = self.handshake_over_s + there_s
        self.client = Endpoint(self)
        self.service = Endpoint(self)
        self._forward = DelayLine(there, self.client, self.service, first_bytes_s)
        self._backward = DelayLine(back, self.service, self.client, first_bytes_s + back_s)
        self.client.outgoing = self.service.incoming = self._forward
        self.client.incoming = self.service.outgoing = self._backward
        self._on_over = on_over
        self._closing = False
        self._over = False
        there.open_connections += 1
        there.total_connections += 1

    @property
    def route(self) -> Route:
        """The links it uses now."""
        return self._forward.link, self._backward.link

    def lost(self, endpoint: Endpoint) -> None:
        """One socket is gone: reset the other a trip later, unless both were being closed."""
        other = self.service if endpoint is self.client else self.client
        if other.lost or not other.connected:
            self._finish()
        elif not self._closing:
            endpoint.outgoing.end(Ending.RESET)

    def direction_finished(self) -> None:
        """One direction has ended; when both have, the sockets are closed."""
        if self._forward.finished and self._backward.finished:
            self._closing = True
            self.client.close()
            self.service.close()

    def abort(self) -> None:
        """Reset both sockets now; nothing that is read or held goes any further."""
        self._closing = True
        self.client.abort()
        self.service.abort()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self._forward.link.open_connections -= 1
        self._forward.leave()
        self._backward.leave()
        self._on_over(self)
