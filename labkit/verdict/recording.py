"""The check that a recording is possible and whole; every claim about clients rests on it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from labkit.history import History, only_orders
from labkit.measurement.possible import (
    every_row,
    impossible_faults,
    impossible_rows,
    impossible_terms,
    recorded_twice,
    without,
)
from labkit.measurement.windows import region_codes
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import OFFENDERS_SHOWN, Finding, Verdict, counted
from labkit.verdict.numbers import NO_ORDER

RECORDING = "recording"
GAPS = 30.0
"""How many times the time between a region's last orders it may be silent at the end. Arrivals at
random leave such a gap by chance once in e^30."""
LAST_ORDERS = 50
SHORTEST_GAP_S = 2.0


def recording(evidence: Evidence, wrong: dict[str, np.ndarray]) -> Finding:
    """Judge the recording.

    Proves: each row of the history is one that a client can have written, and none was written
    twice; the steady state was looked at before the injection and after the healing; every
    acknowledgement of the ledger is in the history; each driven region recorded orders until the
    end of the watch: until all were seen to be back, the last fault was healed, or the last region
    stopped, whichever came last.
    Cannot: see a row that was changed into another one that can be; miss orders of a region that
    sends so few that silence is no sign (`GAPS`).

    Args:
        evidence: as it was recorded.
        wrong: its rows that cannot be, as `impossible` found them.
    """
    history = evidence.history
    rows = every_row(wrong)
    untimely = [*impossible_faults(history), *impossible_terms(history)]
    offenders = [
        *untimely,
        *(f"operation {row}: {why}" for row, why in sorted(_reasons(wrong).items())),
    ]
    count = len(untimely) + len(rows)
    unheard = np.flatnonzero(evidence.ledgered & ~evidence.acked_in_history)
    silent = _silent(without(history, rows))
    said = [f"{count:,} of its entries cannot be ({offenders[0]})"] if count else []
    if unheard.size:
        said.append(f"the history lacks {counted(int(unheard.size), 'ack')} of the ledger")
    said += [f"{region} {how}" for region, how in silent.items()]
    offenders += [*silent, *evidence.names(unheard[:OFFENDERS_SHOWN])]
    if said:
        return Finding(
            RECORDING,
            Verdict.UNKNOWN,
            f"the recording is defective: {'; '.join(said)}",
            tuple(offenders[:OFFENDERS_SHOWN]),
            count + int(unheard.size) + len(silent),
        )
    if history.ops.empty:
        return Finding(RECORDING, Verdict.UNKNOWN, "no client recorded anything")
    return Finding(
        RECORDING,
        Verdict.PASS,
        f"{counted(len(history.ops), 'operation')} of {counted(len(history.regions), 'region')} "
        "recorded, without a gap before the end of the watch",
    )


def impossible(evidence: Evidence) -> dict[str, np.ndarray]:
    """Find the rows that cannot be, those that are there twice included; by what is wrong."""
    wrong = impossible_rows(evidence.history, evidence.in_history != NO_ORDER)
    twice = recorded_twice(evidence.history, evidence.in_history)
    return {**wrong, "recorded twice": twice} if twice.size else wrong


def _reasons(wrong: dict[str, np.ndarray]) -> dict[int, str]:
    """Return what is wrong with each row, of the first few."""
    found: dict[int, str] = {}
    for why, rows in wrong.items():
        for row in rows[:OFFENDERS_SHOWN].tolist():
            found.setdefault(row, why)
    return found


def _silent(history: History) -> dict[str, str]:
    """Find the regions that stopped to record before the end of the watch, and say when.

    Clients record what fails as well, so silence is no outage: nobody looked.
    """
    orders = only_orders(history.ops)
    due_s = orders["scheduled_s"].to_numpy()
    code = region_codes(replace(history, ops=orders))
    ends_s = [fault.healed_s for fault in history.faults if fault.healed_s is not None]
    ends_s += [history.watched_until_s] if history.watched_until_s < inf else []
    end_s = max([*ends_s, *due_s[-1:]], default=-inf)
    found = {}
    for place, name in enumerate(history.regions):
        here_s = due_s[code == place]
        if not len(here_s):
            found[name] = "recorded no order"
            continue
        last_s = here_s[-LAST_ORDERS:]
        mean_s = float(last_s[-1] - last_s[0]) / max(1, len(last_s) - 1)
        silent_s = float(end_s - last_s[-1])
        if silent_s > max(SHORTEST_GAP_S, GAPS * mean_s):
            found[name] = (
                f"recorded nothing in the last {silent_s:.1f} s of the watch, after "
                f"{counted(len(here_s), 'order')}"
            )
    return found
