"""The events of a failover, as each part of the embedded engine noticed them.

| source | what | how fine |
|---|---|---|
| etcd | the leader key is gone, or has a new owner | pushed by each etcd as it applies the change; the first one counts, so milliseconds. A watch that was cut says for how long it was deaf |
| HAProxy's log | a region sends no clients to a node, or again | stamped by HAProxy in microseconds |
| Patroni's history | a node ended its recovery and takes writes | when PostgreSQL wrote its timeline's history file, by that file's time: microseconds |

etcd forgets when a key changed, so it is watched while it happens; the other two are read at the
end. All are asked past the WAN. The lease behind the leader key is checked by etcd every half
second, so the key itself goes up to that much after its time is out (etcd: lease/lessor.go).
"""  # noqa: E501 - a table

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event as Flag
from threading import Lock, Thread
from time import monotonic
from typing import Any

import urllib3

from labkit.clock import Anchor
from labkit.cluster import balancer_log
from labkit.cluster.base import Gather
from labkit.cluster.engines.postgresql import patroni
from labkit.cluster.engines.postgresql.etcd import EtcdClient, encoded
from labkit.cluster.engines.postgresql.layout import SCOPE, Layout, balancer_name, member_name
from labkit.events import Event, Sign

READ_WRITE = "read_write"
"""HAProxy's proxy that leads to the primary."""
LEADER_KEY = f"/service/{SCOPE}/leader"
STREAM_S = 1.0
"""A quiet stream is opened anew after this; so a watch notices that it shall end."""
AGAIN_S = 0.1
"""Between two attempts to reach an etcd that is down."""


@contextmanager
def failover_evidence(layout: Layout, rest_password: str) -> Iterator[Gather]:
    """Watch etcd while the context is open; `Gather` reads the other sources too."""
    anchor, begun_s = Anchor(), monotonic()
    names = {member_name(node): node.name for node in layout.topology.nodes}
    regions = layout.topology.region_names
    ended = Flag()
    watches = [LeaderWatch(EtcdClient.of(layout, region), names, ended) for region in regions]

    def gather() -> tuple[Event, ...]:
        found = [
            *first_noticed(watches),
            *_balancers(layout, names, anchor, begun_s),
            *_promotions(layout, rest_password, names, anchor, begun_s),
        ]
        return tuple(sorted(found, key=lambda event: event.at_s))

    for watch in watches:
        watch.start()
    try:
        yield gather
    finally:
        ended.set()
        for watch in watches:
            watch.join()


@dataclass(frozen=True, slots=True)
class Noticed:
    """A change of the leader key as one etcd told it; `revision` is the same at every etcd."""

    revision: int
    event: Event


class LeaderWatch:
    """Follows the leader key at one etcd, in a thread of its own.

    etcd streams JSON, one message a line, and goes on from a revision when asked to
    (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/, "Watch keys").
    """

    def __init__(self, etcd: EtcdClient, names: Mapping[str, str], ended: Flag) -> None:
        """Watch one etcd.

        Args:
            etcd: who is asked.
            names: of the nodes, by the names that Patroni gives them.
            ended: set to end it.
        """
        self._etcd = etcd
        self._names = names
        self._noticed: list[Noticed] = []
        self._next_revision = 0
        self._heard_s = monotonic()
        self._ended = ended
        self._lock = Lock()
        # daemon: an etcd that is frozen must not keep the program from ending
        self._thread = Thread(target=self._follow, daemon=True, name=f"labkit-etcd-{etcd.port}")

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def join(self) -> None:
        """Wait for its end, which comes `STREAM_S` after it was asked for."""
        self._thread.join(2 * STREAM_S)

    @property
    def noticed(self) -> tuple[Noticed, ...]:
        """Return what it was told so far."""
        with self._lock:
            return tuple(self._noticed)

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self._stream()
            except (urllib3.exceptions.ReadTimeoutError, urllib3.exceptions.IncompleteRead):
                continue  # quiet
            except (urllib3.exceptions.HTTPError, OSError, ValueError):
                self._ended.wait(AGAIN_S)

    def _stream(self) -> None:
        request = {"create_request": self._request()}
        reply = self._etcd.stream("/v3/watch", request, timeout_s=STREAM_S)
        deaf_since_s, caught_up = self._heard_s, 0
        try:
            for line in reply:
                result = json.loads(line).get("result", {})
                now_s = self._heard_s = monotonic()
                revision = int(result.get("header", {}).get("revision", 0))
                if result.get("canceled"):  # what it asked for was compacted away
                    self._next_revision = 0
                    return
                if result.get("created"):
                    caught_up = revision
                self._take(result.get("events", []), now_s, deaf_since_s, caught_up)
                self._next_revision = max(self._next_revision, revision + 1)
                if self._ended.is_set():
                    return
        finally:
            reply.close()

    def _request(self) -> dict[str, object]:
        request: dict[str, object] = {"key": encoded(LEADER_KEY), "prev_kv": True}
        if self._next_revision:
            request["start_revision"] = self._next_revision
        return request

    def _take(
        self, changes: list[dict[str, Any]], now_s: float, deaf_since_s: float, caught_up: int
    ) -> None:
        for change in changes:
            revision = int(change["kv"]["mod_revision"])
            # what is older than the stream was waiting for it
            within_s = now_s - deaf_since_s if revision <= caught_up else 0.0
            before = self._node(change.get("prev_kv", {}))
            after = self._node(change["kv"])
            if change.get("type") == "DELETE":
                told = Event(now_s, Sign.LEADER_GONE, "etcd", node=before, within_s=within_s)
            elif after != before:
                told = Event(now_s, Sign.LEADER, "etcd", node=after, within_s=within_s)
            else:
                continue  # written again by the same
            with self._lock:
                self._noticed.append(Noticed(revision, told))

    def _node(self, entry: Mapping[str, str]) -> str:
        member = base64.b64decode(entry.get("value", "")).decode()
        return self._names.get(member, member)


def first_noticed(watches: list[LeaderWatch]) -> list[Event]:
    """Each change once, as told by the etcd that told it first."""
    first: dict[int, Event] = {}
    for watch in watches:
        for noticed in watch.noticed:
            known = first.get(noticed.revision)
            if known is None or noticed.event.at_s < known.at_s:
                first[noticed.revision] = noticed.event
    return list(first.values())


def _balancers(
    layout: Layout, names: Mapping[str, str], anchor: Anchor, since_s: float
) -> list[Event]:
    servers = {(READ_WRITE, server): node for server, node in names.items()}
    found: list[Event] = []
    for region in layout.topology.region_names:
        path = layout.logs / f"{balancer_name(region)}.log"
        text = path.read_text(errors="replace", encoding="utf-8") if path.exists() else ""
        found += balancer_log.transitions(
            text, region=region, servers=servers, anchor=anchor, since_s=since_s
        )
    return found


def _promotions(
    layout: Layout, rest_password: str, names: Mapping[str, str], anchor: Anchor, since_s: float
) -> list[Event]:
    """From the first Patroni that answers; all have the same history."""
    for node in layout.topology.nodes:
        lines = patroni.history(layout.rest(node), rest_password)
        if lines is not None:
            found = (promotion(line, names, anchor) for line in lines)
            return [event for event in found if event is not None and event.at_s >= since_s]
    return []


def promotion(line: patroni.HistoryLine, names: Mapping[str, str], anchor: Anchor) -> Event | None:
    """Return a line of Patroni's history as an event; None for one without time or node."""
    if len(line) < 5:
        return None
    timeline, _lsn, reason, stamp, member = line[:5]
    try:
        at_s = anchor.monotonic_s(datetime.fromisoformat(str(stamp)).timestamp())
    except ValueError:
        return None
    return Event(
        at_s,
        Sign.PROMOTED,
        "Patroni",
        node=names.get(str(member), str(member)),
        within_s=anchor.drift_s(),
        detail=f"end of timeline {timeline}: {reason}",
    )
