"""Statistics of counts and trials: a ratio's limit, a median's interval, a difference.

All statements are exact for few values and assume nothing of their distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

LEVEL = 0.95
"""The confidence that is asked for; with fewer than six values the best there is."""


def ratio_shown(count: int, failed: int) -> float:
    """Compute the share of successes that a sample shows at least, with a confidence of `LEVEL`.

    The lower limit of Clopper and Pearson (1934), one-sided: a service with a smaller share would
    fail no more than so many of its operations in less than one in twenty samples. Without a
    failure it is about 1 - 3 / count (the rule of three: Hanley and Lippman-Hand, JAMA 1983).

    Raises:
        ValueError: there is no operation, or more failed than there are.
    """
    if not 0 <= failed <= count or not count:
        raise ValueError(f"{failed} failures of {count}")
    if failed == count:
        return 0.0
    if not failed:
        return float((1 - LEVEL) ** (1 / count))
    k = np.arange(failed)
    log_ways = np.concatenate(([0.0], np.cumsum(np.log((count - k) / (k + 1)))))
    k = np.arange(failed + 1)
    low, high = 0.0, 1.0  # of the share of failures
    for _ in range(50):
        middle = (low + high) / 2
        log_share = log_ways + k * np.log(middle) + (count - k) * np.log1p(-middle)
        low, high = (middle, high) if np.exp(log_share).sum() > 1 - LEVEL else (low, middle)
    return 1 - high


@dataclass(frozen=True, slots=True)
class Interval:
    """The range from `low` to `high` that holds the median with a confidence of `level`."""

    low: float
    high: float
    level: float


def median_interval(values: Sequence[float]) -> Interval:
    """Find between which of the values the true median lies.

    The k-th smallest and the k-th largest of n values have it between them unless fewer than k lie
    on one side of it, which is the tossing of n coins (https://en.wikipedia.org/wiki/Median_test;
    Conover, Practical Nonparametric Statistics, 3.2). The smallest and the largest of five have it
    with 93.75 %; six or more can reach 95 %.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values have no median")
    ordered, count = sorted(values), len(values)
    below = 1  # of 2 ** count ways in which the coins fall, those with fewer than k on one side
    k = 1
    while k < count - k and 1 - 2 * (below + comb(count, k)) / 2**count >= LEVEL:
        below += comb(count, k)
        k += 1
    return Interval(ordered[k - 1], ordered[count - k], max(0.0, 1 - 2 * below / 2**count))


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two series of values, and whether chance explains it.

    Attributes:
        p: how often chance alone makes a difference as large, if both come from the same source.
        least_p: the smallest `p` that so many values can have.
    """

    p: float
    least_p: float


def difference(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two series by the ranks of their values.

    The two-sided test of Mann and Whitney (1947), by the exact distribution of the rank sum over
    all ways to divide the values; ties have the mean of their ranks. Infinity is the largest value.

    Raises:
        ValueError: one of them is empty.
    """
    if not one or not other:
        raise ValueError("an empty series has nothing to compare")
    _, place, count = np.unique(
        np.array([*one, *other], dtype=float), return_inverse=True, return_counts=True
    )
    above = np.cumsum(count)
    ranks = (2 * above - count + 1)[place]  # twice the mean rank, a whole number
    size, total = len(one), int(ranks.sum())
    ways = np.zeros((size + 1, total + 1))
    ways[0, 0] = 1.0
    for rank in ranks.tolist():
        ways[1:, rank:] += ways[:-1, : total + 1 - rank].copy()
    sums = np.arange(total + 1)
    off = np.abs(sums * len(ranks) - size * total)  # from the mean, times the number of values
    share = ways[size] / ways[size].sum()
    observed = abs(int(ranks[:size].sum()) * len(ranks) - size * total)
    furthest = off[ways[size] > 0].max()
    return Difference(
        min(1.0, float(share[off >= observed].sum())), float(share[off >= furthest].sum())
    )
