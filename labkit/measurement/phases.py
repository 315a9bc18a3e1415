"""The phases of a run: before the fault, while service was gone, while the fault held, after it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import inf

import numpy as np
import pandas as pd

from labkit.history import History
from labkit.measurement.outages import Healthy
from labkit.measurement.recovery import streams
from labkit.measurement.windows import between, region_codes, run_end_s, watched
from labkit.record import FaultWindow


class Phase(StrEnum):
    """The phase of a run that an operation falls into, by faults and by its region's outages."""

    WHOLE = "whole run"
    """There was no fault: one phase."""
    BEFORE = "before"
    """It ended before the first fault was injected."""
    OUTAGE = "outage"
    """Some part of its life, due to finished, lies in an outage of its region that was on at the
    first injection or began later. An order that was under way when service ceased belongs here:
    its latency is the outage's."""
    DURING = "during"
    """Some part of its life lies between a fault's injection and its healing, and none in an
    outage: a failover leaves a cluster that answers with a node less, and this is its latency."""
    AFTER = "after"
    """It was due when every fault injected so far was healed, and outside every outage."""


NOWHERE = -1
"""The code of no phase."""

Spans = list[tuple[float, float]]
"""Stretches of time, seconds: from when until when, in order, without overlap."""
Pauses = Sequence[tuple[float, float]]
"""From when until when nobody watched, because a trial was over and the next one not begun."""


def phases_of(faults: tuple[FaultWindow, ...]) -> list[Phase]:
    """List the phases of a run, in order."""
    return [Phase.BEFORE, Phase.OUTAGE, Phase.DURING, Phase.AFTER] if faults else [Phase.WHOLE]


def phases(history: History, healthy: Healthy | None = None, pauses: Pauses = ()) -> pd.Series:
    """Tell the phase of each operation, as a categorical aligned with `history.ops`.

    What nobody watched has none (`labkit.measurement.windows.watched`), so no table counts it. A
    fault that was never healed holds to the end, so such a run has no "after".

    Args:
        pauses: between trials; each trial has phases of its own.
    """
    names = pd.Index([str(phase) for phase in phases_of(history.faults)])
    codes = np.concatenate(
        [_codes(trial, healthy or Healthy()) for trial in between(history, pauses)]
    )
    return pd.Series(pd.Categorical.from_codes(codes, names), index=history.ops.index, name="phase")


def _codes(history: History, healthy: Healthy) -> np.ndarray:
    """Give the place of each operation's phase in `phases_of`."""
    ops, faults = history.ops, history.faults
    codes = np.zeros(len(ops), dtype=np.int8)
    if faults:
        scheduled = ops["scheduled_s"].to_numpy()
        finished = ops["finished_s"].to_numpy()
        first_s = min(fault.injected_s for fault in faults)
        held = _touching(scheduled, finished, held_spans(faults))
        codes = np.where(held, 2, np.where(finished < first_s, 0, 3)).astype(np.int8)
        region = region_codes(history)
        for code, spans in enumerate(outage_spans(history, healthy).values()):
            here = np.flatnonzero(region == code)
            codes[here[_touching(scheduled[here], finished[here], spans)]] = 1
    codes[~watched(history, healthy.slow_ms / 1000)] = NOWHERE
    return codes


def outage_spans(history: History, healthy: Healthy | None = None) -> dict[str, Spans]:
    """Tell when service was gone in each region, from the first injection on."""
    first_s = min((fault.injected_s for fault in history.faults), default=inf)
    end_s = run_end_s(history.ops)
    return {
        region: [
            (max(start_s, first_s), until_s)
            for start_s, until_s in stream.gone(end_s)
            if until_s > first_s
        ]
        for region, stream in streams(history, healthy).items()
    }


def held_spans(faults: tuple[FaultWindow, ...]) -> Spans:
    """Tell when at least one fault held."""
    held: Spans = []
    for fault in sorted(faults, key=lambda fault: fault.injected_s):
        healed_s = inf if fault.healed_s is None else fault.healed_s
        if held and fault.injected_s <= held[-1][1]:
            held[-1] = (held[-1][0], max(held[-1][1], healed_s))
        else:
            held.append((fault.injected_s, healed_s))
    return held


def _touching(scheduled: np.ndarray, finished: np.ndarray, spans: Spans) -> np.ndarray:
    """Tell which lives lie in one of the spans, at least in part."""
    touched = np.zeros(len(scheduled), dtype=bool)
    for since_s, until_s in spans:
        touched |= (finished >= since_s) & (scheduled < until_s)
    return touched
