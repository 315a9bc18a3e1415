"""The end of a region: its lines to the others go first, then its power."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from time import sleep
from typing import ClassVar

from labkit.cluster.base import CanKill, Cluster
from labkit.cluster.status import State
from labkit.errors import BadInput
from labkit.faults.base import Fault, Probe, await_service, probe_state
from labkit.faults.partition import Partition
from labkit.topology import Region


@dataclass(frozen=True)
class Disaster(Fault):
    """Cut a region off, and kill it when it has been alone for a while; healing starts it again.

    In the time between, the region still serves those inside it. What it acknowledges then is on
    no other node: this is where a commit that waits for nobody is lost. A region that is killed at
    once loses next to nothing, because what was sent before still arrives.

    Attributes:
        alone_s: seconds between the cut and the end.
    """

    name: ClassVar[str] = "disaster"

    target: Region
    alone_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is not a region.

        Raises:
            BadInput: the target is not a region, or `alone_s` is negative or not finite.
        """
        if not isinstance(self.target, Region):
            raise BadInput(f"a disaster hits a region, {self.target} is not one")
        if not isfinite(self.alone_s) or self.alone_s < 0:
            raise BadInput(f"disaster: alone_s must be 0 or more and finite, not {self.alone_s:g}")

    @property
    def injection_s(self) -> float:
        """The time that the region is alone."""
        return self.alone_s

    @property
    def _cut(self) -> Partition:
        return Partition(self.target)

    def available(self, cluster: Cluster) -> str | None:
        """Needs `CanKill`, and what a partition needs."""
        if not isinstance(cluster, CanKill):
            return f"the {cluster.backend} backend cannot kill its parts"
        return self._cut.available(cluster)

    def inject(self, cluster: Cluster) -> None:
        """Returns when every process is dead.

        The links carry again then: nothing is left behind them, and people who were in the region
        reach the others by other lines.
        """
        self.require_available(cluster)
        assert isinstance(cluster, CanKill)
        self._cut.inject(cluster)
        sleep(self.alone_s)
        cluster.kill(self.target)
        self._cut.mend(cluster)

    def probe(self, cluster: Cluster) -> Probe:
        """It bit when every part is down."""
        return probe_state(cluster, self.target, State.DOWN)

    def heal(self, cluster: Cluster) -> None:
        """Start what is down of the region and wait until it is in service."""
        if self.available(cluster) is not None:
            return
        assert isinstance(cluster, CanKill)
        self._cut.mend(cluster)
        cluster.restart(self.target)
        await_service(cluster, self.target)
