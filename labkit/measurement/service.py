"""How much service each region had in each phase of a run, and what the rest ended in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.history import FaultWindow, History
from labkit.measurement.recovery import Healthy, judged_windows
from labkit.measurement.windows import Phase, is_ok, phases, run_end_s

NO_CONNECTION = "no connection in time"
NO_ANSWER = "the link died before an answer came"
CLASSES = {
    "08": "the connection was refused or broke",
    "22": "a value that cannot be",
    "23": "a constraint was broken",
    "25": "the node takes no writes",
    "28": "the login was refused",
    "40": "rolled back, or not known whether",
    "42": "the statement is wrong, or not allowed",
    "53": "the server ran out of something",
    "55": "a lock or object could not be had",
    "57": "the server shuts down, starts, or cancelled it",
    "58": "the server's machine failed",
    "LK": "the application refused it",
    "XX": "the server broke down",
}
"""Classes of SQLSTATE (its first two characters) in words, after PostgreSQL's appendix A; LK is the
trading application's own (`labkit.trading.attempts.REFUSALS`)."""


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
        error: the class of the last error in words, of `CLASSES` or the two beside it.
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
    sqlstate, sent = lost["sqlstate"].astype(str), lost["sent_s"].notna()
    error = sqlstate.str[:2].map(CLASSES).fillna(sqlstate.map(_unknown))
    table = pd.DataFrame(
        {
            "region": lost["region"].astype(str),
            "phase": phases(history)[bad].astype(str),
            "kind": lost["kind"].astype(str),
            "outcome": lost["outcome"].astype(str),
            "error": error.where(sent, NO_CONNECTION),
            "sqlstate": sqlstate.where(sent, ""),
        }
    )
    counts = table.groupby(list(table.columns)).size().reset_index(name="count")
    phase_place = {str(phase): place for place, phase in enumerate(Phase)}
    region_place = {region: place for place, region in enumerate(history.regions)}
    rows = [Failures(*row) for row in counts.itertuples(index=False, name=None)]
    return tuple(
        sorted(
            rows,
            key=lambda row: (
                region_place.get(row.region, len(region_place)),
                phase_place[row.phase],
                -row.count,
            ),
        )
    )


def _unknown(sqlstate: str) -> str:
    return f"SQLSTATE class {sqlstate[:2]}" if sqlstate else NO_ANSWER


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
