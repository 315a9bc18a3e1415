"""Percentiles by one definition for the whole lab: the nearest rank.

The p-th percentile of n values is the ceil(p / 100 * n)-th smallest of them: the smallest value
that at least p percent of the values do not exceed
(https://en.wikipedia.org/wiki/Percentile#The_nearest-rank_method). It is always a value that was
measured, and never less than what its name says.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np


def nearest_rank(values: np.ndarray, percent: float) -> float:
    """Return a percentile of some values, however few they are; for a limit, not for a table.

    Args:
        percent: above 0, at most 100; exact to three digits after the point.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values have no percentile")
    rank = ceil(_share(percent) * len(values))
    return float(np.partition(values, rank - 1)[rank - 1])


def percentile(values: np.ndarray, percent: float) -> float | None:
    """Return a percentile that can be shown; None of fewer values than `least` says."""
    return nearest_rank(values, percent) if len(values) >= least(percent) else None


def least(percent: float) -> int:
    """Say how many values a percentile takes: 1 for p50, 10 for p90, 100 for p99, 1,000 for p99.9.

    Of fewer values none lies above the nearest rank: it is their maximum by another name.
    """
    return 1 if percent <= 50 else ceil(1 / (1 - _share(percent)))


def _share(percent: float) -> Fraction:
    """Turn 99.9 into 999/1000 and not into the nearest binary fraction, which may lie above it."""
    return Fraction(round(percent * 1000), 100_000)
