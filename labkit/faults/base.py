"""The base of all faults, and what their probes look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from labkit.clock import wait_until
from labkit.cluster.base import Cluster
from labkit.cluster.status import ClusterStatus, Part, State
from labkit.errors import FaultUnavailable
from labkit.record import FaultWindow
from labkit.topology import Node, Region, Target, Topology

HEAL_TIMEOUT_S = 90.0
"""A target may take so long to be in service again; a rewind of a large database is slowest."""


@dataclass(frozen=True, slots=True)
class Probe:
    """An observation of a fault's effect at one moment.

    Attributes:
        took_effect: whether the target shows the effect. An accepted request is no evidence of it.
        detail: what was observed, in one line.
    """

    took_effect: bool
    detail: str


@dataclass(frozen=True)
class Fault(ABC):
    """A disturbance of a part of a cluster that can be undone.

    A fault is data: the same object may be injected and healed any number of times.
    """

    name: ClassVar[str]
    """The name that people and commands use, such as `kill`."""
    needs: ClassVar[tuple[type, ...]] = ()
    """The capabilities that a cluster must have (`labkit.cluster.base`)."""
    deed: ClassVar[str] = ""
    """What a backend without them cannot do: `kill its parts`."""
    needs_not: ClassVar[frozenset[State]] = frozenset()
    """The fault cannot take effect on a part that is in one of these states."""
    ends_balancers: ClassVar[bool] = False
    """The fault ends or freezes the balancer of a region that it is aimed at."""

    target: Target

    @property
    def target_name(self) -> str:
        """Name the target as people and commands do: `us-west-2/1`."""
        return str(self.target)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that it is aimed at, also as the end of a link."""
        target = self.target
        return (target.name if isinstance(target, Region) else target.region,)

    def begun(self, topology: Topology, at_s: float) -> FaultWindow:
        """Record that its injection was begun, and what it is aimed at.

        Raises:
            UnknownTarget: there is no such region.
        """
        target, regions = self.target, self.regions
        nodes = [target] if isinstance(target, Node) else []
        if isinstance(target, Region):
            nodes = [node for region in regions for node in topology.nodes_of(region)]
        ended = regions if self.ends_balancers and not isinstance(target, Node) else ()
        return FaultWindow(
            self.name,
            self.target_name,
            injected_s=at_s,
            regions=regions,
            nodes=tuple(node.name for node in nodes),
            balancers=ended,
        )

    @property
    def label(self) -> str:
        """Name the fault and its target for legends and tables: `kill us-west-2/1`."""
        return f"{self.name} {self.target_name}"

    @property
    def injection_s(self) -> float:
        """Say how many seconds the injection may take; 0 if it takes no time worth waiting for."""
        return 0.0

    def __str__(self) -> str:
        return self.label

    def available(self, cluster: Cluster) -> str | None:
        """Return why the fault cannot be applied to this cluster, or None if it can."""
        if all(isinstance(cluster, capability) for capability in self.needs):
            return None
        return f"the {cluster.backend} backend cannot {self.deed}"

    @abstractmethod
    def inject(self, cluster: Any) -> Fault:
        """Apply the fault to a cluster where it is available.

        Returns:
            The fault as it holds: with what its probe and its healing must know of the injection.

        Raises:
            UnknownTarget: the target is not part of this cluster.
        """

    @abstractmethod
    def probe(self, cluster: Cluster) -> Probe:
        """Look for the effect. A probe changes nothing and takes as long as `cluster.status()`."""

    @abstractmethod
    def mend(self, cluster: Any) -> None:
        """Undo the fault in a cluster where it is available. Idempotent."""

    def heal(self, cluster: Cluster) -> None:
        """Undo the fault and wait until the target is in service.

        Healing is idempotent, and changes nothing if nothing is wrong.

        Raises:
            NotReady: the target did not come back in time.
        """
        if self.available(cluster) is None:  # else it cannot have been injected
            self.mend(cluster)
            self.await_healed(cluster)

    def await_healed(self, cluster: Cluster) -> None:
        """Wait until the target is in service.

        Raises:
            NotReady: it did not come back in time.
        """
        await_service(cluster, self.target)

    def unfit(self, cluster: Cluster) -> list[str]:
        """Name what keeps the fault from taking effect now: `us-west-2/1 is down`."""
        if not self.needs_not:
            return []
        parts = parts_of(cluster.status(), self.target)
        return [f"{part.name} is {part.state}" for part in parts if part.state in self.needs_not]

    def require_available(self, cluster: Cluster) -> None:
        """Refuse a fault that cannot be applied to this cluster.

        Raises:
            FaultUnavailable: the message gives the reason.
        """
        reason = self.available(cluster)
        if reason:
            raise FaultUnavailable(f"{self.label}: {reason}")


def parts_of(status: ClusterStatus, target: Target | None = None) -> tuple[Part, ...]:
    """List the parts that a target stands for: all of a region, or all of the cluster for None."""
    parts = status.parts
    if target is None:
        return parts
    if isinstance(target, Region):
        return tuple(part for part in parts if part.region == target.name)
    return tuple(part for part in parts if part.name == target.name)


def probe_state(cluster: Cluster, target: Target, state: State) -> Probe:
    """See whether every part of a target is in a state and out of service."""
    parts = parts_of(cluster.status(), target)
    spared = [part for part in parts if part.state is not state or part.healthy]
    if not parts:
        return Probe(False, f"no {target} in the cluster's status")
    if spared:
        seen = ", ".join(f"{part.name} {part.detail or part.state}" for part in spared)
        return Probe(False, f"{len(spared)} of {len(parts)} parts not {state}: {seen}")
    names = parts[0].name if len(parts) == 1 else f"all {len(parts)} parts of {target}"
    return Probe(True, f"{names} {state} and out of service")


def await_service(cluster: Cluster, target: Target, timeout_s: float = HEAL_TIMEOUT_S) -> None:
    """Wait until every part of a target is in service.

    Raises:
        NotReady: a part is not in service in time; the message names it.
    """
    unwell: list[str] = []

    def ready() -> bool:
        parts = parts_of(cluster.status(), target)
        unwell[:] = [f"{part.name}: {part.detail}" for part in parts if not part.healthy]
        return not unwell

    wait_until(ready, what=f"{target}", timeout_s=timeout_s, hint=lambda: "; ".join(unwell))
