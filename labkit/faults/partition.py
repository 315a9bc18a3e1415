"""A partition: links carry nothing any more, and report no error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from labkit.cluster.base import Cluster
from labkit.faults.base import Probe, parts_of
from labkit.faults.links import LinkFault, probe_links


@dataclass(frozen=True)
class Partition(LinkFault):
    """A fault that cuts a region off from a peer or from all others, in one direction or both.

    Connections are not reset. Bytes are held and new connections hang, so each side has to detect
    the partition by its own time-outs. Traffic within the region, and between the region and its
    clients, does not change.
    """

    name: ClassVar[str] = "partition"

    def inject(self, cluster: Cluster) -> None:
        """Cut every link."""
        wan = self.wan_of(cluster)
        for source, target in self.links(cluster.topology):
            wan.set_link(source, target, cut=True)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every link is cut, and whether a region without any link is out of service.

        A region that lost one link may stay in service: its votes travel on the other links.
        """
        status = cluster.status()
        probe = probe_links(self.links_of(status, cluster.topology), lambda link: link.cut)
        if not probe.bit:
            return probe
        unwell = ", ".join(part.name for part in parts_of(status) if not part.healthy)
        if self.peer is None and all(part.healthy for part in parts_of(status, self.target)):
            return Probe(False, f"{probe.detail}; {self.target} is still in service")
        return Probe(True, f"{probe.detail}; out of service: {unwell or 'nothing'}")

    def heal(self, cluster: Cluster) -> None:
        """Open the links again, and wait until the region is in service."""
        if self.available(cluster) is not None:
            return
        self.mend(cluster)
        self.await_calm(cluster, lambda link: not link.cut)

    def mend(self, cluster: Cluster) -> None:
        """Open the links again, without waiting.

        Raises:
            FaultUnavailable: the cluster has no WAN.
        """
        wan = self.wan_of(cluster)
        for source, target in self.links(cluster.topology):
            wan.set_link(source, target, cut=False)
