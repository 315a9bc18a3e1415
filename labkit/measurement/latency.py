"""Latency per region and phase."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from labkit.history import History
from labkit.measurement.outages import Healthy
from labkit.measurement.percentiles import least, percentile
from labkit.measurement.phases import Pauses, phases
from labkit.measurement.windows import ALL_REGIONS, is_ok, latency_s, region_codes
from labkit.record import OpKind, Outcome


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of one kind of operation of one region in one phase, from the scheduled moment.

    Percentiles are over acknowledged operations only, by `labkit.measurement.percentiles`; one is
    None where there are too few of them for it. `ok`, `fail` and `info` say how many stand behind
    them and how many do not.
    """

    region: str
    phase: str
    ok: int
    fail: int
    info: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    kind: str = OpKind.ORDER

    @property
    def no_p99(self) -> str:
        """Why there is no p99, where there is none."""
        return f"{self.ok:,} acknowledged orders, p99 takes {least(99)}"


def latency_table(
    history: History, healthy: Healthy | None = None, pauses: Pauses = ()
) -> tuple[Latency, ...]:
    """Latency by kind of operation: each region in each phase, and all regions together.

    Args:
        pauses: between trials (`phases`).

    Returns:
        Orders first, then what other kinds there are. Of each, rows region by region in the
        history's order, then `ALL_REGIONS`; phases in order. A phase in which a region did
        nothing has a row of zeros. What nobody watched is in none.
    """
    phase = phases(history, healthy, pauses)
    present = set(history.ops["kind"][phase.notna()].astype(str)) - {str(OpKind.ORDER)}
    kinds = [str(OpKind.ORDER), *sorted(present)]
    return tuple(row for kind in kinds for row in _of_kind(history, kind, phase))


def _of_kind(history: History, kind: str, phase: pd.Series) -> list[Latency]:
    of_kind = np.asarray(history.ops["kind"] == kind)
    phase = phase[of_kind]
    history = replace(history, ops=history.ops[of_kind])
    region = region_codes(history)
    ok = is_ok(history.ops)
    failed = np.asarray(history.ops["outcome"] == str(Outcome.FAIL))
    latencies_s = latency_s(history.ops)
    rows = []
    for code, name in enumerate((*history.regions, ALL_REGIONS)):
        here = np.full(len(region), True) if name == ALL_REGIONS else region == code
        for phase_name in phase.cat.categories:
            chosen = here & np.asarray(phase == phase_name)
            rows.append(
                Latency(
                    name,
                    phase_name,
                    int((chosen & ok).sum()),
                    int((chosen & failed).sum()),
                    int((chosen & ~ok & ~failed).sum()),
                    *_percentiles_ms(latencies_s[chosen & ok]),
                    kind=kind,
                )
            )
    return rows


def _percentiles_ms(
    latencies_s: np.ndarray,
) -> tuple[float | None, float | None, float | None, float | None, float | None]:
    p50, p90, p99, p999 = (percentile(latencies_s, p) for p in (50, 90, 99, 99.9))
    slowest = float(latencies_s.max()) if latencies_s.size else None
    return _ms(p50), _ms(p90), _ms(p99), _ms(p999), _ms(slowest)


def _ms(value_s: float | None) -> float | None:
    """Milliseconds to the microsecond."""
    return None if value_s is None else round(value_s * 1000, 3)
