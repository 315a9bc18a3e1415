"""Outages, order by order: when each began and ended, and how precisely that is known.

An outage lasts for a client from the last moment at which an order was served to the first one at
which orders are served again. Clients ask at single moments, so both ends are known to lie between
two orders; docs/runs.md derives the rules that are here, and
tests/unit/measurement/test_rto_simulation.py holds the stated bound against 10,000 simulated
outages of known length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil, inf, log, sqrt

import numpy as np

from labkit.errors import BadInput
from labkit.measurement.percentiles import nearest_rank

DOUBT = 0.01
"""A stated bound fails at most this often: half of it at each end of an outage."""
RESOLUTION_S = 0.001
"""Latencies that differ by less are the same."""
TRY_AGAIN_S = 0.15
"""A client that waits notices that service is back so much later at most: its pool opens a
connection each 0.1 s while that fails, half as much more by chance (`labkit.workload.pool`)."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """The criteria by which service counts as there.

    An order is served in time when it is acknowledged within `slow_ms` of its due moment. Orders
    that are not, and lie closer to each other than `sustained_s` or `sustained_orders`, belong
    together. They are an outage if they are more than 1 - `good_ratio` of the orders from the
    first to the last of them, of a stretch of `sustained_s`, and of `sustained_orders` orders;
    otherwise they are single failures: availability lost, and no outage.

    Attributes:
        slow_ms: the default is about three times the p99 of the slowest region of the default
            topology when all is well. It does not shorten an outage: an order due in its last
            second is in time, but the outage lasts until its acknowledgement.
        good_ratio: four in five. Nine in ten would leave it to chance whether a system that fails
            one order in ten has an outage.
        sustained_s: how long service must last to end an outage; a second, in which a client that
            tries again has tried.
        sustained_orders: how many orders must be served to end an outage. Where half of the orders
            fail, ten in a row are served once in a thousand.

    Raises:
        BadInput: a value that cannot be.
    """

    slow_ms: float = 1000.0
    good_ratio: float = 0.8
    sustained_s: float = 1.0
    sustained_orders: int = 10

    def __post_init__(self) -> None:
        if not self.slow_ms > 0:
            raise BadInput(f"slow_ms must be more than 0, not {self.slow_ms:g}")
        if not 0 < self.good_ratio < 1:
            raise BadInput(f"good_ratio must be between 0 and 1, not {self.good_ratio:g}")
        if not self.sustained_s > 0:
            raise BadInput(f"sustained_s must be more than 0, not {self.sustained_s:g}")
        if self.sustained_orders < 1:
            raise BadInput(f"sustained_orders must be 1 or more, not {self.sustained_orders}")

    @property
    def bad_ratio(self) -> float:
        """Return the share of missed orders that is no outage yet.

        Rounded, as 1 - 0.8 is less than a fifth: two of ten missed orders were an outage by it.
        """
        return round(1 - self.good_ratio, 9)


@dataclass(frozen=True, slots=True)
class Usual:
    """Usual durations of an order while the service is there, in seconds.

    Attributes:
        low_s, high_s: from the fastest to the slowest; an order that takes longer has waited.
        middle_s: the median.
    """

    low_s: float = 0.0
    middle_s: float = 0.0
    high_s: float = 0.0

    @classmethod
    def of(cls, before_s: np.ndarray, since_s: np.ndarray) -> Usual:
        """Take it from orders that were served in time.

        Args:
            before_s: the latencies of those that were over before the first fault: 99 in 100 of
                them are usual.
            since_s: of those due since then. A cluster with another leader has another latency.
                The orders that waited for it are among them, so what lies above the upper fence
                (Tukey, Exploratory Data Analysis, 2D: the third quartile and one and a half times
                the distance of the quartiles) is not usual.
        """
        quiet = before_s if len(before_s) else since_s
        if not len(quiet):
            return cls()
        low_s, middle_s, high_s = (nearest_rank(quiet, percent) for percent in (0.5, 50, 99.5))
        if len(since_s):
            low_s = min(low_s, nearest_rank(since_s, 0.5))
            middle_s = nearest_rank(since_s, 50)
            quarter_s, three_s = (nearest_rank(since_s, percent) for percent in (25, 75))
            high_s = max(high_s, three_s + 1.5 * (three_s - quarter_s))
        return cls(low_s, middle_s, high_s)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment that was not observed itself: `at_s`, and for sure from `low_s` to `high_s`."""

    at_s: float
    low_s: float
    high_s: float

    @property
    def error_s(self) -> float:
        """Tell how far off `at_s` may be."""
        return max(self.at_s - self.low_s, self.high_s - self.at_s)


@dataclass(frozen=True, slots=True)
class Outage:
    """Service was gone from `start` to `end`.

    Attributes:
        end: None when service was not seen to be back.
        first, last: the places of the first and the last order that met no service.
        share: of the orders from the first to the last that met none; 1 when nobody was served.
    """

    start: Moment
    end: Moment | None
    first: int
    last: int
    share: float

    def since(self, injected_s: float) -> Moment:
        """Say when it began for a fault: what lies before the injection is not the fault's."""
        if self.start.at_s >= injected_s:
            return self.start
        return Moment(injected_s, injected_s, injected_s)


@dataclass(frozen=True)
class Stream:
    """The orders of one region, in the order in which they were due.

    Attributes:
        due_s: when each was due, ascending.
        finished_s: when its outcome was known.
        ok: whether it was acknowledged.
        injected_s: when faults were injected. An outage that may have begun with one of them did:
            the fault is its cause.
    """

    due_s: np.ndarray
    finished_s: np.ndarray
    ok: np.ndarray
    usual: Usual
    healthy: Healthy = Healthy()
    injected_s: tuple[float, ...] = ()

    @cached_property
    def in_time(self) -> np.ndarray:
        """Tell which were acknowledged within `slow_ms`."""
        return np.asarray(self.ok & (self.finished_s - self.due_s <= self.healthy.slow_ms / 1000))

    @cached_property
    def waited(self) -> np.ndarray:
        """Tell which were in time, and took longer than usual."""
        longer_s = self.finished_s - self.due_s - self.usual.high_s
        return np.asarray(self.in_time & (longer_s > RESOLUTION_S))

    @cached_property
    def services_s(self) -> np.ndarray:
        """Moments at which service is known to have been there, ascending.

        That is when an order that did not wait was due, and where one waited, as long before its
        acknowledgement as the fastest takes.
        """
        served_s = np.where(self.waited, self.finished_s - self.usual.low_s, self.due_s)
        return np.sort(served_s[self.in_time])

    @cached_property
    def per_s(self) -> float:
        """Orders due a second."""
        count = len(self.due_s)
        span_s = float(self.due_s[-1] - self.due_s[0]) if count else 0.0
        return (count - 1) / span_s if span_s > 0 else 0.0

    @cached_property
    def few(self) -> float:
        """As many missed orders close together are single failures."""
        healthy = self.healthy
        stretch = max(self.per_s * healthy.sustained_s, healthy.sustained_orders)
        return healthy.bad_ratio * stretch

    @property
    def long_s(self) -> float:
        """Seconds without an order due that chance does not explain: ten orders' time and one.

        One order alone tells no rate, so it explains nothing beyond that second.
        """
        healthy = self.healthy
        return healthy.sustained_s + (healthy.sustained_orders / self.per_s if self.per_s else 0.0)

    @cached_property
    def missed(self) -> np.ndarray:
        """Tell which orders met no service at their due moment.

        Those that were not served in time; and those that waited while nobody was served, where
        they are too many for single slow ones.
        """
        missed = ~self.in_time
        if self.waited.any():
            unserved = np.flatnonzero(missed | self.waited)
            gap = np.searchsorted(self.services_s, self.due_s[unserved], side="right")
            many = np.bincount(gap)[gap] > self.few
            missed[unserved[many]] = True
        return missed

    @cached_property
    def outages(self) -> tuple[Outage, ...]:
        """The outages in order."""
        places = np.flatnonzero(self.missed)
        if len(places) <= self.few:
            return ()
        healthy = self.healthy
        apart = (np.diff(places) > healthy.sustained_orders) & (
            np.diff(self.due_s[places]) >= healthy.sustained_s
        )
        found = []
        for cluster in np.split(places, np.flatnonzero(apart) + 1):
            if len(cluster) <= self.few:
                continue
            first, last, ratio = _trimmed(cluster)
            many = ratio > healthy.bad_ratio
            if many and ratio * (last - first + 1) > self.few:
                found.append(self._outage(first, last, ratio))
        return tuple(found)

    def _outage(self, first: int, last: int, ratio: float) -> Outage:
        count = len(self.due_s)
        sustained = (
            count - 1 - last >= self.healthy.sustained_orders
            and self.due_s[-1] - self.due_s[last] >= self.healthy.sustained_s
        )
        # of the orders in a partial outage so many are served before the first that is not
        expected = (1 - ratio) / ratio
        most = 0 if ratio == 1 else ceil(log(DOUBT / 2) / log(1 - ratio))
        start = Moment(
            self._due_at(first - expected - 0.5),
            self._due_at(first - most - 1),
            float(self.due_s[first]),
        )
        # the first order that a fault hit may have been on its way when it struck
        latest_s = start.high_s + self.usual.high_s
        causes_s = [at_s for at_s in self.injected_s if start.low_s <= at_s <= latest_s]
        if causes_s:  # of several it may be any: the first is the estimate
            first_s = min(causes_s)
            start = Moment(first_s, first_s, max(*causes_s, start.high_s))
        end = None
        if sustained:
            end = self._released(last) or Moment(
                self._due_at(last + expected + 0.5),
                float(self.due_s[last]),
                self._due_at(last + most + 1),
            )
        return Outage(start, end, first, last, ratio)

    def _released(self, last: int) -> Moment | None:
        """Tell the end by the acknowledgement of an order that had waited for it; None without.

        Service is there at the latest when it turns to any order in time. That moment is known
        to the spread of the usual latencies, as an order that waited less is not told from others.
        """
        usual, after = self.usual, last + 1
        if not self.ok[last] and not self.waited[after]:
            return None
        acked_s = float(self.finished_s[last if self.ok[last] else after])
        at_s, low_s, high_s = (
            acked_s - took_s for took_s in (usual.middle_s, usual.high_s, usual.low_s)
        )
        low_s -= TRY_AGAIN_S
        following = np.searchsorted(self.services_s, self.due_s[last], side="right")
        if following < len(self.services_s):
            service_s = float(self.services_s[following])
            if at_s > (latest_s := service_s + usual.high_s - usual.middle_s):
                at_s, low_s = latest_s, -inf  # it was served later than others
            high_s = min(high_s, service_s + usual.high_s - usual.low_s)
        low_s = min(max(low_s, float(self.due_s[last])), at_s)
        return Moment(at_s, low_s, max(high_s, at_s))

    def _due_at(self, place: float) -> float:
        """Tell when the order at a place was due; in between for half a place."""
        place = min(max(place, 0.0), len(self.due_s) - 1.0)
        below = int(place)
        above = min(below + 1, len(self.due_s) - 1)
        share = place - below
        return float(self.due_s[below] * (1 - share) + self.due_s[above] * share)

    def hidden_s(self, since_s: float, until_s: float) -> float:
        """Return the longest time without service that no outage accounts for, within two moments.

        A shorter outage may lie in it unseen.
        """
        moments = self.services_s
        inside = moments[(moments > since_s) & (moments < until_s)]
        edges = np.concatenate(([since_s], inside, [until_s]))
        free = np.full(len(edges) - 1, True)
        for outage in self.outages:
            end_s = inf if outage.end is None else outage.end.at_s
            free &= (edges[1:] <= outage.start.at_s) | (edges[:-1] >= end_s)
        return float(np.diff(edges)[free].max(initial=0.0))

    def gone(self, until_s: float) -> list[tuple[float, float]]:
        """From when until when service was gone; to `until_s` where it was not seen to be back."""
        return [
            (one.start.at_s, until_s if one.end is None else one.end.at_s) for one in self.outages
        ]

    def lost_s(self, since_s: float, until_s: float) -> tuple[float, float]:
        """Return the availability lost between two moments, in order-seconds, and its error.

        Each order stands for the time that is nearer to its due moment than to another order's.
        What is lost is the time of those that met no service: of an outage its length, of one in
        ten refused for 30 s three seconds.
        """
        lost_s = error_s = variance = 0.0
        single = self.missed & (self.due_s >= since_s) & (self.due_s < until_s)
        for outage in self.outages:
            of_it = slice(outage.first, outage.last + 1)
            if outage.share < 1:
                variance -= outage.share * int(single[of_it].sum())
                continue
            single[of_it] = False
            start = outage.since(since_s)
            end = outage.end or Moment(until_s, until_s, until_s)
            length_s = min(end.at_s, until_s) - start.at_s
            if length_s > 0:
                lost_s += length_s
                error_s += start.error_s + end.error_s
        count = int(single.sum())
        if count:
            lost_s += float(self._share_s[single].sum())
        if self.per_s and (count or not lost_s):
            # near the exact Poisson limit of a count at 99.5 % (Garwood 1936); 1.5 is for gaps
            # between orders, which differ
            error_s += (2.576 * sqrt(1.5 * (count + variance) + 1) + 2.8) / self.per_s
        return lost_s, error_s

    @cached_property
    def _share_s(self) -> np.ndarray:
        """The time that each order stands for: half of what is between it and either neighbour."""
        if len(self.due_s) < 2:
            return np.zeros(len(self.due_s))
        gaps_s = np.diff(self.due_s)
        return np.asarray(np.append(gaps_s[:1], gaps_s) + np.append(gaps_s, gaps_s[-1:])) / 2


def _trimmed(places: np.ndarray) -> tuple[int, int, float]:
    """Find the first and the last missed order of each outage, and the share that was missed.

    A single failure shortly before or after an outage does not prolong it: it is left out if an
    outage that misses such a share would not have served so many orders in between.
    """
    while True:
        first, last, count = int(places[0]), int(places[-1]), len(places)
        # from one missed order to the next: the orders at both ends are missed by choice
        ratio = (count - 1) / (last - first) if count > 1 else 1.0
        if count <= 2 or ratio == 1:
            return first, last, ratio
        served = log(DOUBT / 2) / log(1 - ratio)
        if places[1] - places[0] - 1 > served:
            places = places[1:]
        elif places[-1] - places[-2] - 1 > served:
            places = places[:-1]
        else:
            return first, last, ratio
