"""A brownout: the target is frozen for a share of each period, and works in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from threading import Event, Thread
from time import sleep
from typing import ClassVar

from labkit.cluster.base import CanPause, Cluster
from labkit.cluster.status import State
from labkit.errors import BadInput
from labkit.faults.base import Fault, Probe, parts_of


@dataclass(frozen=True)
class Brownout(Fault):
    """A fault that freezes a target for a share of each period, from within this process.

    It stands for a disk that stalls, a noisy neighbour or a machine that swaps. The target never
    dies. It answers each health check sooner or later, so nothing fails over, and whatever waits
    for the target waits longer. The freezing ends with this process at the latest. If the process
    leaves the target frozen, `labkit heal` lets it run again.

    Attributes:
        share: the share of each period that the target is frozen, above 0 and below 1.
        period_s: the length of a period in seconds.
    """

    name: ClassVar[str] = "brownout"
    needs: ClassVar[tuple[type, ...]] = (CanPause,)
    deed: ClassVar[str] = "pause its parts"
    looks: ClassVar[int] = 1
    """A probe looks so often: once sees no brownout, but that nobody here goes on with one."""

    share: float = 0.7
    period_s: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a share or a period that is out of range.

        Raises:
            BadInput: `share` is not between 0 and 1, or the period is not above 0 and finite.
        """
        if not 0 < self.share < 1:
            raise BadInput(f"brownout: share must be above 0 and below 1, not {self.share:g}")
        if not 0 < self.period_s < inf:
            raise BadInput(f"brownout: period_s must be above 0 and finite, not {self.period_s:g}")

    def inject(self, cluster: CanPause) -> Brownout:
        """Freeze the target for the first time, and let a thread go on with it."""
        cluster.pause(self.target)
        over = Event()
        thread = Thread(target=self._stutter, args=(cluster, over), daemon=True)
        thread.start()

        def end() -> None:
            over.set()
            thread.join()

        return _GoingOn(self.target, self.share, self.period_s, end)

    def _stutter(self, cluster: CanPause, over: Event) -> None:
        """Let the target run and freeze it in turn, and let it run at the end."""
        while not over.wait(self.period_s * self.share):
            cluster.resume(self.target)
            if over.wait(self.period_s * (1 - self.share)):
                return
            cluster.pause(self.target)
        cluster.resume(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """See whether the target is frozen at one look and running at another."""
        seen: set[State] = set()
        for look in range(self.looks):
            if look:
                sleep(self.period_s / 5)
            parts = parts_of(cluster.status(), self.target)
            if not parts:
                return Probe(False, f"no {self.target} in the cluster's status")
            seen.update(part.state for part in parts)
            if {State.PAUSED, State.RUNNING} <= seen:
                return Probe(True, f"{self.target} frozen at times, running at others")
        return Probe(False, f"{self.target} seen {' and '.join(sorted(seen))} only")

    def mend(self, cluster: CanPause) -> None:
        """Let the target run."""
        cluster.resume(self.target)


@dataclass(frozen=True)
class _GoingOn(Brownout):
    """A brownout that a thread of this process goes on with, until `end` is called."""

    looks: ClassVar[int] = 12

    end: Callable[[], None] = lambda: None

    def mend(self, cluster: CanPause) -> None:
        """Freeze the target no more, and let it run."""
        self.end()
        super().mend(cluster)
