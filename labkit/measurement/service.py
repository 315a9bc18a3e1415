"""How much service each region had in each phase of a run, and what the rest ended in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from labkit.history import FaultWindow, History
from labkit.measurement.recovery import Healthy, judged_windows
from labkit.measurement.taxonomy import in_words
from labkit.measurement.windows import Phase, is_ok, phases, run_end_s


@dataclass(frozen=True, slots=True)
class Service:
    """How long a region's orders were below the steady state in one phase.

    Attributes:
        phase: as `labkit.measurement.windows.Phase`; a window belongs to the phase it touches
            first of "during", "before" and "after".
        observed_s: seconds of windows in which orders were scheduled that can be judged.
        below_s: those of them that were not healthy, by `Healthy`, however they are spread. An
            outage (`recovery`) may have healthy windows in it and is as long or longer.
    """

    region: str
    phase: str
    observed_s: float
    below_s: float

    @property
    def availability(self) -> float | None:
        """The share of the observed time with service; None when nothing was observed."""
        return None if self.observed_s == 0 else 1 - self.below_s / self.observed_s


@dataclass(frozen=True, slots=True)
class Failures:
    """Operations that were not acknowledged, of one region, phase, kind and error.

    Attributes:
        outcome: "fail" or "info".
        error: the last error in words (`labkit.measurement.taxonomy`).
        sqlstate: of the last error; empty when none came.
        count: how many.
    """

    region: str
    phase: str
    kind: str
    outcome: str
    error: str
    sqlstate: str
    count: int


def service(history: History, healthy: Healthy | None = None) -> tuple[Service, ...]:
    """Rows region by region in the history's order, phases in order.

    A window is `healthy.width_s` long; the first fault's injection begins one.
    """
    healthy = healthy or Healthy()
    history = history.orders
    ops, faults = history.ops, history.faults
    if ops.empty:
        return ()
    first_s = float(ops["scheduled_s"].min())
    origin_s = min((fault.injected_s for fault in faults), default=first_s)
    # whole windows back from the origin, to before the first operation
    since_s = origin_s - np.ceil(max(0.0, origin_s - first_s) / healthy.width_s) * healthy.width_s
    end_s = run_end_s(ops)
    rows = []
    for region in history.regions:
        starts_s, fine = judged_windows(
            ops[ops["region"] == region], since_s=since_s, healthy=healthy, end_s=end_s
        )
        phase = _phase_of(starts_s, healthy.width_s, faults)
        for name in [Phase.BEFORE, Phase.DURING, Phase.AFTER] if faults else [Phase.WHOLE]:
            here = phase == name
            rows.append(
                Service(
                    region,
                    str(name),
                    observed_s=float(here.sum() * healthy.width_s),
                    below_s=float((here & ~fine).sum() * healthy.width_s),
                )
            )
    return tuple(rows)


def failures(history: History) -> tuple[Failures, ...]:
    """What was not acknowledged, most frequent first within a region and phase.

    What was acknowledged at last is not in it, however often it was tried.
    """
    bad = ~is_ok(history.ops)
    lost = history.ops[bad]
    if lost.empty:
        return ()
    sent = lost["sent_s"].notna()
    counts = Counter(
        zip(
            lost["region"].astype(str),
            phases(history)[bad].astype(str),
            lost["kind"].astype(str),
            lost["outcome"].astype(str),
            lost["sqlstate"].astype(str).where(sent, ""),
            sent,
            strict=True,
        )
    )
    phase_place = {str(phase): place for place, phase in enumerate(Phase)}
    region_place = {region: place for place, region in enumerate(history.regions)}
    rows = [
        Failures(region, phase, kind, outcome, in_words(sqlstate, sent=sent), sqlstate, count)
        for (region, phase, kind, outcome, sqlstate, sent), count in counts.items()
    ]
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                region_place.get(row.region, len(region_place)),
                phase_place[row.phase],
                -row.count,
                row.error,
            ),
        )
    )


def _phase_of(starts_s: np.ndarray, width_s: float, faults: tuple[FaultWindow, ...]) -> np.ndarray:
    """The phase of each window."""
    if not faults:
        return np.full(len(starts_s), str(Phase.WHOLE))
    during = np.zeros(len(starts_s), dtype=bool)
    for fault in faults:
        healed_s = np.inf if fault.healed_s is None else fault.healed_s
        during |= (starts_s + width_s > fault.injected_s) & (starts_s < healed_s)
    before = starts_s < min(fault.injected_s for fault in faults)
    return np.where(
        during, str(Phase.DURING), np.where(before, str(Phase.BEFORE), str(Phase.AFTER))
    )
