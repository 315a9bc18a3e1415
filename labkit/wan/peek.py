"""Finds the region that dials, from the first bytes of a connection. Pure functions.

A dialler that cannot be named is refused, so that nothing passes without its link's delay and
cuts. etcd's peers speak TLS, so their bytes name nobody: the operating system says whose socket it
is (`labkit.wan.socket_owner`, asked by `labkit.wan.front`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from struct import unpack_from

from labkit.wan.plan import Kind, Listener, Plan


@dataclass(frozen=True, slots=True)
class From:
    """The dialler's region."""

    region: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer `data`, forget the first `consumed` bytes and look again."""

    data: bytes
    consumed: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody the plan knows; `reason` is one of a few, `seen` is what the dialler sent."""

    reason: str
    seen: str


Finding = From | Reply | Refuse | None
"""None: not enough bytes yet."""

Peek = Callable[[bytes], Finding]


def peek_for(listener: Listener, plan: Plan) -> Peek | None:
    """Choose how a listener looks at the first bytes of a connection; None if they tell nothing."""
    match listener.kind:
        case Kind.FIXED:
            dialler = From(str(listener.source))
            return lambda first: dialler
        case Kind.POSTGRES:
            return lambda first: peek_postgres(first, plan.names)
        case Kind.HTTP:
            return lambda first: peek_http(first, plan.regions)
        case Kind.ETCD_PEER:
            return None


# PostgreSQL 18 documentation, "Message Formats": StartupMessage, SSLRequest, GSSENCRequest and
# CancelRequest begin with a length and a code; the longest is MAX_STARTUP_PACKET_LENGTH.
_SSL_REQUEST, _GSSENC_REQUEST, _CANCEL_REQUEST = 80877103, 80877104, 80877102
_MAX_STARTUP_BYTES = 10_000


def peek_postgres(first: bytes, names: Mapping[str, str]) -> Finding:
    """Name the dialler by the application name in its startup packet.

    Encryption is declined (the lab's traffic stays on this machine, and bytes must be readable
    to be named). A cancel request names nobody and is refused.
    """
    if len(first) < 8:
        return None
    length, code = unpack_from("!II", first)
    if length == 8 and code in (_SSL_REQUEST, _GSSENC_REQUEST):
        return Reply(b"N", consumed=8)
    if length == 16 and code == _CANCEL_REQUEST:
        return Refuse("a cancel request names nobody", first[:8].hex())
    if code >> 16 != 3 or not 8 < length <= _MAX_STARTUP_BYTES:
        return Refuse("not a PostgreSQL startup packet", first[:8].hex())
    if len(first) < length:
        return None
    words = first[8:length].split(b"\0")
    parameters = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in zip(words[::2], words[1::2], strict=False)
    }
    name = parameters.get("application_name")
    if name is None:
        return Refuse("no application_name", f"user {parameters.get('user')!r}")
    if name not in names:
        return Refuse("unknown application_name", repr(name))
    return From(names[name])


_MAX_HEAD_BYTES = 16_384


def peek_http(first: bytes, regions: Collection[str]) -> Finding:
    """Name the dialler by the X-Region header of its first request."""
    head = _http_head(first)
    if not isinstance(head, _Head):
        return head
    region = head.headers.get("x-region")
    if region is None:
        return Refuse("no X-Region header", head.request)
    if region not in regions:
        return Refuse("unknown region in X-Region", repr(region))
    return From(region)


@dataclass(frozen=True, slots=True)
class _Head:
    """The first request's line, and its headers by lower-case name."""

    request: str
    headers: Mapping[str, str]


def _http_head(first: bytes) -> _Head | Refuse | None:
    if first and not first[:1].isupper():
        return Refuse("not an HTTP request", first[:8].hex())
    head, end, _ = first.partition(b"\r\n\r\n")
    if not end:
        too_long = len(first) > _MAX_HEAD_BYTES
        return Refuse("an HTTP request without end", repr(first[:40])) if too_long else None
    request, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return _Head(request[:80], {name.lower(): value.strip() for name, _, value in pairs})
