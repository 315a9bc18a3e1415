"""A slow network: messages take longer, or unevenly long; none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, isfinite
from typing import ClassVar

from labkit.cluster.base import Cluster
from labkit.cluster.status import LinkStatus
from labkit.errors import BadInput
from labkit.faults.base import Probe
from labkit.faults.links import LinkFault, probe_links


@dataclass(frozen=True)
class Slow(LinkFault):
    """Add delay and jitter to the links between a region and a peer, or all others.

    Attributes:
        delay_ms: added to what the topology gives each direction that is meant, in milliseconds.
            In both directions a round trip takes twice that longer.
        jitter_ms: up to this much more for each message, uniform.
    """

    name: ClassVar[str] = "slow"

    delay_ms: float = 100.0
    jitter_ms: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would change nothing.

        Raises:
            BadInput: a value is negative or not finite, both are 0, or it is not a link.
        """
        super().__post_init__()
        for key, value in (("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms)):
            if not isfinite(value) or value < 0:
                raise BadInput(f"slow: {key} must be 0 or more, not {value:g}")
        if self.delay_ms == self.jitter_ms == 0:
            raise BadInput("slow: delay_ms and jitter_ms are both 0, nothing would change")

    def inject(self, cluster: Cluster) -> None:
        """Returns when every link is slow."""
        wan, topology = self.wan_of(cluster), cluster.topology
        for source, target in self.links(topology):
            delay_ms = topology.one_way_ms(source, target) + self.delay_ms
            wan.set_link(source, target, delay_ms=delay_ms, jitter_ms=self.jitter_ms)

    def probe(self, cluster: Cluster) -> Probe:
        """It bit when every link has the new delay and jitter."""
        topology = cluster.topology

        def slow(link: LinkStatus) -> bool:
            delay_ms = topology.one_way_ms(link.source, link.target) + self.delay_ms
            return isclose(link.delay_ms, delay_ms) and isclose(link.jitter_ms, self.jitter_ms)

        return probe_links(self.links_of(cluster.status(), topology), slow)

    def heal(self, cluster: Cluster) -> None:
        """Give the links the delay of the topology again."""
        if self.available(cluster) is not None:
            return
        wan, topology = self.wan_of(cluster), cluster.topology
        for source, target in self.links(topology):
            delay_ms = topology.one_way_ms(source, target)
            wan.set_link(source, target, delay_ms=delay_ms, jitter_ms=0.0)

        def calm(link: LinkStatus) -> bool:
            return isclose(link.delay_ms, topology.one_way_ms(link.source, link.target))

        self.await_calm(cluster, calm)
