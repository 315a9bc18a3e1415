"""What every fault is, and how one is applied so that it is always healed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import ClassVar

from labkit.clock import wait_until
from labkit.cluster.base import Cluster
from labkit.cluster.status import ClusterStatus, Part, State
from labkit.errors import FaultUnavailable
from labkit.topology import Region, Target

HEAL_TIMEOUT_S = 90.0
"""How long a target may take to be in service again; a rewind of a large database takes longest."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was seen of a fault's effect at one moment.

    Attributes:
        bit: the target shows the effect. That a request was accepted is no evidence.
        detail: what was seen, one line.
    """

    bit: bool
    detail: str


@dataclass(frozen=True)
class Fault(ABC):
    """Something that is done to a part of a cluster, and undone again.

    A fault is data; the same object may be injected and healed again and again.
    """

    name: ClassVar[str]
    """What people and commands call it, such as `kill`."""
    needs_not: ClassVar[frozenset[State]] = frozenset()
    """States of a part that the fault cannot take effect on."""

    target: Target

    @property
    def target_name(self) -> str:
        """What it is aimed at, as people and commands say it: `us-west-2/1`."""
        return str(self.target)

    @property
    def label(self) -> str:
        """`kill us-west-2/1`: for legends and tables."""
        return f"{self.name} {self.target_name}"

    @property
    def injection_s(self) -> float:
        """How long its injection may take, in seconds; 0 for one that is over in a moment."""
        return 0.0

    def __str__(self) -> str:
        return self.label

    @abstractmethod
    def available(self, cluster: Cluster) -> str | None:
        """None when it can be applied to this cluster, else the reason why not."""

    @abstractmethod
    def inject(self, cluster: Cluster) -> None:
        """Apply it.

        Raises:
            FaultUnavailable: `available` gives a reason.
            UnknownTarget: the target is not part of this cluster.
        """

    @abstractmethod
    def probe(self, cluster: Cluster) -> Probe:
        """Look for its effect. Changes nothing; takes as long as `cluster.status()`."""

    @abstractmethod
    def heal(self, cluster: Cluster) -> None:
        """Undo it and wait until the target is in service. Idempotent; safe when nothing is wrong.

        Raises:
            NotReady: the target did not come back in time.
        """

    def unfit(self, cluster: Cluster) -> list[str]:
        """Name what keeps the fault from taking effect now: `us-west-2/1 is down`."""
        if not self.needs_not:
            return []
        parts = parts_of(cluster.status(), self.target)
        return [f"{part.name} is {part.state}" for part in parts if part.state in self.needs_not]

    def require_available(self, cluster: Cluster) -> None:
        """Refuse what cannot be applied to this cluster.

        Raises:
            FaultUnavailable: with the reason.
        """
        reason = self.available(cluster)
        if reason:
            raise FaultUnavailable(f"{self.label}: {reason}")


def await_bite(fault: Fault, cluster: Cluster, *, timeout_s: float = 10.0) -> Probe:
    """Probe until the fault shows an effect; the last probe when it did not in `timeout_s`."""
    deadline_s = monotonic() + timeout_s
    while True:
        probe = fault.probe(cluster)
        if probe.bit or monotonic() >= deadline_s:
            return probe
        sleep(0.1)


def require_absent(fault: Fault, cluster: Cluster) -> Probe:
    """Refuse a fault that cannot be applied, or that holds already: its effect would prove nothing.

    Returns:
        What the probe saw before the fault.

    Raises:
        FaultUnavailable: with the reason.
    """
    fault.require_available(cluster)
    before = fault.probe(cluster)
    if before.bit:
        raise FaultUnavailable(
            f"{fault.label} holds already ({before.detail}): `labkit heal` undoes it"
        )
    if unfit := fault.unfit(cluster):
        raise FaultUnavailable(
            f"{fault.label} cannot take effect ({', '.join(unfit)}): `labkit heal` first"
        )
    return before


@contextmanager
def applied(fault: Fault, cluster: Cluster) -> Iterator[None]:
    """Hold a fault for the length of a `with` block; it is healed however the block ends.

    Raises:
        FaultUnavailable: see `require_absent`; nothing was changed.
        NotReady: the target did not come back in time.
    """
    require_absent(fault, cluster)
    try:
        fault.inject(cluster)
        yield
    finally:
        fault.heal(cluster)


def parts_of(status: ClusterStatus, target: Target | None = None) -> tuple[Part, ...]:
    """The parts of a cluster that a target stands for: of a region all of them, of None every."""
    parts = status.parts
    if target is None:
        return parts
    if isinstance(target, Region):
        return tuple(part for part in parts if part.region == target.name)
    return tuple(part for part in parts if part.name == target.name)


def probe_state(cluster: Cluster, target: Target, state: State) -> Probe:
    """Whether every part of a target is in a state and out of service: alive is not accessible."""
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
        NotReady: one is not; names it.
    """
    unwell: list[str] = []

    def ready() -> bool:
        parts = parts_of(cluster.status(), target)
        unwell[:] = [f"{part.name}: {part.detail}" for part in parts if not part.healthy]
        return not unwell

    wait_until(ready, what=f"{target}", timeout_s=timeout_s, hint=lambda: "; ".join(unwell))
