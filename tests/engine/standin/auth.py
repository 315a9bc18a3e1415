"""How a SQL client begins: TLS, who it is, what it asks for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from . import wire
from .catalog import Catalog
from .errors import SqlError
from .text import quote
from .wire import Message


@dataclass(frozen=True, slots=True)
class Client:
    """A client that said what it wants.

    Attributes:
        certified: the user its certificate names, empty without one.
    """

    user: str
    database: str
    application: str
    options: Mapping[str, str]
    encrypted: bool
    certified: str


async def greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    head: bytes,
    tls: ssl.SSLContext | None,
) -> Client:
    """Read start-up packets until the one that says who it is.

    Args:
        head: the first eight bytes, read already.

    Raises:
        SqlError: a protocol that is not spoken here.
        EOFError: it hung up.
    """
    encrypted = False
    while True:
        length, code = struct.unpack("!ii", head)
        if code == wire.SSL_REQUEST and tls is not None and not encrypted:
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(tls)
            encrypted = True
        elif code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            writer.write(b"N")
        elif code == wire.PROTOCOL_3:
            parameters = wire.read_startup(await reader.readexactly(length - 8))
            return _client(parameters, encrypted, certified(writer))
        else:
            raise SqlError("08P01", f"unknown protocol version {code}")
        head = await reader.readexactly(8)


def _client(parameters: Mapping[str, str], encrypted: bool, certified: str) -> Client:
    user = parameters.get("user", "")
    known = {"user", "database", "application_name", "options", "client_encoding"}
    options = parse_options(parameters.get("options", ""))
    options.update({k: v for k, v in parameters.items() if k.lower() not in known})
    return Client(
        user,
        parameters.get("database") or "defaultdb",  # connection-parameters.md, v25.4
        parameters.get("application_name", ""),
        options,
        encrypted,
        certified,
    )


def certified(writer: asyncio.StreamWriter) -> str:
    """Return the user whom a peer's certificate names; empty without one."""
    certificate = writer.get_extra_info("peercert") or {}
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return str(subject.get("commonName", ""))


def parse_options(text: str) -> dict[str, str]:
    """`-c name=value`, `-cname=value`, `--name=value`; a backslash keeps a space."""
    words = [word.replace("\0", " ") for word in text.replace("\\ ", "\0").split()]
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        setting = next(rest, "") if word == "-c" else word.removeprefix("--").removeprefix("-c")
        name, equals, value = setting.partition("=")
        if not equals:
            raise SqlError("22023", f'option "{word}" is invalid: must be in form name=value')
        found[name.lower().replace("-", "_")] = value
    return found


async def authenticate(
    client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, catalog: Catalog
) -> None:
    """Let a client of a secure cluster prove who it is: by a certificate, else by a password.

    Raises:
        SqlError: it did not.
        EOFError: it hung up.
    """
    if not client.encrypted:
        raise SqlError("28000", "node is running secure mode, SSL connection required")
    if client.certified == client.user:
        return
    writer.write(Message(b"R", struct.pack("!i", 3)).packed)  # a password in clear, inside TLS
    answer = await wire.read(reader)
    password, _ = wire.take_text(answer.body)
    rows = await catalog.inside(
        "defaultdb", f"SELECT rolpassword FROM pg_authid WHERE rolname = {quote(client.user)}"
    )
    if not rows or not verifies(rows[0][0] or "", password):
        raise SqlError("28P01", f"password authentication failed for user {client.user}")


def verifies(verifier: str, password: str) -> bool:
    """Whether a password belongs to PostgreSQL's SCRAM verifier (RFC 5803)."""
    try:
        _, parameters, keys = verifier.split("$")
        rounds, salt = parameters.split(":")
        stored, _ = keys.split(":")
    except ValueError:
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(key).digest(), base64.b64decode(stored))
