"""Questions to Patroni's REST API and to HAProxy's statistics.

They are asked past the WAN: this is the operator's view, which must work while regions are cut.
A part that does not answer is an answer too (None), never an exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3

from labkit.cluster import haproxy
from labkit.cluster.engines.postgresql.config import REST_USER
from labkit.cluster.ports import HOST

_POOL = urllib3.PoolManager(num_pools=256, maxsize=2, retries=False)


def _ask(port: int, path: str, password: str, timeout_s: float = 0.5) -> tuple[int, bytes]:
    """HTTP status and body; status 0 when nobody answered in time."""
    try:
        reply = _POOL.request(
            "GET",
            f"http://{HOST}:{port}{path}",
            headers=urllib3.make_headers(basic_auth=f"{REST_USER}:{password}"),
            timeout=urllib3.Timeout(total=timeout_s),
        )
    except urllib3.exceptions.HTTPError:
        return 0, b""
    return reply.status, reply.data


def _json(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster member, as its Patroni describes it.

    Attributes:
        primary: it holds the leader key and its PostgreSQL takes writes.
        state: of its PostgreSQL: "running", "starting", "stopped", "crashed" ...
        streaming: a replica that receives from the primary.
        position: bytes of log written (primary) or replayed (replica).
        standbys: on the primary, sync_state ("quorum", "async") of each streaming standby.
    """

    primary: bool
    state: str
    streaming: bool
    position: int
    timeline: int
    standbys: Mapping[str, str] = field(default_factory=dict)


def member(port: int, password: str, timeout_s: float = 0.5) -> Member | None:
    """Ask the Patroni at a REST port (its direct one); None when it does not answer."""
    _status, text = _ask(port, "/patroni", password, timeout_s)
    data = _json(text)
    if not data:
        return None
    log = data.get("xlog") or {}
    return Member(
        primary=data.get("role") == "primary" and data.get("state") == "running",
        state=str(data.get("state", "unknown")),
        streaming=data.get("replication_state") == "streaming",
        position=int(log.get("location") or log.get("replayed_location") or 0),
        timeline=int(data.get("timeline") or 0),
        standbys={
            str(row["application_name"]): str(row["sync_state"])
            for row in data.get("replication") or []
            if row.get("state") == "streaming"
        },
    )


HistoryLine = Sequence[int | str]
"""Timeline, log position where it ended, reason, ISO time, and the member that ended it by becoming
primary (Patroni's REST API, `GET /history`)."""


def history(port: int, password: str) -> list[HistoryLine] | None:
    """Every promotion that the Patroni at a REST port knows of; None when it does not answer."""
    status, text = _ask(port, "/history", password)
    if status != 200:
        return None
    try:
        lines = json.loads(text)
    except ValueError:
        return None
    return [line for line in lines if isinstance(line, list)] if isinstance(lines, list) else None


def servers_up(stats_port: int, password: str) -> dict[str, list[str]] | None:
    """Return what a HAProxy sends traffic to: for each proxy the names of its servers that are up.

    None when it does not answer.
    """
    status, text = _ask(stats_port, "/;csv", password)
    if status != 200:
        return None
    return haproxy.servers_up(text.decode(errors="replace"))
