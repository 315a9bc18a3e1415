"""What a run is measured by reaches each of its numbers."""

from __future__ import annotations

from functools import cache

import pytest
from histories import FAULT, REGIONS, failover_run

from labkit.history import History
from labkit.measurement.outages import Healthy
from labkit.verdict.result import Result

HOME = REGIONS[0]
PATIENT = Healthy(sustained_orders=500)
"""By it 60 missed orders are single failures."""


@cache
def refused(healthy: Healthy) -> Result:
    """The failover run, in which one region refused what was due in the outage."""
    ops = failover_run().history.ops.astype({"outcome": object})
    gone = (ops["region"] == HOME) & ops["scheduled_s"].between(110, 115.99)
    ops.loc[gone, "outcome"] = "fail"
    return failover_run(history=History.from_frame(ops, [FAULT], regions=REGIONS), healthy=healthy)


def in_outage(result: Result) -> dict[str, float]:
    """How much of each kind of number lies in the phase of the outage."""
    summary = result.summary
    return {
        "latency": sum(row.ok + row.fail for row in summary.latency if row.phase == "outage"),
        "service": sum(row.observed_s for row in summary.service if row.phase == "outage"),
        "failures": sum(row.count for row in summary.failures if row.phase == "outage"),
    }


def test_what_counts_as_service_is_the_same_for_each_number():
    strict, patient = refused(Healthy()), refused(PATIENT)
    assert strict.summary.recovery[0].rto_s == pytest.approx(6, abs=0.1)
    assert min(in_outage(strict).values()) > 0
    assert patient.summary.recovery[0].rto_s == 0
    assert in_outage(patient) == {"latency": 0, "service": 0, "failures": 0}
    assert patient.summary.healthy == PATIENT


def counted(result: Result) -> dict[str, float]:
    summary = result.summary
    return {
        "latency": sum(row.ok for row in summary.latency if row.region == HOME),
        "service": sum(row.observed_s for row in summary.service if row.region == HOME),
    }


def test_what_was_due_in_a_pause_is_in_no_number():
    """Orders are due from 100 s to 159.9 s, ten a second and region."""
    whole, paused = failover_run(), failover_run(pauses=[(140, 150)])
    assert counted(whole) == {"latency": 600, "service": pytest.approx(59.9)}
    assert counted(paused) == {"latency": 500, "service": pytest.approx(49.8)}


def test_a_run_in_a_closed_loop_has_a_write_gap_and_no_service():
    summary = failover_run(workload={"concurrency": 8, "seed": 1}).summary
    assert summary.service == ()
    assert {row.rto_s for row in summary.recovery} == {None}
    assert summary.recovery[0].write_gap_s == pytest.approx(6, abs=0.2)


def test_a_result_has_what_is_known_of_its_run():
    summary = failover_run().summary
    assert (summary.scenario, summary.backend) == ("node-loss", "fake")
    assert summary.parameters == {"rate_per_s": 30}
    assert summary.workload == {"rate_per_s": 30, "seed": 1}
    assert (summary.finished_at - summary.started_at).total_seconds() == 60
    assert summary.machine.cores >= 1
