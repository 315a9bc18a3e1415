"""A disaster of a region: its links to the others fail first, then its power."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from time import sleep
from typing import Any, ClassVar, Self

from labkit.cluster.base import CanKill, Cluster
from labkit.cluster.status import State
from labkit.errors import BadInput
from labkit.faults.base import Fault, Probe, probe_state
from labkit.faults.partition import Partition
from labkit.topology import Region


@dataclass(frozen=True)
class Disaster(Fault):
    """A fault that cuts a region off, and kills it after a while; healing starts it again.

    Between the cut and the kill the region still serves the clients inside it. What it
    acknowledges then is on no node of another region, so a commit that waits for no other node is
    lost. A region that is killed without a cut loses next to nothing, because what it sent before
    still arrives.

    Attributes:
        alone_s: seconds between the cut and the kill.
    """

    name: ClassVar[str] = "disaster"
    needs: ClassVar[tuple[type, ...]] = (CanKill,)
    deed: ClassVar[str] = "kill its parts"
    ends_balancers: ClassVar[bool] = True

    target: Region
    alone_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a target that is not a region.

        Raises:
            BadInput: the target is not a region, or `alone_s` is negative or not finite.
        """
        if not isinstance(self.target, Region):
            raise BadInput(f"a disaster hits a region, {self.target} is not one")
        if not isfinite(self.alone_s) or self.alone_s < 0:
            raise BadInput(f"disaster: alone_s must be 0 or more and finite, not {self.alone_s:g}")

    @property
    def injection_s(self) -> float:
        """Return the time between the cut and the kill."""
        return self.alone_s

    @property
    def _cut(self) -> Partition:
        return Partition(self.target)

    def available(self, cluster: Cluster) -> str | None:
        """Require `CanKill`, and what a partition requires."""
        return super().available(cluster) or self._cut.available(cluster)

    def inject(self, cluster: Any) -> Self:
        """Cut the region off, kill all its processes, and open the links again.

        No process is left behind the links then, and the region's customers reach the other
        regions on other ways.
        """
        self._cut.inject(cluster)
        sleep(self.alone_s)
        cluster.kill(self.target)
        self._cut.mend(cluster)
        return self

    def probe(self, cluster: Cluster) -> Probe:
        """See whether every part is down."""
        return probe_state(cluster, self.target, State.DOWN)

    def mend(self, cluster: Any) -> None:
        """Open the links, and start the parts of the region that are down."""
        self._cut.mend(cluster)
        cluster.restart(self.target)
