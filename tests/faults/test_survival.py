"""What a survival goal is worth on the day of the disaster."""

from __future__ import annotations

import pytest

from labkit.cluster.base import resolve
from labkit.faults.disaster import Disaster
from labkit.lab import bring_up, surviving
from labkit.run.experiment import Experiment
from labkit.topology import SurvivalGoal
from labkit.verdict.finding import Verdict
from labkit.verdict.steady import SteadyState
from labkit.workload.trading import TradingWorkload


@pytest.mark.long
@pytest.mark.cluster
def test_what_a_region_acknowledged_alone_is_lost_when_commits_wait_for_nobody(lab, tmp_path):
    """The verdict must see it: the database that is left is consistent, and has less in it."""
    bring_up(lab)
    with surviving(lab, SurvivalGoal.NONE):
        result = Experiment(
            lab,
            # no reads: those that saw what was lost would be named as well
            TradingWorkload(rate_per_s=30, fail_over=True, reads_per_order=0),
            steady=SteadyState(p99_ms=3000, success_ratio=0.95),
            fault=Disaster(resolve(lab, "leader-region"), alone_s=2),
            hold_s=12,
            steady_s=3,
            folder=tmp_path,
        ).run()
    assert result.summary.topology.survive is SurvivalGoal.NONE
    lost = result.summary.finding("lost_acks")
    assert lost.verdict is Verdict.FAIL
    assert lost.count > 0
    assert result.summary.rpo_s > 0
    for checker in ("fault_took_effect", "duplicates", "phantoms", "money", "prices"):
        assert result.summary.finding(checker).verdict is Verdict.PASS, checker
    assert lab.survival_goal() is lab.topology.survive
