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
from labkit.cluster.embedded.config import REST_USER
from labkit.cluster.ports import HOST
from labkit.errors import ClusterError, NotReady

_POOL = urllib3.PoolManager(num_pools=256, maxsize=2, retries=False)


def _ask(
    method: str,
    port: int,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    password: str | None = None,
    timeout_s: float = 0.5,
) -> tuple[int, bytes]:
    """HTTP status and body; status 0 when nobody answered in time."""
    headers = urllib3.make_headers(basic_auth=f"{REST_USER}:{password}") if password else {}
    try:
        reply = _POOL.request(
            method,
            f"http://{HOST}:{port}{path}",
            body=json.dumps(body).encode() if body is not None else None,
            headers={**headers, "Content-Type": "application/json"},
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
    """What one Patroni says about itself.

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


def member(port: int, timeout_s: float = 0.5) -> Member | None:
    """Ask the Patroni at a REST port (its direct one); None when it does not answer."""
    _status, text = _ask("GET", port, "/patroni", timeout_s=timeout_s)
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


def history(port: int) -> list[HistoryLine] | None:
    """Every promotion that the Patroni at a REST port knows of; None when it does not answer."""
    status, text = _ask("GET", port, "/history")
    if status != 200:
        return None
    try:
        lines = json.loads(text)
    except ValueError:
        return None
    return [line for line in lines if isinstance(line, list)] if isinstance(lines, list) else None


def change_cluster(port: int, password: str, change: Mapping[str, object]) -> None:
    """PATCH Patroni's dynamic configuration through any member.

    Raises:
        ClusterError: it was not accepted.
    """
    status, text = _ask("PATCH", port, "/config", body=change, password=password, timeout_s=10.0)
    if status != 200:
        said = text.decode(errors="replace").strip() or "no answer"
        raise ClusterError(f"Patroni refused {json.dumps(dict(change))}: {status} {said}")


def switch_over(port: int, password: str, leader: str, candidate: str) -> None:
    """Let another member lead; `port` is the leader's. Returns when Patroni says it is done.

    Raises:
        NotReady: it was not done; says why.
    """
    body = {"leader": leader, "candidate": candidate}
    status, text = _ask("POST", port, "/switchover", body=body, password=password, timeout_s=25.0)
    if status != 200:
        said = text.decode(errors="replace").strip() or "no answer"
        raise NotReady(f"Patroni did not switch over from {leader} to {candidate}: {said}")


def servers_up(stats_port: int, password: str) -> dict[str, list[str]] | None:
    """What a HAProxy sends traffic to: for each proxy the names of its servers that are up.

    None when it does not answer.
    """
    status, text = _ask("GET", stats_port, "/;csv", password=password)
    if status != 200:
        return None
    return haproxy.servers_up(text.decode(errors="replace"))
