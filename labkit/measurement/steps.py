"""A run under a load that rises in steps: what each step got out, and what waited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.history import History
from labkit.measurement.percentiles import percentile
from labkit.measurement.windows import is_ok, latency_s


@dataclass(frozen=True, slots=True)
class Step:
    """One level of a load, in one region or in all.

    Attributes:
        offered_per_s: operations scheduled.
        acked_per_s: operations whose acknowledgement arrived in this time, whenever they were
            scheduled.
        waiting: operations that were due when the step ended, and had no outcome yet.
        p50_ms: of the operations scheduled in this step and acknowledged, from their scheduled
            moment, so the time in a queue is in it; NaN without any. Likewise `p90_ms`, NaN of
            fewer than 10.
        not_acked: operations scheduled in this step that were never acknowledged.
    """

    region: str
    offered_per_s: float
    acked_per_s: float
    waiting: int
    p50_ms: float
    p90_ms: float
    not_acked: int


ALL = "all regions"


def by_step(history: History, *, every_s: float, count: int, settle_s: float = 1.0) -> pd.DataFrame:
    """Cut a run into its steps.

    Args:
        every_s: seconds a step, counted from the first scheduled operation.
        count: how many steps there are; what comes after them is left out.
        settle_s: left out at the beginning of each step, while queues of the last one drain.

    Returns:
        A row a step and region, columns as `Step` and `step` (from 1); the rows of `ALL` last.
    """
    ops = history.ops
    rows = []
    begun_s = float(ops["scheduled_s"].min()) if len(ops) else 0.0
    for region in (*history.regions, ALL):
        here = ops if region == ALL else ops[ops["region"] == region]
        scheduled_s, finished_s = here["scheduled_s"].to_numpy(), here["finished_s"].to_numpy()
        ok, latency_ms = is_ok(here), latency_s(here) * 1000
        for step in range(count):
            end_s = begun_s + (step + 1) * every_s
            since_s = end_s - every_s + settle_s
            width_s = end_s - since_s
            due = (scheduled_s >= since_s) & (scheduled_s < end_s)
            acked = ok & (finished_s >= since_s) & (finished_s < end_s)
            found_ms = latency_ms[due & ok]
            p50_ms, p90_ms = (percentile(found_ms, percent) for percent in (50, 90))
            rows.append(
                {
                    "step": step + 1,
                    "region": region,
                    "offered_per_s": due.sum() / width_s,
                    "acked_per_s": acked.sum() / width_s,
                    "waiting": int(((scheduled_s < end_s) & (finished_s >= end_s)).sum()),
                    "p50_ms": np.nan if p50_ms is None else p50_ms,
                    "p90_ms": np.nan if p90_ms is None else p90_ms,
                    "not_acked": int((due & ~ok).sum()),
                }
            )
    return pd.DataFrame(rows).round(1)
