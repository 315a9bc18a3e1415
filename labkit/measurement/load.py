"""Results of a load: throughput and latency per region and kind, errors per class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from labkit.measurement.percentiles import percentile
from labkit.measurement.taxonomy import in_words
from labkit.measurement.windows import ALL_REGIONS, is_ok, latency_s
from labkit.record import Outcome


@dataclass(frozen=True, slots=True)
class Throughput:
    """One kind of operation from one region.

    Attributes:
        region: a region, or `ALL_REGIONS`.
        ok: how many were acknowledged; `fail` were certainly not applied, of `info` nobody knows.
        ok_per_s: acknowledged a second, over the whole span of the load.
        p50_ms: latency of the acknowledged ones, from when they were due; None without any.
        p99_ms: likewise; None of fewer than 100.
        max_ms: likewise.
    """

    region: str
    kind: str
    ok: int
    fail: int
    info: int
    ok_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Operations that did not succeed, of one class.

    Attributes:
        error: what ended the last attempt, in words (`labkit.measurement.taxonomy`).
        sqlstate: empty when there was none.
    """

    outcome: str
    error: str
    sqlstate: str
    count: int


def throughput(ops: pd.DataFrame, regions: tuple[str, ...]) -> tuple[Throughput, ...]:
    """Rows by region and kind; for each kind also all regions together, if there are several.

    Args:
        ops: columns as `history.OP_COLUMNS`, of any kinds.
        regions: those that were driven, in the order to show them.
    """
    if ops.empty:
        return ()
    span_s = float(ops["finished_s"].max() - ops["scheduled_s"].min())
    kinds = list(dict.fromkeys(ops["kind"].astype(str)))
    places = (*regions, ALL_REGIONS) if len(regions) > 1 else regions
    of_kind = {kind: ops[ops["kind"] == kind] for kind in kinds}
    return tuple(
        _row(region, kind, there, span_s)
        for region in places
        for kind in kinds
        if len(there := _at(of_kind[kind], region))
    )


def error_counts(ops: pd.DataFrame) -> tuple[ErrorCount, ...]:
    """Return what kept operations from succeeding, the most frequent first."""
    bad = ops[~is_ok(ops)]
    counts = Counter(
        zip(
            bad["outcome"].astype(str),
            bad["sqlstate"].astype(str),
            bad["sent_s"].isna(),
            strict=True,
        )
    )
    return tuple(
        ErrorCount(outcome, in_words(sqlstate, sent=not unsent), sqlstate, count)
        for (outcome, sqlstate, unsent), count in counts.most_common()
    )


def _at(ops: pd.DataFrame, region: str) -> pd.DataFrame:
    return ops if region == ALL_REGIONS else ops[ops["region"] == region]


def _row(region: str, kind: str, ops: pd.DataFrame, span_s: float) -> Throughput:
    ok = np.asarray(is_ok(ops))
    fail = int((ops["outcome"] == str(Outcome.FAIL)).sum())
    latencies_ms = latency_s(ops)[ok] * 1000
    return Throughput(
        region=region,
        kind=kind,
        ok=int(ok.sum()),
        fail=fail,
        info=int((~ok).sum()) - fail,
        ok_per_s=ok.sum() / span_s if span_s > 0 else 0.0,
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        max_ms=float(latencies_ms.max()) if latencies_ms.size else None,
    )
