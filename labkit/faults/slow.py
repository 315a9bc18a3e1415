"""A slow network: messages are late by a delay and a jitter; none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import Any, ClassVar, Self

from labkit.cluster.base import Cluster
from labkit.cluster.status import LinkStatus
from labkit.errors import BadInput
from labkit.faults.base import Probe
from labkit.faults.links import LinkFault, probe_links
from labkit.topology import Topology
from labkit.wan.line import TIMER_STEP_S
from labkit.wan.plan import MAX_MS

LEAST_MS = TIMER_STEP_S * 1e3
"""The shortest delay that makes a difference: the WAN's timer is no finer."""


@dataclass(frozen=True)
class Slow(LinkFault):
    """A fault that adds delay and jitter to the links between a region and a peer, or all others.

    Attributes:
        delay_ms: milliseconds that are added to the delay of the topology, per direction. If both
            directions are slow, a round trip takes twice that longer.
        jitter_ms: the most that is added per message, in milliseconds, uniformly distributed.
    """

    name: ClassVar[str] = "slow"

    delay_ms: float = 100.0
    jitter_ms: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers that no link can show.

        Raises:
            BadInput: a value is out of range, both are 0, or it is not a link.
        """
        super().__post_init__()
        for key, value in (("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms)):
            if value != 0 and not LEAST_MS <= value <= MAX_MS:
                raise BadInput(
                    f"slow: {key} must be 0, or from {LEAST_MS:g} to {MAX_MS:,.0f}, not {value:g}"
                )
        if self.delay_ms == self.jitter_ms == 0:
            raise BadInput("slow: delay_ms and jitter_ms are both 0, nothing would change")

    def available(self, cluster: Cluster) -> str | None:
        """Require `HasWan`, switched on, a second region, and links that can be that slow."""
        if reason := super().available(cluster):
            return reason
        topology = cluster.topology
        longest_ms = max(topology.one_way_ms(*link) for link in self.links(topology))
        if longest_ms + self.delay_ms <= MAX_MS:
            return None
        return f"a link has {longest_ms:g} ms already, and cannot have more than {MAX_MS:,.0f}"

    def unfit(self, cluster: Cluster) -> list[str]:
        """Name the links that are cut: no message passes there that could be late."""
        links = self.links_of(cluster.status(), cluster.topology)
        return [f"{link.source}>{link.target} is cut" for link in links if link.cut]

    def inject(self, cluster: Any) -> Self:
        """Slow every link down."""
        topology = cluster.topology
        for source, target in self.links(topology):
            delay_ms = topology.one_way_ms(source, target) + self.delay_ms
            cluster.set_link(source, target, delay_ms=delay_ms, jitter_ms=self.jitter_ms)
        return self

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every link is open, and has the new delay and jitter."""
        topology = cluster.topology

        def slow(link: LinkStatus) -> bool:
            delay_ms = topology.one_way_ms(link.source, link.target) + self.delay_ms
            same = isclose(link.delay_ms, delay_ms) and isclose(link.jitter_ms, self.jitter_ms)
            return same and not link.cut

        return probe_links(self.links_of(cluster.status(), topology), slow)

    def mend(self, cluster: Any) -> None:
        """Give the links the delay of the topology again."""
        topology = cluster.topology
        for source, target in self.links(topology):
            delay_ms = topology.one_way_ms(source, target)
            cluster.set_link(source, target, delay_ms=delay_ms, jitter_ms=0.0)

    def healed(self, link: LinkStatus, topology: Topology) -> bool:
        """Say whether a link has the delay of the topology, and no jitter."""
        delay_ms = topology.one_way_ms(link.source, link.target)
        return isclose(link.delay_ms, delay_ms) and link.jitter_ms == 0
