"""Real faults on the real cluster while orders flow; afterwards every acknowledged order counts.

The killed primary is not here: it is what the node-loss notebook does (tests/notebooks).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit.cluster.base import Cluster, resolve
from labkit.faults.base import Fault
from labkit.faults.links import Direction
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause
from labkit.lab import bring_up
from labkit.run.experiment import Experiment
from labkit.topology import Balancer, Region
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result
from labkit.verdict.steady import SteadyState
from labkit.workload.trading import TradingWorkload

# generous: these tests are about what is lost, not about how long it takes
STEADY = SteadyState(p99_ms=3000, success_ratio=0.95)
AUDIT = ("fault_took_effect", *(checker.name for checker in CHECKERS))


def under_load(
    cluster: Cluster, fault: Fault, folder: Path, *, replica_share: float = 0.5
) -> Result:
    bring_up(cluster)
    return Experiment(
        cluster,
        TradingWorkload(rate_per_s=30, replica_share=replica_share),
        steady=STEADY,
        fault=fault,
        hold_s=14,
        steady_s=3,
        folder=folder,
    ).run()


def assert_nothing_was_lost(result: Result, *, without: str = "") -> None:
    for checker in AUDIT:
        if checker == without:
            continue
        finding = result.summary.finding(checker)
        assert finding is not None
        assert finding.verdict is Verdict.PASS, "\n".join((finding.summary, *finding.offenders))


def test_a_frozen_primary_loses_no_acknowledged_order_when_it_wakes_up(real_cluster, tmp_path):
    result = under_load(real_cluster, Pause(real_cluster.leader()), tmp_path)
    assert_nothing_was_lost(result)


def test_a_primary_whose_region_is_cut_off_acknowledges_nothing_that_is_lost(
    real_cluster, tmp_path
):
    region = resolve(real_cluster, "leader-region")
    # no replica reads: those of a cut-off PostgreSQL region show what was never agreed on
    result = under_load(real_cluster, Partition(region), tmp_path, replica_share=0)
    assert_nothing_was_lost(result, without="replicas")


@pytest.mark.long
@pytest.mark.cluster
def test_a_primary_that_hears_but_is_not_heard_is_replaced(lab, tmp_path):
    """No request of its region leaves it, also not the one that renews its lease."""
    home = lab.leader().region
    fault = Partition(Region(name=home), direction=Direction.OUT)
    result = under_load(lab, fault, tmp_path, replica_share=0)
    assert_nothing_was_lost(result, without="replicas")
    assert lab.leader().region != home


@pytest.mark.long
def test_a_dead_balancer_stops_its_own_region_and_no_other(real_cluster, tmp_path):
    home = real_cluster.leader().region
    result = under_load(real_cluster, Kill(Balancer(region=home)), tmp_path)
    assert_nothing_was_lost(result)
    gaps_s = {row.region: row.write_gap_s for row in result.summary.recovery}
    elsewhere = [gap_s for region, gap_s in gaps_s.items() if region not in (home, "all regions")]
    assert gaps_s[home] > max(elsewhere)
