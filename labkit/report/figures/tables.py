"""Measurements as tables for a notebook: numbers, not words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from labkit.measurement.latency import Latency
from labkit.measurement.service import Failures, Service
from labkit.verdict.result import Result


def latency_table(result: Result) -> pd.DataFrame:
    """Tabulate latency from the scheduled moment, per kind, region and phase.

    Percentiles p50 to p99.9 in milliseconds, of acknowledged operations; NaN where there are too
    few for one (`labkit.measurement.percentiles`). And how many ended ok, fail and info.
    """
    return _frame(Latency, result.summary.latency, ["kind", "region", "phase"])


def service_table(result: Result) -> pd.DataFrame:
    """Availability lost, in order-seconds: a row for each region and phase."""
    frame = _frame(Service, result.summary.service, ["region", "phase"])
    return frame.assign(availability=1 - frame["lost_s"] / frame["observed_s"])


def failure_table(result: Result) -> pd.DataFrame:
    """Count what was not acknowledged, per region, phase, kind, outcome, error and SQLSTATE."""
    keys = ["region", "phase", "kind", "outcome", "error", "sqlstate"]
    return _frame(Failures, result.summary.failures, keys)


def _frame(of: type[Any], rows: Sequence[Any], keys: list[str]) -> pd.DataFrame:
    columns = [field.name for field in fields(of)]
    return pd.DataFrame([asdict(row) for row in rows], columns=columns).set_index(keys)
