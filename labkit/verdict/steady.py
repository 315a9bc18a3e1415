"""The steady-state hypothesis: what must hold before a fault is injected and after it is healed.

The idea is that of the Principles of Chaos Engineering (https://principlesofchaos.org): a fault
says something only about a system that was well before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import pandas as pd

from labkit.errors import BadInput
from labkit.history import only_orders
from labkit.measurement.chance import LEVEL, ratio_shown
from labkit.measurement.percentiles import least, nearest_rank
from labkit.measurement.windows import is_ok, latency_s
from labkit.verdict.finding import Finding, Verdict, guarded


@dataclass(frozen=True, slots=True)
class SteadyState:
    """Service is well in every region.

    Attributes:
        p99_ms: no region's 99th percentile of acknowledged orders is above it; from the
            scheduled moment.
        success_ratio: at least this share of each region's orders was acknowledged. A few seconds
            hold too few orders to show 99.9 % of a service (that takes 2,995 without a failure), so
            the finding never claims the ratio: it says how many orders it rests on, and what they
            show. Without a failure nothing stricter can be asked of so many orders, and the state
            is steady. With failures it is steady if the orders show the ratio all the same
            (`labkit.measurement.chance.ratio_shown`), and otherwise not known to be.

    Raises:
        BadInput: a value that cannot be.
    """

    p99_ms: float
    success_ratio: float = 0.999

    def __post_init__(self) -> None:
        if not self.p99_ms > 0:
            raise BadInput(f"p99_ms must be more than 0, not {self.p99_ms:g}")
        if not 0 < self.success_ratio <= 1:
            raise BadInput(
                f"success_ratio must be above 0 and at most 1, not {self.success_ratio:g}"
            )

    def check(
        self,
        ops: pd.DataFrame,
        *,
        regions: Sequence[str],
        since_s: float,
        until_s: float,
        when: str = "before",
    ) -> Finding:
        """Judge the orders scheduled in [since_s, until_s).

        Orders still under way are not in `ops`: while a run goes on, `until_s` is at most the
        watermark of what was polled.

        Args:
            ops: columns as `history.OP_COLUMNS`.
            regions: where it must hold; a region without orders is UNKNOWN.
            when: names the finding, "before" or "after" the fault.
        """
        return guarded(f"steady_{when}", self._look, ops, regions, since_s, until_s, when)

    def _look(
        self,
        ops: pd.DataFrame,
        regions: Sequence[str],
        since_s: float,
        until_s: float,
        when: str,
    ) -> Finding:
        ops = only_orders(ops)
        window = ops[(ops["scheduled_s"] >= since_s) & (ops["scheduled_s"] < until_s)]
        broken: list[str] = []
        open_still: list[str] = []
        shown: list[tuple[float, int, str]] = []
        for region in regions:
            here = window[window["region"] == region]
            if here.empty:
                open_still.append(f"{region}: no order")
                continue
            broken += self._broken(region, here)
            count, failed = len(here), int((~is_ok(here)).sum())
            ratio = ratio_shown(count, failed)
            words = (
                f"{count - failed:,} of {count:,} orders acknowledged in {region}, which shows at "
                f"least {_percent(ratio)} with {LEVEL:.0%} confidence"
            )
            shown.append((ratio, count, words))
            if failed and ratio < self.success_ratio:
                open_still.append(f"{words}, not {self.success_ratio:.4g}")
        if broken:
            verdict, summary = Verdict.FAIL, f"not steady {when} the fault: {broken[0]}"
        elif open_still or not regions:
            nothing = open_still[0] if open_still else "no regions"
            verdict, summary = (
                Verdict.UNKNOWN,
                f"too little to show a steady state {when} the fault: {nothing}",
            )
        else:
            fewest = min(count for _, count, _ in shown)
            tail = "p99" if fewest >= least(99) else "the slowest order"
            verdict, summary = (
                Verdict.PASS,
                f"steady for {until_s - since_s:.1f} s {when} the fault: {tail} at most "
                f"{self.p99_ms:g} ms; {min(shown)[2]}, elsewhere no less",
            )
        offenders = tuple(broken or open_still)
        return Finding(f"steady_{when}", verdict, summary, offenders[:10], len(offenders))

    def _broken(self, region: str, ops: pd.DataFrame) -> list[str]:
        ok = is_ok(ops)
        found = []
        if ok.mean() < self.success_ratio:
            found.append(
                f"{region}: {(~ok).sum():,} of {len(ok):,} not acknowledged, "
                f"more than {1 - self.success_ratio:.2%}"
            )
        p99_ms = nearest_rank(latency_s(ops)[ok], 99) * 1000 if ok.any() else 0.0
        if p99_ms > self.p99_ms:
            tail = "p99" if ok.sum() >= least(99) else f"the slowest of {ok.sum()} orders"
            found.append(f"{region}: {tail} {p99_ms:.0f} ms, above {self.p99_ms:g} ms")
        return found


def _percent(share: float) -> str:
    """Round down, so that no more is claimed than is shown."""
    return f"{floor(share * 1000) / 10:.1f} %"
