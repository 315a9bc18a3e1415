"""Latency per region and phase, from HDR histograms (https://hdrhistogram.github.io)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hdrh.histogram import HdrHistogram

from labkit.history import History, OpKind, Outcome
from labkit.measurement.windows import is_ok, latency_s, phases, region_codes

ALL_REGIONS = "all regions"
"""The row of a table that stands for all of them; not a possible name of a region."""

HIGHEST_US = 3_600_000_000
"""An hour: what is slower counts as an hour."""
SIGNIFICANT_DIGITS = 3
_EXACT_BITS = 11  # 3 digits: values below 2 * 10**3 are exact, so 2**11 slots a power of two


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of one kind of operation of one region in one phase, from the scheduled moment.

    Percentiles are over acknowledged operations only, within 0.1 %; they are None where there
    was none. `ok`, `fail` and `info` say how many stand behind them and how many do not.
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


def histogram(latencies_s: np.ndarray) -> HdrHistogram:
    """An HDR histogram in microseconds, 1 us to an hour, 3 significant digits.

    The library records one value at a time in Python. Rounding every value down to the slot it
    falls into anyway leaves some ten thousand distinct ones, whatever the number of operations.
    """
    microseconds = np.clip(np.rint(latencies_s * 1e6), 1, HIGHEST_US).astype(np.int64)
    _, bits = np.frexp(microseconds)  # exact: HIGHEST_US needs 32 bits, a float has 53
    dropped = np.maximum(bits - _EXACT_BITS, 0)
    slots, counts = np.unique((microseconds >> dropped) << dropped, return_counts=True)
    recorded = HdrHistogram(1, HIGHEST_US, SIGNIFICANT_DIGITS)
    for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
        recorded.record_value(slot, count)
    return recorded


def latency_table(history: History) -> tuple[Latency, ...]:
    """Latency by kind of operation: each region in each phase, and all regions together.

    Returns:
        Orders first, then what other kinds there are. Of each, rows region by region in the
        history's order, then `ALL_REGIONS`; phases in order. A phase in which a region did
        nothing has a row of zeros.
    """
    present = set(history.ops["kind"].astype(str)) - {str(OpKind.ORDER)}
    kinds = [str(OpKind.ORDER), *sorted(present)]
    return tuple(row for kind in kinds for row in _of_kind(history, kind))


def _of_kind(history: History, kind: str) -> list[Latency]:
    ops = history.ops[history.ops["kind"] == kind].reset_index(drop=True)
    history = replace(history, ops=ops)
    phase = phases(history)
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
    if not latencies_s.size:
        return None, None, None, None, None
    found = histogram(latencies_s).get_percentile_to_value_dict([50, 90, 99, 99.9])
    max_ms = round(float(latencies_s.max()) * 1000, 3)
    # a slot's upper edge may lie above everything that was recorded in it
    p50, p90, p99, p999 = (min(found[p] / 1000, max_ms) for p in (50, 90, 99, 99.9))
    return p50, p90, p99, p999, max_ms
