"""PostgreSQL's wire protocol, version 3: messages in and out."""

from __future__ import annotations

import struct
from asyncio import IncompleteReadError, StreamReader
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102
PROTOCOL_3 = 196608


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type's letter and what follows its length."""

    kind: bytes
    body: bytes = b""

    @property
    def packed(self) -> bytes:
        return self.kind + struct.pack("!i", len(self.body) + 4) + self.body


async def read(reader: StreamReader) -> Message:
    """The next message.

    Raises:
        EOFError: the other end is gone (asyncio.IncompleteReadError is one).
    """
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    if length < 4:
        raise IncompleteReadError(head, None)
    return Message(head[:1], await reader.readexactly(length - 4))


def text(*parts: str) -> bytes:
    """Texts, each ended by a zero."""
    return b"".join(part.encode() + b"\0" for part in parts)


def take_text(data: bytes, at: int = 0) -> tuple[str, int]:
    """The text at an offset, and the offset after it."""
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def startup(parameters: Mapping[str, str]) -> bytes:
    pairs = [part for pair in parameters.items() for part in pair]
    body = struct.pack("!i", PROTOCOL_3) + text(*pairs) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def read_startup(body: bytes) -> dict[str, str]:
    """The parameters of a start-up packet, its length and version already taken off."""
    parts = body.rstrip(b"\0").split(b"\0")
    return {k.decode(): v.decode() for k, v in zip(parts[::2], parts[1::2], strict=False)}


def query(sql: str) -> Message:
    return Message(b"Q", text(sql))


def error(sqlstate: str, message: str, severity: str = "ERROR") -> Message:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    return Message(
        b"E", b"".join(key.encode() + text(value) for key, value in fields.items()) + b"\0"
    )


def error_fields(message: Message) -> dict[str, str]:
    fields = message.body.rstrip(b"\0").split(b"\0")
    return {field[:1].decode(): field[1:].decode(errors="replace") for field in fields if field}


def complete(tag: str) -> Message:
    return Message(b"C", text(tag))


def ready(status: bytes) -> Message:
    """`I` idle, `T` in a transaction, `E` in one that failed."""
    return Message(b"Z", status)


def parameter_status(name: str, value: str) -> Message:
    return Message(b"S", text(name, value))


def rows_of(messages: Iterable[Message]) -> list[tuple[str | None, ...]]:
    """The rows in an answer, as texts."""
    return [_row(message.body) for message in messages if message.kind == b"D"]


def columns_of(messages: Iterable[Message]) -> list[str]:
    """The names of the columns in an answer."""
    for message in messages:
        if message.kind == b"T":
            names, at = [], 2
            for _ in range(struct.unpack_from("!h", message.body)[0]):
                name, at = take_text(message.body, at)
                names.append(name)
                at += 18
            return names
    return []


def _row(body: bytes) -> tuple[str | None, ...]:
    values: list[str | None] = []
    at = 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        values.append(None if length < 0 else body[at : at + length].decode())
        at += max(length, 0)
    return tuple(values)


def first_error(messages: Sequence[Message]) -> Message | None:
    return next((message for message in messages if message.kind == b"E"), None)
