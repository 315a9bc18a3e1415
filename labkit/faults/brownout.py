"""A brownout: the target works, but only for a part of the time, as if it were starved."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from threading import Event, Thread
from time import sleep
from typing import ClassVar

from labkit.cluster.base import CanPause, Cluster
from labkit.cluster.status import State
from labkit.errors import BadInput
from labkit.faults.base import Fault, Probe, await_service, parts_of

_SAMPLES = 12
"""How often a probe looks: a target that is frozen for a part of each period is seen both ways."""


@dataclass(frozen=True)
class Brownout(Fault):
    """Freeze a target for a share of each period, again and again, from within this process.

    A disk that stalls, a noisy neighbour, a machine that swaps: the target never dies, answers
    each health check sooner or later, and everything that waits for it waits longer. Nothing
    fails over. The freezing ends with this process at the latest; what it left frozen is thawed
    by `labkit heal`.

    Attributes:
        share: of each period that the target is frozen, above 0 and below 1.
        period_s: seconds.
    """

    name: ClassVar[str] = "brownout"

    share: float = 0.7
    period_s: float = 0.5
    _running: list[tuple[Event, Thread]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuse what is no brownout.

        Raises:
            BadInput: `share` is not between 0 and 1, or the period is not above 0 and finite.
        """
        if not 0 < self.share < 1:
            raise BadInput(f"brownout: share must be above 0 and below 1, not {self.share:g}")
        if not 0 < self.period_s < inf:
            raise BadInput(f"brownout: period_s must be above 0 and finite, not {self.period_s:g}")

    def available(self, cluster: Cluster) -> str | None:
        """Needs `CanPause`."""
        if isinstance(cluster, CanPause):
            return None
        return f"the {cluster.backend} backend cannot pause its parts"

    def inject(self, cluster: Cluster) -> None:
        """Returns when the target was frozen for the first time."""
        self.require_available(cluster)
        assert isinstance(cluster, CanPause)
        self._stop()
        cluster.pause(self.target)
        over = Event()
        thread = Thread(target=self._stutter, args=(cluster, over), daemon=True)
        self._running.append((over, thread))
        thread.start()

    def _stutter(self, cluster: CanPause, over: Event) -> None:
        """Begins frozen, and ends thawed."""
        while not over.wait(self.period_s * self.share):
            cluster.resume(self.target)
            if over.wait(self.period_s * (1 - self.share)):
                return
            cluster.pause(self.target)
        cluster.resume(self.target)

    def probe(self, cluster: Cluster) -> Probe:
        """It bit when the target is seen frozen, and seen running, within a few looks."""
        seen: set[State] = set()
        for _ in range(_SAMPLES):
            parts = parts_of(cluster.status(), self.target)
            if not parts:
                return Probe(False, f"no {self.target} in the cluster's status")
            seen.update(part.state for part in parts)
            if {State.PAUSED, State.RUNNING} <= seen:
                return Probe(True, f"{self.target} frozen at times, running at others")
            if not self._running:
                break
            sleep(self.period_s / 5)
        return Probe(False, f"{self.target} seen {' and '.join(sorted(seen))} only")

    def heal(self, cluster: Cluster) -> None:
        """Let the target run and wait until it is in service."""
        self._stop()
        if isinstance(cluster, CanPause):
            cluster.resume(self.target)
            await_service(cluster, self.target)

    def _stop(self) -> None:
        while self._running:
            over, thread = self._running.pop()
            over.set()
            thread.join()
