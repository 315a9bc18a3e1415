"""Feeds a live board from a thread of a notebook's kernel, until the test says what happens.

A file of that name beside the notebook injects ("fault"), heals ("heal") or ends ("end"). "samples"
has a byte for every sample the board was given.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

from labkit.measurement.live import LiveSample, RegionSample, Watch
from labkit.record import FaultWindow

REGIONS = ("us-west-2", "us-east-1", "eu-west-1")


def feed(board: Watch, folder: Path = Path()) -> None:
    """Ten samples a second; runs until told to end, five minutes at most."""
    start = monotonic()
    fault: FaultWindow | None = None
    board.begin(REGIONS, "Kill the primary of us-west-2")
    board.phase("steady state")
    while not (folder / "end").exists() and (now := monotonic()) < start + 300:
        if fault is None and (folder / "fault").exists():
            fault = FaultWindow("kill", "us-west-2/1", now, took_effect_s=now + 0.4)
            board.phase("fault")
            board.fault(fault)
        if fault and fault.healed_s is None and (folder / "heal").exists():
            fault = replace(fault, healed_s=now)
            board.fault(fault)
            board.phase("recovery")
        board.update(sample(now, now - start, broken=bool(fault and fault.healed_s is None)))
        with (folder / "samples").open("ab") as samples:
            samples.write(b".")
        sleep(0.1)
    board.end()


def sample(at_s: float, elapsed_s: float, *, broken: bool) -> LiveSample:
    """Latencies that sway; while broken, the first region acks nothing and the others little."""
    regions = []
    for i, name in enumerate(REGIONS):
        p99_ms = (80.0, 160.0, 240.0)[i] * (1 + 0.15 * math.sin(elapsed_s + i))
        if broken and i == 0:
            regions.append(RegionSample(name, 0, 8, math.nan, math.nan))
        elif broken:
            regions.append(RegionSample(name, 2, 4, p99_ms * 10, p99_ms * 20))
        else:
            regions.append(
                RegionSample(name, 25 + 2 * math.sin(elapsed_s + i), 0, p99_ms / 2, p99_ms)
            )
    return LiveSample(at_s, tuple(regions))
