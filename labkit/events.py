"""Events of an outage: moments that a client or a part of the cluster noticed.

Times are those of a history: `time.monotonic()` of the machine, seconds. Sources that write the
wall clock are converted by one anchor (`labkit.clock.Anchor`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from labkit import files

EVENTS_FILE = "events.jsonl"


class Sign(StrEnum):
    """The kind of an event."""

    SERVER_DOWN = "server_down"
    """The balancer of `region` sends no more clients to `node`."""
    SERVER_UP = "server_up"
    """The balancer of `region` sends clients to `node` again."""
    LEADER_GONE = "leader_gone"
    """`node` is leader no longer: its claim ran out, or it gave it back."""
    LEADER = "leader"
    """`node` was elected leader."""
    PROMOTED = "promoted"
    """`node` ended its recovery: it takes writes."""
    LEASES_MOVED = "leases_moved"
    """Other nodes hold at least half of the leases that `node` held."""
    CONNECTED = "connected"
    """A client of `region` has a new connection: the server behind the balancer let it in."""


@dataclass(frozen=True, slots=True)
class Event:
    """A moment that somebody noticed.

    Attributes:
        at_s: when; it happened between `at_s - within_s` and `at_s`.
        source: who says so, such as "HAProxy" or "etcd".
        region: of the balancer or the client; empty where it is nobody's in particular.
        node: whom it is about, such as "us-west-2/1"; empty when it is about none.
        within_s: how long it may have gone unnoticed.
        detail: what the source said, one line.
    """

    at_s: float
    sign: Sign
    source: str
    region: str = ""
    node: str = ""
    within_s: float = 0.0
    detail: str = ""

    @property
    def not_before_s(self) -> float:
        """The first moment at which it may have happened."""
        return self.at_s - self.within_s


def save_events(events: Iterable[Event], folder: Path) -> None:
    """Write `events.jsonl` into a run folder."""
    lines = [json.dumps(asdict(event)) for event in events]
    files.write_text(folder / EVENTS_FILE, "".join(f"{line}\n" for line in lines))


def load_events(folder: Path) -> tuple[Event, ...]:
    """Read the events that `save_events` wrote; none when there is no such file."""
    from pydantic import TypeAdapter  # workers import this module, and read no events

    path, event = folder / EVENTS_FILE, TypeAdapter(Event)
    if not path.exists():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(event.validate_json(line) for line in lines)
