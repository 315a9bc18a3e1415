"""The state of the WAN process, as its control API answers: frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LinkState:
    """One direction between two regions, as it is now.

    Attributes:
        delay_ms, jitter_ms, cut: see `labkit.wan.plan.LinkSettings`.
        open_connections: dialled from source to target and not closed yet.
        total_connections: dialled from source to target since the process began.
        bytes: what was sent in this direction since the process began, whoever dialled.
        held_bytes: what is on its way right now, or held by a cut or a slow reader.
    """

    source: str
    target: str
    delay_ms: float
    jitter_ms: float
    cut: bool
    open_connections: int
    total_connections: int
    bytes: int
    held_bytes: int


@dataclass(frozen=True, slots=True)
class DiallerCount:
    """The number of connections that one region has opened to services of a kind in another."""

    kind: str
    source: str
    target: str
    connections: int


@dataclass(frozen=True, slots=True)
class RefusedCount:
    """The number of diallers that a listener has refused for one reason."""

    listener: str
    reason: str
    connections: int


@dataclass(frozen=True, slots=True)
class WanState:
    """The whole WAN at one moment."""

    links: tuple[LinkState, ...]
    diallers: tuple[DiallerCount, ...]
    refused: tuple[RefusedCount, ...]

    def link(self, source: str, target: str) -> LinkState:
        """One direction between two regions.

        Raises:
            KeyError: there is no such link.
        """
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        raise KeyError(f"{source} > {target}")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WanState:
        """Rebuild a state from what `to_json` gave.

        Raises:
            KeyError, TypeError: it is of another version.
        """
        return cls(
            links=tuple(LinkState(**item) for item in data["links"]),
            diallers=tuple(DiallerCount(**item) for item in data["diallers"]),
            refused=tuple(RefusedCount(**item) for item in data["refused"]),
        )
