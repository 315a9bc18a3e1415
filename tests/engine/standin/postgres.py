"""Talking to the shared PostgreSQL: for clients, and for the double itself."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from . import wire
from .errors import SqlError, Unreachable
from .wire import Message


@dataclass(frozen=True, slots=True)
class Store:
    """Where the shared PostgreSQL is, and its superuser."""

    host: str
    port: int
    user: str = "root"

    @classmethod
    def parse(cls, text: str) -> Store:
        """`[USER@]HOST:PORT`."""
        user, _, address = text.rpartition("@")
        host, _, port = address.rpartition(":")
        return cls(host, int(port), user or "root")


@dataclass(slots=True)
class Backend:
    """One session in a PostgreSQL-wire server that asks for no password.

    Attributes:
        greeting: what the server said before it was first ready.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    greeting: tuple[Message, ...] = ()

    @classmethod
    async def open(cls, host: str, port: int, parameters: Mapping[str, str]) -> Backend:
        """Begin a session.

        Raises:
            Unreachable: there is no such server.
            SqlError: it refused.
        """
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            raise Unreachable(f"{host}:{port}: {error}") from error
        backend = cls(reader, writer)
        writer.write(wire.startup(parameters))
        try:
            await backend.greet()
        except BaseException:
            writer.close()
            raise
        return backend

    async def greet(self) -> None:
        """Read what the server says before it is ready.

        Raises:
            Unreachable: it hung up.
            SqlError: it refused.
        """
        try:
            answer = await self.collect()
        except (EOFError, OSError) as error:
            raise Unreachable("it closed the connection") from error
        for message in answer:
            if message.kind == b"R" and struct.unpack_from("!i", message.body) != (0,):
                raise SqlError("28000", "it wants a password")
            if message.kind == b"E":
                fields = wire.error_fields(message)
                raise SqlError(fields["C"], fields["M"])
        self.greeting = tuple(answer)

    async def collect(self) -> list[Message]:
        """Everything up to and with the next ReadyForQuery, or a fatal error."""
        answer: list[Message] = []
        while not answer or answer[-1].kind != b"Z":
            answer.append(await wire.read(self.reader))
            if answer[-1].kind == b"E" and wire.error_fields(answer[-1]).get("V") == "FATAL":
                break
        return answer

    async def send(self, *messages: Message) -> list[Message]:
        """Send messages that end in a ready state, and give the whole answer."""
        self.writer.write(b"".join(message.packed for message in messages))
        return await self.collect()

    async def execute(self, sql: str) -> list[Message]:
        """Run SQL.

        Raises:
            SqlError: the server refused it.
        """
        answer = await self.send(wire.query(sql))
        refused = wire.first_error(answer)
        if refused:
            fields = wire.error_fields(refused)
            raise SqlError(fields["C"], fields["M"])
        return answer

    async def rows(self, sql: str) -> list[tuple[str | None, ...]]:
        """Run SQL and give its rows.

        Raises:
            SqlError: the server refused it.
        """
        return wire.rows_of(await self.execute(sql))

    def close(self) -> None:
        self.writer.write(Message(b"X").packed)
        self.writer.close()


async def cancel(store: Store, request: bytes) -> None:
    """Hand a client's cancel request on; keys are PostgreSQL's, so any node can."""
    try:
        _, writer = await asyncio.open_connection(store.host, store.port)
    except OSError:
        return
    writer.write(request)
    await writer.drain()
    writer.close()
