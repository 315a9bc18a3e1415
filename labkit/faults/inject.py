"""Injects and heals faults, for experiments, the desk and the command line alike.

injection = inject(Kill(node), cluster)
print(injection.after.detail)  # what was seen: us-west-2/1 down and out of service
injection.heal()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Protocol, TypeVar

from labkit.cluster.base import Cluster, resolve
from labkit.errors import FaultUnavailable, LabError
from labkit.faults.base import Fault, Probe, await_service
from labkit.faults.parse import parse
from labkit.record import FaultWindow
from labkit.topology import Region

T = TypeVar("T")


class Run(Protocol):
    """A way to do something that blocks."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """Do it, and return what it returns."""


def at_once(action: Callable[[], T], /) -> T:
    """Do it here and now."""
    return action()


@dataclass(slots=True)
class Injection:
    """The receipt of a fault in a cluster, and the way to undo it.

    Attributes:
        fault: as it holds, see `Fault.inject`.
        before: the probe before the injection.
        after: the last probe after it.
        window: what a run records of the fault.
        record: called with the window each time it changes.
        inject_s: the seconds that the injection took.
    """

    fault: Fault
    cluster: Cluster
    before: Probe
    after: Probe
    window: FaultWindow
    record: Callable[[FaultWindow], None]
    inject_s: float = 0.0

    @property
    def took_s(self) -> float | None:
        """Return the seconds from the injection until the effect was seen; None if it was not."""
        window = self.window
        return None if window.took_effect_s is None else window.took_effect_s - window.injected_s

    def heal(self) -> None:
        """Undo the fault and wait until the target is in service. Idempotent.

        Raises:
            NotReady: the target did not come back in time.
        """
        self.fault.heal(self.cluster)
        self.healed()

    def healed(self) -> None:
        """Record that the fault was undone, whoever did it."""
        self._change(self.window.healed(monotonic()))

    def begin(self) -> None:
        """Inject the fault. `inject` does this."""
        self.fault = self.fault.inject(self.cluster)
        self.inject_s = monotonic() - self.window.injected_s

    def saw(self, probe: Probe) -> None:
        """Record the last probe. `inject` does this."""
        self.after = probe
        window = self.fault.begun(self.cluster.topology, self.window.injected_s)
        took_effect_s = monotonic() if probe.took_effect else None
        self._change(replace(window, took_effect_s=took_effect_s, detail=probe.detail))

    def _change(self, window: FaultWindow) -> None:
        self.window = window
        self.record(window)


def inject(
    fault: Fault,
    cluster: Cluster,
    *,
    record: Callable[[FaultWindow], None] = lambda window: None,
    run: Run = at_once,
    heal: Callable[[Injection], None] = Injection.heal,
    timeout_s: float = 10.0,
) -> Injection:
    """Inject a fault and wait for its effect; heal it if that fails or is interrupted.

    A fault without an effect stays, and its receipt says so.

    Args:
        record: called with the window of the fault before it is injected, when its effect was seen
            or did not come, and when it is healed.
        run: does each step that blocks.
        heal: heals after a failure.
        timeout_s: how long the fault may take to show an effect.

    Raises:
        FaultUnavailable: see `require_absent`; nothing was changed.
    """
    before = run(lambda: require_absent(fault, cluster))
    window = fault.begun(cluster.topology, monotonic())
    injection = Injection(fault, cluster, before, before, window, record)
    record(window)
    with healed_on_failure(injection, heal):
        run(injection.begin)
        injection.saw(run(lambda: await_effect(injection.fault, cluster, timeout_s=timeout_s)))
    return injection


@contextmanager
def healed_on_failure(
    injection: Injection, heal: Callable[[Injection], None] = Injection.heal
) -> Iterator[None]:
    """Heal a fault if the block raises. The error goes on; one of the healing is noted on it."""
    try:
        yield
    except BaseException as error:
        try:
            heal(injection)
        except LabError as failed:
            error.add_note(f"the fault may hold in part ({failed}): `labkit heal`")
        raise


@contextmanager
def applied(fault: Fault, cluster: Cluster, *, timeout_s: float = 10.0) -> Iterator[Injection]:
    """Hold a fault during a `with` block, from its effect on, and heal it however the block ends.

    Args:
        timeout_s: how long the fault may take to show an effect; then the block begins without.

    Raises:
        FaultUnavailable: see `require_absent`; nothing was changed.
        NotReady: the target did not come back in time.
    """
    injection = inject(fault, cluster, timeout_s=timeout_s)
    with healed_on_failure(injection):
        yield injection
    injection.heal()


def require_absent(fault: Fault, cluster: Cluster) -> Probe:
    """Refuse a fault that cannot be applied, or that holds already.

    The effect of a fault that held before would prove nothing.

    Returns:
        The probe before the fault.

    Raises:
        FaultUnavailable: the message gives the reason.
    """
    fault.require_available(cluster)
    before = fault.probe(cluster)
    if before.took_effect:
        raise FaultUnavailable(
            f"{fault.label} holds already ({before.detail}): `labkit heal` undoes it"
        )
    if unfit := fault.unfit(cluster):
        raise FaultUnavailable(
            f"{fault.label} cannot take effect ({', '.join(unfit)}): `labkit heal` first"
        )
    return before


def await_effect(fault: Fault, cluster: Cluster, *, timeout_s: float = 10.0) -> Probe:
    """Probe until the fault shows an effect, or `timeout_s` has passed; return the last probe."""
    deadline_s = monotonic() + timeout_s
    while True:
        probe = fault.probe(cluster)
        if probe.took_effect or monotonic() >= deadline_s:
            return probe
        sleep(0.1)


def heal_target(cluster: Cluster, target: str) -> None:
    """Undo whatever anybody did to one target, and wait until it is in service.

    Args:
        target: a node, region or balancer, or a link as `REGION:PEER`.

    Raises:
        NotReady: it did not come back in time.
        UnknownTarget: it names nothing here.
    """
    link = ":" in target.removeprefix("lb:")
    here = None if link else resolve(cluster, target)
    kinds = ["partition", "slow"] if link or isinstance(here, Region) else []
    kinds += [] if link else ["pause", "kill"]
    for fault in [parse(kind, target, cluster) for kind in kinds]:
        if fault.available(cluster) is None:
            fault.mend(cluster)
    if here is not None:
        await_service(cluster, here)
