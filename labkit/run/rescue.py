"""The process that a watchdog is: heals a lab whose experiment cannot, and measures its service.

`python -m labkit.run.rescue {"p99_ms": 1000, "success_ratio": 0.999, "for_s": 6}`;
`labkit.run.watchdog` starts it, and tells it what the experiment does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TYPE_CHECKING

from labkit.cluster import attach, home, watchdogs
from labkit.errors import LabError, NotRunning
from labkit.run.watchdog import Lines, guard, heal_lab

if TYPE_CHECKING:
    from labkit.cluster.base import Cluster

RATE_PER_S = 30.0
"""Of the orders that show whether service is steady: few, for somebody may be working again."""
PATIENCE_S = 45.0
"""How long service may take to become steady, as after the fault of an experiment."""


def steady_again(cluster: Cluster, steady: dict[str, float], for_s: float) -> str:
    """Send orders from every region until service has been steady for so long, or patience ends.

    Args:
        steady: the attributes of a SteadyState.

    Returns:
        What was found, in a line.

    Raises:
        RunError: the orders' clients broke down.
        NotReady: they did not begin.
    """
    # a process that waits beside every experiment, most often in vain, has no pandas in memory
    from labkit.measurement.live import RecentOps
    from labkit.verdict.finding import Verdict
    from labkit.verdict.steady import SteadyState
    from labkit.workload.trading import TradingWorkload

    hypothesis = SteadyState(**steady)
    with (
        TemporaryDirectory(prefix="labkit-rescue-") as folder,
        TradingWorkload(rate_per_s=RATE_PER_S).start(cluster, Path(folder)) as running,
    ):
        begun_s = monotonic()
        recent = RecentOps()
        while True:
            sleep(1)
            running.check()
            recent.feed(running.poll(), since_s=begun_s)
            until_s = running.watermark_s
            since_s = until_s - for_s
            finding = hypothesis.check(
                recent.ops,
                regions=cluster.topology.region_names,
                since_s=since_s,
                until_s=until_s,
                when="after",
            )
            held = since_s >= begun_s and finding.verdict is Verdict.PASS
            if held or monotonic() - begun_s >= PATIENCE_S:
                return finding.summary


def main() -> None:
    """Run the watchdog's process."""
    steady = json.loads(sys.argv[1])
    for_s = steady.pop("for_s")

    def say(line: str) -> None:
        print(line, flush=True)

    def heal(reason: str) -> None:
        say(f"{reason}: healing the lab")
        heal_lab()
        say("healed")
        try:
            say(steady_again(attach(), steady, for_s))
        except NotRunning:
            pass  # there was nothing to heal either
        except LabError as error:
            say(f"not seen to be steady: {error}")

    lab = home()
    try:
        guard(Lines(sys.stdin.fileno()).read, heal)
    finally:
        watchdogs.forget(lab, os.getpid())


if __name__ == "__main__":
    main()
