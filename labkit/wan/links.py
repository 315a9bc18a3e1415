"""The links while they run: settings that change, counters, and the lines that follow them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from random import random
from typing import Protocol

from labkit.wan.plan import LinkSettings, Pair, Plan
from labkit.wan.state import LinkState

log = logging.getLogger(__name__)


class Line(Protocol):
    """The protocol of one direction of a connection over a link; `DelayLine` has it."""

    held_bytes: int

    def settings_changed(self) -> None:
        """Look again at what may leave."""


class Link:
    """One direction between two regions: what it does now, and what has passed.

    Attributes:
        settings: in force; change them with `apply`.
        alive: set while the link is not cut.
        lines: the directions of open connections that use it.
        open_connections, total_connections, bytes: see `LinkState`.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self.settings = settings
        self.alive = asyncio.Event()
        self.lines: set[Line] = set()
        self.open_connections = 0
        self.total_connections = 0
        self.bytes = 0
        self.apply(settings)

    def apply(self, settings: LinkSettings) -> None:
        """Put new settings in force, for bytes on their way too (their delay stays)."""
        self.settings = settings
        if settings.cut:
            self.alive.clear()
        else:
            self.alive.set()
        for line in tuple(self.lines):
            line.settings_changed()

    @property
    def held_bytes(self) -> int:
        """See `LinkState`."""
        return sum(line.held_bytes for line in self.lines)

    def trip_s(self) -> float:
        """Tell how long the next bytes travel, in seconds: delay and jitter."""
        settings = self.settings
        return (settings.delay_ms + settings.jitter_ms * random()) / 1e3


Route = tuple[Link, Link]
"""The two links a connection takes: there and back."""


class Network:
    """Every link of a plan, and the route between any two regions."""

    def __init__(self, plan: Plan) -> None:
        self._planned = dict(plan.links)
        self._links = {pair: Link(settings) for pair, settings in plan.links.items()}
        self._local = {region: _no_delay() for region in plan.regions}

    def route(self, source: str, target: str) -> Route:
        """Find the links from a dialler's region to a service's and back."""
        if source == target:
            return self._local[target]
        return self._links[source, target], self._links[target, source]

    @property
    def settings(self) -> dict[Pair, LinkSettings]:
        """Return what is in force."""
        return {pair: link.settings for pair, link in self._links.items()}

    def apply(self, changes: Mapping[Pair, LinkSettings]) -> None:
        """Put new settings in force, all in one step of the event loop."""
        for pair, settings in changes.items():
            if settings != self._links[pair].settings:
                log.info("%s > %s: %s", *pair, settings)
                self._links[pair].apply(settings)

    def reset(self) -> None:
        """Give every link the plan's settings again."""
        self.apply(self._planned)

    def state(self) -> tuple[LinkState, ...]:
        """Describe what each link does and has carried."""
        return tuple(
            LinkState(
                source=source,
                target=target,
                delay_ms=link.settings.delay_ms,
                jitter_ms=link.settings.jitter_ms,
                cut=link.settings.cut,
                open_connections=link.open_connections,
                total_connections=link.total_connections,
                bytes=link.bytes,
                held_bytes=link.held_bytes,
            )
            for (source, target), link in self._links.items()
        )


def _no_delay() -> Route:
    return Link(LinkSettings()), Link(LinkSettings())
