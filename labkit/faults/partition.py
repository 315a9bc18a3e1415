"""A partition: links carry nothing any more, and report no error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from labkit.cluster.base import Cluster
from labkit.cluster.status import LinkStatus
from labkit.faults.base import Probe, parts_of
from labkit.faults.links import LinkFault, probe_links
from labkit.topology import Topology


@dataclass(frozen=True)
class Partition(LinkFault):
    """A fault that cuts a region off from a peer or from all others, in one direction or both.

    Connections are not reset. Bytes are held and new connections hang, so each side has to detect
    the partition by its own time-outs. Traffic within the region, and between the region and its
    clients, does not change.
    """

    name: ClassVar[str] = "partition"

    def inject(self, cluster: Any) -> Self:
        """Cut every link."""
        for source, target in self.links(cluster.topology):
            cluster.set_link(source, target, cut=True)
        return self

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every link is cut, and whether a region without any link is out of service.

        A region that lost one link may stay in service: its votes travel on the other links.
        """
        status = cluster.status()
        probe = probe_links(self.links_of(status, cluster.topology), lambda link: link.cut)
        if not probe.took_effect:
            return probe
        unwell = ", ".join(part.name for part in parts_of(status) if not part.healthy)
        if self.peer is None and all(part.healthy for part in parts_of(status, self.target)):
            return Probe(False, f"{probe.detail}; {self.target} is still in service")
        return Probe(True, f"{probe.detail}; out of service: {unwell or 'nothing'}")

    def mend(self, cluster: Any) -> None:
        """Open the links again."""
        for source, target in self.links(cluster.topology):
            cluster.set_link(source, target, cut=False)

    def healed(self, link: LinkStatus, topology: Topology) -> bool:
        """Say whether a link is open."""
        return not link.cut
