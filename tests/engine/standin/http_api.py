"""A node's HTTP port: `/health`, `/health?ready=1`, `/_status/vars`."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from . import metrics, placement
from .placement import Range

if TYPE_CHECKING:
    from .node import Node


async def serve_http(
    node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request and hang up."""
    try:
        line = (await reader.readline()).decode(errors="replace").split()
        while (await reader.readline()).strip():
            pass
        path = line[1] if len(line) > 1 else ""
        status, kind, body = answer(node, path)
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n"
        )
        writer.write((head + body).encode())
        await writer.drain()
    except (OSError, EOFError, ValueError, ssl.SSLError):
        pass  # whoever asked is gone
    finally:
        writer.close()


def answer(node: Node, path: str) -> tuple[str, str, str]:
    """Status line, content type and body for a path."""
    page, _, query = path.partition("?")
    if page == "/health":
        why = node.why_not_ready() if "ready=1" in query.split("&") else ""
        body = {"error": why} if why else {"nodeId": node.member.node_id if node.member else 0}
        status = "503 Service Unavailable" if why else "200 OK"
        return status, "application/json", json.dumps(body)
    if page == "/_status/vars":
        return "200 OK", "text/plain; version=0.0.4", vars_page(node)
    return "404 Not Found", "text/plain", "the stand-in has no such page\n"


def all_ranges(node: Node) -> list[Range]:
    """The ranges of every database, as seen from here."""
    catalog = node.catalog
    members = [m for m in catalog.members.values() if m.state != "decommissioned"]
    members.sort(key=lambda member: member.node_id)
    live = frozenset(node.gossip.live())
    return [
        item
        for database in catalog.databases.values()
        for item in placement.ranges(
            database, [t for t in catalog.tables.values() if t.database == database.name],
            members, live,
        )
    ]  # fmt: skip


def vars_page(node: Node) -> str:
    """The metrics of this node."""
    me = node.member
    found = all_ranges(node) if me else []
    mine = [item for item in found if me in (*item.voters, *item.others)]
    led = [item for item in mine if item.holder == me]
    return metrics.page(
        node.counters,
        node_id=me.node_id if me else 0,
        live=len(node.live_members()),
        leases=len(led),
        replicas=len(mine),
        unavailable=sum(not item.available for item in led),
    )


async def listen(node: Node) -> asyncio.Server:
    """Open the port.

    Raises:
        OSError: it is taken.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            await serve_http(node, reader, writer)

    host, port = node.flags.http
    return await asyncio.start_server(accept, host or None, port, ssl=node.tls)
