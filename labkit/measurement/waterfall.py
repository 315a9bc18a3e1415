"""The stages of an outage, from the fault to the first acknowledged order.

Every stage is the moment of a piece of evidence (`labkit.events`), of the fault's probe, or of an
acknowledgement in the history. A stage that nobody noticed is not seen: nothing is filled in.

Stages are noticed by different observers, so they are in order only as far as their evidence goes
(`Sighting.not_before_s`). The probe of a fault takes up to a second and often comes after the
balancer. And where clients find another node by themselves (CockroachDB), the first acknowledgement
may come before the balancer lets go of the lost one, and before all of its leases have moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from labkit.events import Event, Sign
from labkit.history import History
from labkit.measurement.recovery import write_gap
from labkit.measurement.windows import is_ok, watched_orders
from labkit.record import FaultWindow

UNUSUAL = 3
"""Acknowledgements have ceased when none came for so many times the longest pause before the
fault. Pauses between random arrivals are exponential and the longest of n grows with ln n, so that
one of three times the longest of n comes once in n cubed."""


class Stage(StrEnum):
    """A step of an outage, in the order of cause and effect."""

    INJECTED = "injected"
    """The injection of the fault was begun."""
    EFFECT = "effect"
    """The fault's probe first saw its effect: it had it by then."""
    DETECTED = "detected"
    """The region's balancer decided to send nobody to the lost server."""
    ELECTED = "elected"
    """Another node leads: it took the leader key, or it holds the leases."""
    REROUTED = "rerouted"
    """The region's balancer sends clients to the new leader. Not a step of its own where every
    node takes clients (CockroachDB)."""
    CONNECTED = "connected"
    """A client of the region got its first new connection."""
    ACKED = "acked"
    """A client of the region got its first acknowledgement again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A stage of one region's outage.

    Attributes:
        at_s: seconds since the injection; None when it was not seen. It happened between
            `at_s - within_s` and `at_s`.
        source: who noticed it, such as "HAProxy".
        detail: what it noticed, one line.
    """

    stage: Stage
    at_s: float | None = None
    within_s: float = 0.0
    source: str = ""
    detail: str = ""

    @property
    def not_before_s(self) -> float | None:
        """The first moment at which it may have happened; never before the injection."""
        return None if self.at_s is None else max(0.0, self.at_s - self.within_s)


@dataclass(frozen=True, slots=True)
class RegionWaterfall:
    """The outage as one region had it.

    Attributes:
        last_ack_s: when the last order before the outage was acknowledged, seconds since the
            injection (one that was on its way comes after it); None when acknowledgements never
            ceased.
        stages: one of each `Stage`, in order. Where acknowledgements never ceased, no connection
            and no acknowledgement is the first, so these two are not seen.
    """

    region: str
    last_ack_s: float | None
    stages: tuple[Sighting, ...]

    @property
    def ceased(self) -> bool:
        """Tell whether there was an outage in this region at all."""
        return self.last_ack_s is not None

    def seen(self, stage: Stage) -> Sighting:
        """One of its stages."""
        return next(sighting for sighting in self.stages if sighting.stage is stage)


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The stages of the outage that one fault caused, per region.

    Attributes:
        fault: the fault's label, such as "kill us-west-2/1".
        regions: in the history's order.
    """

    fault: str
    regions: tuple[RegionWaterfall, ...]

    def region(self, name: str) -> RegionWaterfall:
        """One region's.

        Raises:
            KeyError: it was not driven.
        """
        for region in self.regions:
            if region.region == name:
                return region
        raise KeyError(name)


def waterfalls(history: History) -> tuple[Waterfall, ...]:
    """One of each fault of a run."""
    return tuple(waterfall(history, history.events, fault) for fault in history.faults)


def waterfall(history: History, events: Iterable[Event], fault: FaultWindow) -> Waterfall:
    """Put what was noticed of one fault into its stages.

    Args:
        history: its orders and faults; what was noticed after the next fault is that one's, and
            what was due or noticed after the watch ended is passed over.
        events: in any order; what was noticed before the injection is passed over.
    """
    later = [f.injected_s for f in history.faults if f.injected_s > fault.injected_s]
    until_s = min([*later, history.watched_until_s])
    mine = sorted(
        (event for event in events if fault.injected_s <= event.at_s < until_s),
        key=lambda event: event.at_s,
    )
    orders = watched_orders(history)
    return Waterfall(
        fault.label,
        tuple(
            _region(name, orders[orders["region"] == name], mine, fault, until_s)
            for name in history.regions
        ),
    )


def _region(
    name: str, orders: pd.DataFrame, events: Sequence[Event], fault: FaultWindow, until_s: float
) -> RegionWaterfall:
    gap = outage(orders, fault)
    acked_s = gap.end_s if gap else None
    end_s = until_s if acked_s is None else acked_s
    # who was elected only after the first acknowledgement did not bring it about
    if name in fault.balancers:
        # what it says once it is started again is no decision that it took in the outage
        taken_s = np.inf if fault.took_effect_s is None else fault.took_effect_s
        events = [e for e in events if not _lets_go(e, name) or e.at_s <= taken_s]
    known = [event for event in events if event.not_before_s <= end_s]
    here = [event for event in known if event.region == name]

    aimed_at = [event for event in events if event.node in fault.nodes]
    detected = _detected([event for event in aimed_at if event.region == name], here)
    elected = _elected(known) or _moved(aimed_at)
    rerouted = _rerouted(here, detected, elected)
    connected = None
    if gap:
        since_s = max(fault.injected_s, gap.start_s)
        if elected and elected.sign is not Sign.LEASES_MOVED:
            # every connection leads to the leader, so it was not there before
            since_s = elected.not_before_s if rerouted is None else rerouted.not_before_s
        connected = _first(here, Sign.CONNECTED, since_s)

    promoted = [e for e in known if e.sign is Sign.PROMOTED and elected and e.node == elected.node]

    def sighting(stage: Stage, event: Event | None) -> Sighting:
        if event is None:
            return Sighting(stage)
        what = ": ".join(filter(None, (event.node, event.detail)))
        if stage is Stage.ELECTED and event.sign is Sign.LEADER and promoted:
            what += f", took writes at {promoted[-1].at_s - fault.injected_s:.2f} s"
        return Sighting(stage, event.at_s - fault.injected_s, event.within_s, event.source, what)

    effect_s = acked = None
    if fault.took_effect_s is not None:
        effect_s = fault.took_effect_s - fault.injected_s
    if acked_s is not None:
        acked = acked_s - fault.injected_s
    return RegionWaterfall(
        name,
        gap.start_s - fault.injected_s if gap else None,
        (
            Sighting(Stage.INJECTED, 0.0, 0.0, "lab", fault.label),
            Sighting(Stage.EFFECT)
            if effect_s is None
            # the probe says when it first saw it, not since when it holds
            else Sighting(Stage.EFFECT, effect_s, effect_s, "probe", fault.detail),
            sighting(Stage.DETECTED, detected),
            sighting(Stage.ELECTED, elected),
            sighting(Stage.REROUTED, rerouted),
            sighting(Stage.CONNECTED, connected),
            Sighting(Stage.ACKED) if acked is None else Sighting(Stage.ACKED, acked, 0.0, "client"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without an acknowledgement; `end_s` is None when it lasted to the end of the run."""

    start_s: float
    end_s: float | None


def outage(orders: pd.DataFrame, fault: FaultWindow) -> Gap | None:
    """Return the longest gap between acknowledgements that overlaps the fault, when it is unusual.

    Args:
        orders: of one region.

    Returns:
        None when acknowledgements never ceased; see `UNUSUAL`.
    """
    found = write_gap(orders, fault)
    if found is None:
        return None
    start_s, end_s = found
    acks_s = np.sort(orders["finished_s"].to_numpy()[is_ok(orders)])
    usual_s = np.diff(acks_s[acks_s < fault.injected_s]).max(initial=0.0)
    if end_s - start_s <= UNUSUAL * usual_s:
        return None
    return Gap(start_s, end_s if end_s in acks_s else None)


def _detected(aimed_at: Sequence[Event], here: Sequence[Event]) -> Event | None:
    """Find the first server that the balancer took out: of the target at any time, else another.

    Where clients need no balancer to find another node, it may notice after they did. A balancer
    in the region that is cut off, or far from it, loses other servers than those aimed at.
    """
    downs = [event for event in (*aimed_at, *here) if event.sign is Sign.SERVER_DOWN]
    return next(iter(downs), None)


def _elected(known: Sequence[Event]) -> Event | None:
    """Tell who led when service came back: the last one that was elected until then.

    Where the leader key's change went unnoticed, the promotion that followed stands for it.
    """
    for sign in (Sign.LEADER, Sign.PROMOTED):
        found = [event for event in known if event.sign is sign]
        if found:
            return found[-1]
    return None


def _moved(aimed_at: Sequence[Event]) -> Event | None:
    """Find when the last node of the target lost its leases, at any time."""
    first: dict[str, Event] = {}
    for event in aimed_at:
        if event.sign is Sign.LEASES_MOVED:
            first.setdefault(event.node, event)
    return max(first.values(), key=lambda event: event.at_s, default=None)


def _rerouted(here: Sequence[Event], detected: Event | None, elected: Event | None) -> Event | None:
    """Find when the balancer took in the new leader, or the old one if no other was elected."""
    if elected is not None and elected.sign is not Sign.LEASES_MOVED:
        ups = [event for event in here if event.node == elected.node]
        return _first(ups, Sign.SERVER_UP, elected.not_before_s)
    if elected is None and detected is not None:
        ups = [event for event in here if event.node == detected.node]
        return _first(ups, Sign.SERVER_UP, detected.at_s)
    return None


def _first(events: Sequence[Event], sign: Sign, since_s: float) -> Event | None:
    return next((e for e in events if e.sign is sign and e.at_s >= since_s), None)


def _lets_go(event: Event, region: str) -> bool:
    return event.sign is Sign.SERVER_DOWN and event.region == region
