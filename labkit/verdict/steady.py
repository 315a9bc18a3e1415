"""The steady-state hypothesis: what must hold before a fault is injected and after it is healed.

The idea is that of the Principles of Chaos Engineering (https://principlesofchaos.org): a fault
says something only about a system that was well before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from labkit.errors import BadInput
from labkit.history import only_orders
from labkit.measurement.percentiles import nearest_rank
from labkit.measurement.windows import is_ok, latency_s
from labkit.verdict.checkers import Finding, Verdict


@dataclass(frozen=True, slots=True)
class SteadyState:
    """Service is well in every region.

    Attributes:
        p99_ms: no region's 99th percentile of acknowledged orders is above it; from the
            scheduled moment.
        success_ratio: at least this share of each region's orders was acknowledged.

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
        ops = only_orders(ops)
        window = ops[(ops["scheduled_s"] >= since_s) & (ops["scheduled_s"] < until_s)]
        broken: list[str] = []
        silent: list[str] = []
        for region in regions:
            here = window[window["region"] == region]
            if here.empty:
                silent.append(f"{region}: no order")
            else:
                broken += self._broken(region, here)
        if broken:
            verdict, summary = Verdict.FAIL, f"not steady {when} the fault: {broken[0]}"
        elif silent or not regions:
            nothing = silent[0] if silent else "no regions"
            verdict, summary = Verdict.UNKNOWN, f"nothing to judge {when} the fault: {nothing}"
        else:
            verdict, summary = (
                Verdict.PASS,
                f"steady for {until_s - since_s:.1f} s {when} the fault: p99 at most "
                f"{self.p99_ms:g} ms, {self.success_ratio:.2%} acknowledged in every region",
            )
        offenders = tuple(broken or silent)
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
            found.append(f"{region}: p99 {p99_ms:.0f} ms, above {self.p99_ms:g} ms")
        return found
