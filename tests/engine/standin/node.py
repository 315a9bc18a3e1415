"""One node: its port, its peers, whether it may serve, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
import struct
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from . import catalog, gossip, wire
from .auth import certified
from .catalog import Catalog, Member
from .errors import Refused, SqlError, Unreachable
from .gossip import Gossip, Peer, Record
from .metrics import Counters
from .postgres import Store, cancel

TXN_EXPIRY_S = 5.0
"""A transaction without heartbeats for so long is aborted by whoever meets its locks
(architecture/transaction-layer.md, v25.4)."""
SPEAK_AS_NODES = ("node", "root")
"""Whose certificate a secure cluster takes requests between nodes with (cockroach: pkg/rpc/auth.go,
requireSuperUser)."""
PING_S = 1.5
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Flags:
    """What `cockroach start` was told.

    Attributes:
        listen, http: host and port; an empty host is every address.
        certs: None with --insecure.
        folder: where the node keeps its uid; None for a store in memory.
    """

    listen: tuple[str, int]
    http: tuple[str, int]
    advertise: str
    locality: tuple[tuple[str, str], ...]
    elsewhere: tuple[tuple[tuple[str, str], str], ...]
    join: tuple[str, ...]
    certs: Path | None
    folder: Path | None
    store: Store

    @property
    def locality_text(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.locality)


@dataclass(slots=True)
class Node:
    """A running node."""

    flags: Flags
    catalog: Catalog
    gossip: Gossip
    counters: Counters = field(default_factory=Counters)
    member: Member | None = None
    draining: bool = False
    told_to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    has_catalog: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: set[Any] = field(default_factory=set)
    tls: ssl.SSLContext | None = None
    serve_sql: Callable[..., Awaitable[None]] | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def create(cls, flags: Flags) -> Node:
        me = Record(_uid(flags.folder), flags.advertise, flags.locality, flags.elsewhere)
        client = None if flags.certs is None else client_tls(flags.certs)
        node = cls(flags, Catalog(flags.store), Gossip(me, flags.join, client))
        node.tls = None if flags.certs is None else server_tls(flags.certs)
        return node

    @property
    def region(self) -> str:
        return self.gossip.me.region

    @property
    def ready(self) -> bool:
        """What /health?ready=1 says (monitoring-and-alerting.md, v25.4)."""
        return self.why_not_ready() == ""

    def why_not_ready(self) -> str:
        if self.member is None:
            return "node is waiting for cluster initialization"
        if self.draining:
            return "node is shutting down"
        member = self.catalog.members.get(self.member.uid)
        if member is not None and member.state != "active":
            return f"node is {member.state}"
        return "" if self.has_majority() else "node is not healthy"

    def has_majority(self) -> bool:
        """Whether more than half of the nodes are in reach, this one included."""
        members = [m for m in self.catalog.members.values() if m.state != "decommissioned"]
        return 2 * len(self.live_members()) > len(members)

    def live_members(self) -> list[Member]:
        live = self.gossip.live()
        members = sorted(self.catalog.members.values(), key=lambda member: member.node_id)
        return [m for m in members if m.uid in live and m.state != "decommissioned"]

    def live_regions(self) -> dict[str, list[Member]]:
        """Region -> its nodes in reach."""
        regions: dict[str, list[Member]] = {}
        for member in self.live_members():
            region = dict(part.split("=", 1) for part in member.locality.split(",") if part)
            regions.setdefault(region.get("region", ""), []).append(member)
        return regions

    async def start(self) -> None:
        """Open the port and go looking for the others.

        Raises:
            OSError: the port is taken.
        """
        host, port = self.flags.listen
        server = await asyncio.start_server(self._accept, host or None, port)
        self.gossip.start()
        self._tasks = [
            asyncio.create_task(server.serve_forever()),
            asyncio.create_task(self._join()),
        ]

    async def _join(self) -> None:
        """Wait until the cluster is made, then become a member of it."""
        while True:
            with suppress(Unreachable, SqlError):
                await self.catalog.open()
                break
            await asyncio.sleep(POLL_S)
        self.has_catalog.set()
        self._tasks.append(asyncio.create_task(self.catalog.keep_fresh()))
        while not self._belongs():
            await asyncio.sleep(POLL_S)
        while self.member is None:
            me = self.gossip.me
            with suppress(Unreachable, SqlError):
                self.member = await self.catalog.join(
                    me.uid, me.address, me.address, self.flags.locality_text
                )
        print(f"node {self.member.node_id} joined as {self.member.address}", flush=True)

    def _belongs(self) -> bool:
        """A node that was in the cluster is in it again without asking; a new one must be told."""
        if self.gossip.me.uid in self.catalog.members:
            self.gossip.cluster_id = self.catalog.cluster_id
        return self.gossip.cluster_id != ""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code == gossip.HELLO_CODE:
                if self.tls is not None:
                    writer.write(b"S")
                    await writer.drain()
                    await writer.start_tls(self.tls)
                    if certified(writer) not in SPEAK_AS_NODES:
                        return
                await self._answer_nodes(reader, writer)
            elif code == wire.CANCEL_REQUEST:
                await cancel(self.flags.store, head + await reader.readexactly(length - 8))
            elif self.serve_sql is not None:
                await self.serve_sql(self, reader, writer, head)
        except (OSError, EOFError, ssl.SSLError, struct.error):
            pass  # whoever it was is gone
        finally:
            writer.close()

    async def _answer_nodes(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def answer(request: dict[str, Any]) -> None:
            try:
                reply = await self.handle(request)
            except Refused as error:
                reply = {"refused": str(error)}
            with suppress(OSError):
                await gossip.write_frame(writer, {**reply, "number": request["number"]})

        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    request = await gossip.read_frame(reader)
                except (OSError, EOFError, ssl.SSLError):
                    return
                group.create_task(answer(request))

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer another node, or a `cockroach` command line.

        Raises:
            Refused: it cannot be done.
        """
        match request["op"]:
            case "heartbeat":
                return self.gossip.told(request)
            case "ping":
                return {}
            case "init":
                await self._init()
                return {}
            case "drain":
                await self.drain()
                if request.get("shutdown"):
                    self.told_to_stop.set()
                return {}
            case "identity":
                return {"node_id": self.member.node_id if self.member else 0}
            case "refresh":
                await self._refresh()
                return {}
            case "members":
                await self._refresh()
                live = self.gossip.live()
                return {
                    "members": [
                        {**_plain(member), "live": member.uid in live}
                        for member in sorted(
                            self.catalog.members.values(), key=lambda member: member.node_id
                        )
                    ]
                }
            case "set-state":
                return await self._set_state(request["nodes"], request["state"])
            case other:
                raise Refused(f"the stand-in does not model: request {other!r}")

    async def _refresh(self) -> None:
        with suppress(Unreachable, SqlError):
            await self.catalog.refresh()

    async def tell_everybody(self) -> None:
        """Let all nodes in reach read the catalogue again: what was changed holds everywhere."""

        async def tell(peer: Peer) -> None:
            with suppress(Unreachable, Refused):
                await peer.line.call({"op": "refresh"})

        await self._refresh()
        await asyncio.gather(*(tell(peer) for peer in self.gossip.peers.values() if peer.live))

    async def _init(self) -> None:
        await self.has_catalog.wait()
        try:
            made = self.gossip.cluster_id == "" and await self.catalog.initialise(str(uuid.uuid4()))
        except (Unreachable, SqlError) as error:
            raise Refused(str(error)) from error
        if not made:
            raise Refused("cluster has already been initialized")
        self.gossip.cluster_id = self.catalog.cluster_id

    async def _set_state(self, nodes: list[int], state: str) -> dict[str, Any]:
        by_id = {member.node_id: member for member in self.catalog.members.values()}
        for number in nodes:
            if number not in by_id:
                raise Refused(f"node {number} does not exist")
        for number in nodes:
            await self.catalog.put(
                "member", by_id[number].uid, {**_plain(by_id[number]), "state": state}
            )
        await self.tell_everybody()
        return await self.handle({"op": "members"})

    async def quorum(self, gone: Callable[[], bool]) -> None:
        """Wait until more than half of the nodes are in reach.

        Args:
            gone: whether nobody waits for it any more.

        Raises:
            EOFError: nobody does.
        """
        while not self.has_majority():
            if gone():
                raise EOFError
            await asyncio.sleep(POLL_S)

    async def replicate(self, database: str) -> bool:
        """Let another region take part in a commit, where the survival goal says so.

        Returns False when no other region answered within TXN_EXPIRY_S.
        """
        if database not in self.catalog.databases:  # just made, by another node
            await self._refresh()
        known = self.catalog.databases.get(database)
        if known is None or known.goal != "region":
            return True
        deadline = monotonic() + TXN_EXPIRY_S
        while monotonic() < deadline:
            if await self._some_region_answers():
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _some_region_answers(self) -> bool:
        """Home has two of five votes, so the first other region to answer makes the majority."""
        regions: dict[str, list[Peer]] = {}
        for peer in sorted(self.gossip.peers.values(), key=lambda peer: peer.rtt_s):
            if peer.live and peer.record.region != self.region:
                regions.setdefault(peer.record.region, []).append(peer)
        asked = [asyncio.create_task(self._ping(peers)) for peers in regions.values()]
        try:
            for answer in asyncio.as_completed(asked):
                if await answer:
                    return True
            return False
        finally:
            for task in asked:
                task.cancel()

    async def _ping(self, peers: list[Peer]) -> bool:
        for peer in peers[:2]:
            with suppress(Unreachable, Refused):
                await peer.line.call({"op": "ping"}, PING_S)
                return True
        return False

    def setting_s(self, name: str, default: float) -> float:
        """A cluster setting that is a duration, in seconds."""
        text = self.catalog.settings.get(name)
        if text is None:
            return default
        return float(text.removesuffix("s")) if text.endswith("s") else float(text)

    async def drain(self) -> None:
        """Not ready first, then sessions end, those in a transaction last (node-shutdown.md)."""
        if self.draining:
            return
        self.draining = True
        await asyncio.sleep(self.setting_s("server.shutdown.initial_wait", 0))
        deadline = monotonic() + self.setting_s("server.shutdown.connections.timeout", 0)
        while self.sessions and monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        deadline = monotonic() + self.setting_s("server.shutdown.transactions.timeout", 10)
        while self.sessions:
            for session in list(self.sessions):
                if not session.busy or monotonic() >= deadline:
                    session.end()
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self.gossip.stop()
        for task in self._tasks:
            task.cancel()


def _plain(member: Member) -> dict[str, Any]:
    return {
        "uid": member.uid,
        "node_id": member.node_id,
        "address": member.address,
        "sql_address": member.sql_address,
        "locality": member.locality,
        "state": member.state,
    }


def _uid(folder: Path | None) -> str:
    """Who this is: the same for as long as its store is there."""
    if folder is None:
        return str(uuid.uuid4())
    file = folder / "standin-uid"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(str(uuid.uuid4()))
    return file.read_text()


def server_tls(certs: Path) -> ssl.SSLContext:
    """As a node speaks: client certificates are welcome, and checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs / "node.crt", certs / "node.key")
    context.load_verify_locations(certs / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_tls(certs: Path, user: str = "") -> ssl.SSLContext:
    """As a node (or a user with a certificate) dials: the other's names must match."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certs / "ca.crt")
    name = f"client.{user}" if user else "node"
    context.load_cert_chain(certs / f"{name}.crt", certs / f"{name}.key")
    return context


__all__ = ["TXN_EXPIRY_S", "Flags", "Node", "catalog", "client_tls", "server_tls"]
