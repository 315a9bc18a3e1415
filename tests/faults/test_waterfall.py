"""The primary killed under load: what the outage was made of, as the cluster itself noticed."""

from __future__ import annotations

from labkit.faults.signals import Kill
from labkit.lab import bring_up
from labkit.measurement.waterfall import Stage, Waterfall
from labkit.run.experiment import Experiment
from labkit.verdict.result import Result
from labkit.verdict.steady import SteadyState
from labkit.workload.trading import TradingWorkload


def without_its_leader(cluster, folder) -> Waterfall:
    bring_up(cluster)
    experiment = Experiment(
        cluster,
        TradingWorkload(rate_per_s=30),
        # generous: this is about what is noticed, not about how long it takes
        steady=SteadyState(p99_ms=3000, success_ratio=0.95),
        fault=Kill(cluster.leader()),
        hold_s=14,
        steady_s=3,
        folder=folder,
    )
    experiment.run()
    found = Result.load(folder).waterfall
    assert found is not None
    return found


def test_the_stages_of_a_lost_leader_are_noticed_by_those_who_take_part(real_cluster, tmp_path):
    victim = real_cluster.leader()
    found = without_its_leader(real_cluster, tmp_path)
    home = found.region(victim.region)
    detected, elected = home.seen(Stage.DETECTED), home.seen(Stage.ELECTED)
    assert (detected.source, detected.detail.split(":")[0]) == ("HAProxy", victim.name)
    assert elected.at_s is not None
    if not real_cluster.single_primary:
        assert elected.source == "CockroachDB"
        assert elected.within_s > 0  # leases are asked about, nobody tells when they moved
        return
    assert elected.source == "etcd"
    assert not elected.detail.startswith(victim.name)
    for region in found.regions:
        assert region.ceased
        times_s = [sighting.at_s for sighting in region.stages]
        assert None not in times_s
        # by the clocks of five programs: the balancer detects it, a leader is elected, the balancer
        # reroutes, a client connects, an order is acknowledged
        caused = [
            at_s for s, at_s in zip(region.stages, times_s, strict=True) if s.stage != "effect"
        ]
        assert caused == sorted(caused)
