"""The control API: a few JSON requests over HTTP/1.1, for those who know the plan's token.

    GET  /links    what each link does and has carried, who dialled, who was refused
    POST /links    {"links": [{"source", "target", "delay_ms"?, "jitter_ms"?, "cut"?}, ...]}:
                   all of it or, if any of it is refused, nothing
    POST /reset    every link as planned
    POST /listeners  {"listeners": [Listener, ...], "names": {name: region, ...}?}: serve these
                   and no others, after a node was added or removed

Every answer is the state afterwards (`labkit.wan.state.WanState`) or {"error": one line}.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from labkit.errors import BadInput, ClusterError
from labkit.wan.front import naming_port
from labkit.wan.plan import Plan, serving, updated
from labkit.wan.proxy import Proxy

MAX_HEAD_BYTES = 8_192
MAX_BODY_BYTES = 1_048_576
"""Nine regions of nine nodes have 1,512 listeners of about 200 bytes each."""
REQUEST_TIMEOUT_S = 5.0


class HttpError(Exception):
    """A request that is answered with a status other than 200 and one line."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class ControlServer:
    """The control API of one proxy."""

    def __init__(self, plan: Plan, proxy: Proxy) -> None:
        self._plan = plan
        self._proxy = proxy
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Bind the control port.

        Raises:
            PortInUse: it is taken.
            ClusterError: it cannot be bound for another reason.
        """
        host, port = self._plan.host, self._plan.control_port
        with naming_port(host, port, "the control API"):
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD_BYTES)

    def close(self) -> None:
        """Free the port. Idempotent."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and hang up."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, answer = await self._answer(reader)
                body = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status.value} {status.phrase}\r\n"
                    "Content-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client is gone or too slow: there is nobody to answer
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[HTTPStatus, dict[str, object]]:
        try:
            head = await _read_head(reader)
            self._authorise(head)
            await self._act(head, reader)
        except HttpError as error:
            return error.status, {"error": str(error)}
        return HTTPStatus.OK, self._proxy.state().to_json()

    def _authorise(self, head: Head) -> None:
        given = head.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._plan.token}".encode()):
            raise HttpError(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")

    async def _act(self, head: Head, reader: asyncio.StreamReader) -> None:
        match head.method, head.path:
            case "GET", "/links":
                pass
            case "POST", "/links":
                body = await _read_json(head, reader)
                try:
                    changes = updated(self._proxy.network.settings, body)
                except BadInput as error:
                    raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error
                self._proxy.network.apply(changes)
            case "POST", "/reset":
                self._proxy.network.reset()
            case "POST", "/listeners":
                body = await _read_json(head, reader)
                try:
                    await self._proxy.serve(serving(self._proxy.plan, body))
                except (BadInput, ClusterError) as error:
                    raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error
            case _:
                raise HttpError(
                    HTTPStatus.NOT_FOUND,
                    f"no {head.method} {head.path}: there are "
                    "GET /links, POST /links, POST /reset and POST /listeners",
                )


async def _read_head(reader: asyncio.StreamReader) -> Head:
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise HttpError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"more than {MAX_HEAD_BYTES} bytes of headers",
        ) from None
    request, *lines = text.split("\r\n")
    words = request.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise HttpError(HTTPStatus.BAD_REQUEST, "not an HTTP/1 request")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Head(words[0], words[1], headers)


async def _read_json(head: Head, reader: asyncio.StreamReader) -> object:
    length = head.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "say the body's Content-Length")
    if len(length) > 9 or int(length) > MAX_BODY_BYTES:
        raise HttpError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of more than {MAX_BODY_BYTES} bytes"
        )
    try:
        return json.loads(await reader.readexactly(int(length)))
    except ValueError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
