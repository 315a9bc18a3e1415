"""What was due after the watch ended, or had no time any more, is in no number of a run."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from histories import (
    FAULT,
    REGIONS,
    RICH_CENTS,
    Trade,
    failover_run,
    final_of,
    order,
    orders,
    outage,
)

from labkit.history import History, Terms
from labkit.measurement.phases import phases
from labkit.measurement.recovery import streams
from labkit.record import Op, OpKind, Outcome
from labkit.report.figures.beside import beside_table
from labkit.verdict.result import Result
from labkit.verdict.summary import Measurements
from labkit.verdict.trials import TrialRun, together, trial_of

MEASURED = [name for name in Measurements.model_fields if name not in ("findings", "finished_at")]
UNTIL_S = 160
"""When the watch of `failover_run` ends here."""


def watched_run(after: list[Op], *, until_s: float = UNTIL_S) -> Result:
    """`failover_run` with a watch that ended, and with what came after that."""
    whole = failover_run().history
    more = pd.concat([whole.ops.astype(object), History.of(after).ops.astype(object)])
    history = History.from_frame(more, [FAULT], anchor_s=whole.anchor_s, regions=REGIONS)
    ids = history.ops["order_id"][history.ops["order_id"] != ""]
    acked = history.ops["outcome"].eq("ok") & history.ops["order_id"].ne("")
    return failover_run(
        history=replace(history, terms=Terms(until_s, {"p99_ms": 500.0}, {})),
        ledger=history.ops["order_id"][acked],
        final=final_of([Trade(order_id) for order_id in ids], opening_cents=RICH_CENTS),
    )


LATER = {
    "an outage": outage(REGIONS[0], 161, 175),
    "refused orders": orders(REGIONS[1], 160, 170, outcome=Outcome.FAIL),
    "slow orders": orders(REGIONS[2], 160, 170, latency_s=0.9),
    "a kind that was not there before": [
        op._replace(kind=OpKind.REPLICA_READ, order_id="", side="", move_nbr=0, price_cents=1)
        for op in orders(REGIONS[0], 160, 165)
    ],
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_what_was_due_after_the_watch_ended_is_in_no_number(later):
    found, without = watched_run(later), watched_run([])
    for name in MEASURED:
        assert getattr(found.summary, name) == getattr(without.summary, name), name
    assert beside_table({"a": found})["not_acked"].tolist() == [0]


def test_what_was_due_after_the_watch_ended_is_checked_all_the_same():
    history = watched_run([order(REGIONS[0], 161, 161.1, order_id="late")]).history
    ids = history.ops["order_id"]
    there = [Trade(order_id) for order_id in ids if order_id != "late"]
    result = failover_run(
        history=history, ledger=ids, final=final_of(there, opening_cents=RICH_CENTS)
    )
    assert result.summary.finding("lost_acks").offenders == ("late",)


def test_an_operation_that_nobody_watched_is_in_no_phase():
    history = watched_run(LATER["refused orders"]).history
    late = history.ops["scheduled_s"].to_numpy() >= UNTIL_S
    assert phases(history).isna().to_numpy().tolist() == late.tolist()


def test_every_number_counts_the_same_orders_where_the_records_end_the_watch():
    """Orders that were not acknowledged in the last second did not have their time."""
    tail = orders(REGIONS[0], 158, 161, per_s=10, outcome=Outcome.INFO)
    result = watched_run(tail, until_s=float("inf"))
    region = REGIONS[0]
    judged = streams(result.history)[region]
    failed = sum(row.count for row in result.summary.failures)
    latencies = [row for row in result.summary.latency if row.region == region]
    assert 0 < failed < len(tail)
    assert sum(row.info for row in latencies) == failed == (~judged.ok).sum()
    assert sum(row.ok for row in latencies) == judged.ok.sum()


def test_what_came_after_the_watch_of_one_trial_is_in_no_number_of_all():
    first = watched_run(LATER["refused orders"])
    later = first.history
    second = replace(
        later,
        ops=_moved(watched_run([]).history, 100),
        faults=tuple(
            replace(f, injected_s=210, took_effect_s=210.2, healed_s=230) for f in later.faults
        ),
        terms=replace(later.terms, watched_until_s=260),
    )
    results = [first, failover_run(history=second)]
    runs = [
        TrialRun(
            trial_of(result, number=number, inject_after_s=0, folder=f"trials/{number}"),
            result,
            (),
        )
        for number, result in enumerate(results, start=1)
    ]
    whole = together(runs, planned=2).summary
    assert whole.failures == ()
    assert sum(row.fail for row in whole.latency) == 0


def _moved(history: History, by_s: float):
    times = {name: history.ops[name] + by_s for name in ("scheduled_s", "sent_s", "finished_s")}
    return history.ops.assign(**times, order_id="second-" + history.ops["order_id"])
