"""Nodes talking to nodes, at the addresses that they were told and no others.

Every connection begins with HELLO, so that the port of SQL can serve both, as CockroachDB's does.
Frames are JSON behind a length. A node dials its --join list, learns who else there is, and from
then on dials each at the address that this one's --locality-advertise-addr has for it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from .errors import Refused, Unreachable

HELLO_CODE = 0x53544E44
HELLO = struct.pack("!ii", 8, HELLO_CODE)
HEARTBEAT_S = 1.0
LIVE_S = 3.5
"""Whoever has not answered for so long is not live. The number is this double's."""
CALL_S = 2.5

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Record:
    """What a node tells about itself.

    Attributes:
        uid: the same for as long as its store is.
        locality: tiers, in order.
        elsewhere: --locality-advertise-addr: (tier, address) in order.
    """

    uid: str
    address: str
    locality: tuple[tuple[str, str], ...]
    elsewhere: tuple[tuple[tuple[str, str], str], ...]

    @property
    def region(self) -> str:
        return dict(self.locality).get("region", "")

    def address_for(self, dialler: Record) -> str:
        """The first entry whose tier the dialler has gives the address (AddressForLocality)."""
        for tier, address in self.elsewhere:
            if tier in dialler.locality:
                return address
        return self.address

    def to_json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "address": self.address,
            "locality": self.locality,
            "elsewhere": self.elsewhere,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        return cls(
            data["uid"],
            data["address"],
            tuple((key, value) for key, value in data["locality"]),
            tuple(((tier[0], tier[1]), address) for tier, address in data["elsewhere"]),
        )


async def write_frame(writer: asyncio.StreamWriter, data: dict[str, Any]) -> None:
    packed = json.dumps(data).encode()
    writer.write(struct.pack("!i", len(packed)) + packed)
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    data: dict[str, Any] = json.loads(await reader.readexactly(length))
    return data


@dataclass(slots=True)
class Line:
    """A connection to one address, made when first needed; many calls may be under way."""

    address: str
    tls: ssl.SSLContext | None
    _writer: asyncio.StreamWriter | None = None
    _task: asyncio.Task[None] | None = None
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _last: int = 0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def call(self, request: dict[str, Any], timeout_s: float = CALL_S) -> dict[str, Any]:
        """Ask the other end.

        Raises:
            Unreachable: no answer in time.
            Refused: it said no.
        """
        try:
            answer = await asyncio.wait_for(self._ask(request), timeout_s)
        except (OSError, EOFError, TimeoutError, ssl.SSLError) as error:
            self.close()
            raise Unreachable(f"{self.address}: {error or 'no answer'}") from error
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        async with self._lock:
            if self._writer is None:
                await self._connect()
        self._last += 1
        number = self._last
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            if self._writer is None:
                raise ConnectionResetError("closed")
            await write_frame(self._writer, {**request, "number": number})
            return await future
        finally:
            self._waiting.pop(number, None)

    async def _connect(self) -> None:
        host, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(HELLO)
            if self.tls is not None:
                # a handshake that comes together with HELLO would be read as if it were a frame
                await reader.readexactly(1)
                await writer.start_tls(self.tls, server_hostname=host)
        except BaseException:
            writer.close()
            raise
        self._writer = writer
        self._task = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(OSError, EOFError, ssl.SSLError):
            while True:
                answer = await read_frame(reader)
                future = self._waiting.pop(answer.get("number", 0), None)
                if future is not None and not future.done():
                    future.set_result(answer)
        self.close()

    def close(self) -> None:
        """Hang up; what waits for an answer fails."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was closed"))


@dataclass(slots=True)
class Peer:
    """Another node, as seen from here."""

    record: Record
    line: Line
    answered: float = float("-inf")
    rtt_s: float = float("inf")

    @property
    def live(self) -> bool:
        return monotonic() - self.answered < LIVE_S


@dataclass(slots=True)
class Gossip:
    """Who there is, and who is in reach.

    Attributes:
        cluster_id: empty until `init`; learnt from others.
    """

    me: Record
    join: tuple[str, ...]
    tls: ssl.SSLContext | None
    cluster_id: str = ""
    peers: dict[str, Peer] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self) -> None:
        for address in self.join:
            self._spawn(f"join {address}", self._knock(Line(address, self.tls)))

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def live(self) -> set[str]:
        """The uids of nodes in reach, this one included."""
        return {self.me.uid, *(uid for uid, peer in self.peers.items() if peer.live)}

    def told(self, request: dict[str, Any]) -> dict[str, Any]:
        """A peer's heartbeat has come; the answer is ours."""
        self._learn(request)
        return self._mine()

    def _mine(self) -> dict[str, Any]:
        records = [self.me, *(peer.record for peer in self.peers.values())]
        return {
            "op": "heartbeat",
            "uid": self.me.uid,
            "cluster_id": self.cluster_id,
            "records": [record.to_json() for record in records],
        }

    def _learn(self, data: dict[str, Any]) -> None:
        self.cluster_id = self.cluster_id or data["cluster_id"]
        for record in map(Record.from_json, data["records"]):
            self._meet(record, first_hand=record.uid == data["uid"])

    def _meet(self, record: Record, *, first_hand: bool) -> None:
        if record.uid == self.me.uid:
            return
        known = self.peers.get(record.uid)
        if known is None:
            line = Line(record.address_for(self.me), self.tls)
            self.peers[record.uid] = Peer(record, line)
            self._spawn(record.uid, self._keep_in_touch(record.uid))
        elif first_hand and known.record != record:  # it was started again with other flags
            known.record = record
            known.line.close()
            known.line = Line(record.address_for(self.me), self.tls)

    async def _knock(self, line: Line) -> None:
        """Dial an address of the --join list until somebody answers there."""
        while True:
            with suppress(Unreachable, Refused):
                self._learn(await line.call(self._mine()))
                line.close()
                return
            await asyncio.sleep(HEARTBEAT_S)

    async def _keep_in_touch(self, uid: str) -> None:
        while True:
            peer = self.peers[uid]
            began = monotonic()
            with suppress(Unreachable, Refused):
                answer = await peer.line.call(self._mine())
                if answer["uid"] == uid:  # another node may have that address now
                    peer.answered = monotonic()
                    peer.rtt_s = peer.answered - began
                self._learn(answer)
            await asyncio.sleep(HEARTBEAT_S)

    def _spawn(self, name: str, work: Any) -> None:
        self._tasks[name] = asyncio.create_task(work)
