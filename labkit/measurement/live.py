"""The last second of a run, again and again, for whoever watches it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from labkit.errors import BadInput
from labkit.history import History, only_orders
from labkit.measurement.percentiles import nearest_rank
from labkit.measurement.windows import is_ok, latency_s
from labkit.record import FaultWindow

_NAMES = ["region", "kind", "outcome"]
_JUDGED = ["scheduled_s", "finished_s", *_NAMES]


@dataclass(frozen=True, slots=True)
class RegionSample:
    """One region in the last moments.

    Attributes:
        acked_per_s: operations acknowledged.
        failed_per_s: operations that ended as FAIL or INFO.
        p50_ms: latency of the acknowledged ones from their scheduled moment; NaN without any.
        slowest_ms: likewise. Of the few orders of a second p99 would be the slowest by another
            name.
    """

    region: str
    acked_per_s: float
    failed_per_s: float
    p50_ms: float
    slowest_ms: float


@dataclass(frozen=True, slots=True)
class LiveSample:
    """All regions in the last moments before `at_s` (monotonic seconds)."""

    at_s: float
    regions: tuple[RegionSample, ...]


class Watch(Protocol):
    """Somebody who looks on while a run goes on: a board in a notebook, a terminal.

    Called from one thread. What these raise ends the run.
    """

    def begin(self, regions: Sequence[str], title: str) -> None:
        """Take note that the run begins."""

    def phase(self, name: str) -> None:
        """Take note that the run enters a phase, such as "steady state" or "holding the fault"."""

    def update(self, sample: LiveSample) -> None:
        """Take the numbers of the last moments; called a few times per second."""

    def fault(self, window: FaultWindow) -> None:
        """Take note that a fault was injected, took effect or was healed, as the window tells."""

    def end(self) -> None:
        """Take note that the run is over, however it ended."""


class Silent:
    """The `Watch` that looks away."""

    def begin(self, regions: Sequence[str], title: str) -> None:
        """Nothing."""

    def phase(self, name: str) -> None:
        """Nothing."""

    def update(self, sample: LiveSample) -> None:
        """Nothing."""

    def fault(self, window: FaultWindow) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class RecentOps:
    """The orders that were due lately, to be judged while a run goes on. Feed it, and ask it."""

    def __init__(self) -> None:
        """Start without any."""
        self._kept = History.of([]).ops[_JUDGED].astype(dict.fromkeys(_NAMES, "object"))

    def feed(self, ops: pd.DataFrame, *, since_s: float) -> None:
        """Add operations that finished, and forget orders that were due before a moment.

        Forgetting makes feeding and asking cost the same however long a run is.

        Args:
            ops: columns as `history.OP_COLUMNS`, in any order.
            since_s: the moment, in seconds of `scheduled_s`.
        """
        ops = only_orders(ops)
        if ops.empty:
            return
        # as plain text: frames of unlike categories are slow to join
        new = ops[_JUDGED].astype(dict.fromkeys(_NAMES, "object"))
        both = pd.concat([self._kept, new], ignore_index=True) if len(self._kept) else new
        self._kept = both[both["scheduled_s"].to_numpy() >= since_s]

    @property
    def ops(self) -> pd.DataFrame:
        """Those of `OP_COLUMNS` that say what an order was and how and when it ended."""
        return self._kept


class LiveTail:
    """The operations that finished last. Feed it, and ask it at any time.

    Operations still under way are not in it: while everything stalls, a region shows no
    throughput and no latency, and the long latencies appear when the stall is over.
    """

    def __init__(self, regions: Sequence[str], width_s: float = 1.0) -> None:
        """Keep the last `width_s` seconds of these regions.

        Raises:
            BadInput: `width_s` is not positive.
        """
        if not width_s > 0:
            raise BadInput(f"width_s must be more than 0, not {width_s:g}")
        self._regions = tuple(regions)
        self._width_s = width_s
        self._chunks: deque[np.ndarray] = deque()

    def feed(self, ops: pd.DataFrame) -> None:
        """Add operations that finished, columns as `history.OP_COLUMNS`, in any order.

        Only orders are looked at.
        """
        ops = only_orders(ops)
        if ops.empty:
            return
        codes = pd.Categorical(ops["region"].astype(str), categories=list(self._regions)).codes
        finished_s = ops["finished_s"].to_numpy()
        self._chunks.append(np.array([finished_s, codes, is_ok(ops), latency_s(ops) * 1000]))

    def sample(self, now_s: float) -> LiveSample:
        """Return the rates and latencies of what finished in the `width_s` seconds before `now_s`.

        `now_s` must not go backwards: what is older than the window is forgotten.
        """
        since_s = now_s - self._width_s
        while self._chunks and self._chunks[0][0].max() <= since_s:
            self._chunks.popleft()
        rows = np.concatenate([np.empty((4, 0)), *self._chunks], axis=1)
        finished_s, codes, ok, latency_ms = rows
        recent = (finished_s > since_s) & (finished_s <= now_s)
        return LiveSample(
            now_s,
            tuple(
                self._region(name, ok[recent & (codes == i)] > 0, latency_ms[recent & (codes == i)])
                for i, name in enumerate(self._regions)
            ),
        )

    def _region(self, name: str, ok: np.ndarray, latency_ms: np.ndarray) -> RegionSample:
        acked_ms = latency_ms[ok]
        return RegionSample(
            name,
            acked_per_s=len(acked_ms) / self._width_s,
            failed_per_s=float((~ok).sum()) / self._width_s,
            p50_ms=nearest_rank(acked_ms, 50) if acked_ms.size else np.nan,
            slowest_ms=float(acked_ms.max()) if acked_ms.size else np.nan,
        )
