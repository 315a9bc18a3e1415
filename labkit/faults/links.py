"""The base of the faults of links: which links a fault is about, and that it requires a WAN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from labkit.clock import wait_until
from labkit.cluster.base import WAN_IS_OFF, Cluster, HasWan
from labkit.cluster.status import ClusterStatus, LinkStatus
from labkit.errors import BadInput
from labkit.faults.base import HEAL_TIMEOUT_S, Fault, Probe
from labkit.topology import Region, Topology


class Direction(StrEnum):
    """A direction of traffic, seen from the target."""

    BOTH = "both"
    IN = "in"
    """The traffic that the target would receive."""
    OUT = "out"
    """The traffic that the target sends."""


@dataclass(frozen=True)
class LinkFault(Fault):
    """A fault of the links between a region and its peer, or all other regions.

    Attributes:
        peer: the region at the other end; None means all others.
    """

    target: Region
    peer: Region | None = None
    direction: Direction = Direction.BOTH

    def __post_init__(self) -> None:
        """Refuse a target or a peer that makes no link.

        Raises:
            BadInput: the target is not a region, or the peer is the target itself.
        """
        for end in (self.target, self.peer):
            if end is not None and not isinstance(end, Region):
                raise BadInput(f"{self.name} works on links between regions, {end} is not a region")
        if self.peer is not None and self.peer.name == self.target.name:
            raise BadInput(f"{self.name}: no link from {self.target} to itself")

    @property
    def target_name(self) -> str:
        """Name the links, such as `us-west-2`, `us-west-2 (out)` or `us-west-2>eu-west-1`."""
        if self.peer is None:
            way = "" if self.direction is Direction.BOTH else f" ({self.direction})"
            return f"{self.target}{way}"
        if self.direction is Direction.BOTH:
            return f"{self.target}:{self.peer}"
        ends = (self.target, self.peer)
        source, target = ends if self.direction is Direction.OUT else reversed(ends)
        return f"{source}>{target}"

    @property
    def regions(self) -> tuple[str, ...]:
        """Its target, and the peer if there is one."""
        return tuple(end.name for end in (self.target, self.peer) if end is not None)

    def links(self, topology: Topology) -> tuple[tuple[str, str], ...]:
        """List the (source, target) of every link that the fault is about.

        Raises:
            UnknownTarget: no such region.
        """
        here = topology.region(self.target.name).name
        if self.peer is not None:
            peers: tuple[str, ...] = (topology.region(self.peer.name).name,)
        else:
            peers = tuple(name for name in topology.region_names if name != here)
        outgoing = tuple((here, peer) for peer in peers)
        incoming = tuple((peer, here) for peer in peers)
        return {
            Direction.OUT: outgoing,
            Direction.IN: incoming,
            Direction.BOTH: outgoing + incoming,
        }[self.direction]

    def available(self, cluster: Cluster) -> str | None:
        """Require `HasWan`, switched on, and a second region."""
        if not isinstance(cluster, HasWan):
            return f"the {cluster.backend} backend has no WAN"
        if not cluster.status().wan:
            return WAN_IS_OFF
        if not self.links(cluster.topology):
            return "there is only one region, so there are no links"
        return None

    def links_of(self, status: ClusterStatus, topology: Topology) -> tuple[LinkStatus, ...]:
        """Pick the fault's links from a status, which may know none of them."""
        meant = self.links(topology)
        return tuple(link for link in status.links if (link.source, link.target) in meant)

    @abstractmethod
    def healed(self, link: LinkStatus, topology: Topology) -> bool:
        """Say whether a link shows no effect of the fault."""

    def await_healed(self, cluster: Cluster) -> None:
        """Wait until the links show no effect, and the target is in service.

        Raises:
            NotReady: a link still shows the effect, or a part of the region is not in service.
        """
        topology = cluster.topology
        wait_until(
            lambda: all(
                self.healed(link, topology) for link in self.links_of(cluster.status(), topology)
            ),
            what=f"links of {self.target_name}",
            timeout_s=HEAL_TIMEOUT_S,
        )
        super().await_healed(cluster)


def probe_links(links: Sequence[LinkStatus], shows: Callable[[LinkStatus], bool]) -> Probe:
    """See whether every link shows an effect, by what the WAN itself reports."""
    if not links:
        return Probe(False, "the WAN does not report its links")
    missed = [link for link in links if not shows(link)]
    if missed:
        names = ", ".join(map(describe, missed))
        return Probe(False, f"{len(missed)} of {len(links)} links do not show it: {names}")
    return Probe(True, ", ".join(map(describe, links)))


def describe(link: LinkStatus) -> str:
    """Describe a link: `us-west-2>us-east-1 33 ms`, with its jitter, or `cut`."""
    jitter = f" + up to {link.jitter_ms:g} ms" if link.jitter_ms else ""
    state = "cut" if link.cut else f"{link.delay_ms:g} ms{jitter}"
    return f"{link.source}>{link.target} {state}"
