"""Faults as data and as words; how `applied` heals. What they do is in tests/contract."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from labkit.clock import wait_until
from labkit.cluster.base import Cluster
from labkit.errors import BadInput, FaultUnavailable, UnknownTarget
from labkit.faults.base import Fault, Probe, parts_of
from labkit.faults.brownout import Brownout
from labkit.faults.disaster import Disaster
from labkit.faults.inject import applied, await_effect, inject, require_absent
from labkit.faults.links import Direction, LinkFault
from labkit.faults.parse import FAULTS, parse
from labkit.faults.partition import Partition
from labkit.faults.signals import Kill, Pause, Stop
from labkit.faults.slow import Slow
from labkit.operations.nodes import AddNode
from labkit.operations.rolling import RollingRestart
from labkit.testing import FakeCluster
from labkit.topology import DEFAULT, Balancer, Node, Region, Topology

NODE = Node(region="us-west-2", index=1)
WEST, EAST, EU = (Region(name=name) for name in ("us-west-2", "us-east-1", "eu-west-1"))
LINK_FAULTS: list[type[LinkFault]] = [Partition, Slow]


class CoreOnly:
    """A cluster without any capability."""

    def __init__(self) -> None:
        fake = FakeCluster()
        self.backend = "core-only"
        self.topology = fake.topology
        self.start, self.stop, self.heal = fake.start, fake.stop, fake.heal
        self.dsn, self.status, self.leader = fake.dsn, fake.status, fake.leader


@dataclass(frozen=True)
class Scripted(Fault):
    """Writes down what is called, and does what the test says."""

    name = "scripted"
    log: list[str] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    on_inject: Callable[[], None] = lambda: None

    def inject(self, cluster: Cluster) -> Scripted:
        self.log.append("inject")
        self.on_inject()
        return self

    def probe(self, cluster: Cluster) -> Probe:
        if self.probes:
            return self.probes.pop(0)
        return Probe("inject" in self.log, "scripted")

    def mend(self, cluster: Cluster) -> None:
        self.log.append("heal")


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster()
    fake.start()
    return fake


# applied


def test_applied_heals_at_the_end_of_its_block(cluster: FakeCluster) -> None:
    fault = Scripted(NODE)
    with applied(fault, cluster):
        fault.log.append("block")
    assert fault.log == ["inject", "block", "heal"]


def test_applied_heals_when_its_block_raises(cluster: FakeCluster) -> None:
    fault = Scripted(NODE)
    with pytest.raises(KeyboardInterrupt), applied(fault, cluster):
        interrupt()
    assert fault.log == ["inject", "heal"]


def test_applied_heals_an_injection_that_was_interrupted(cluster: FakeCluster) -> None:
    fault = Scripted(NODE, on_inject=interrupt)
    with pytest.raises(KeyboardInterrupt), applied(fault, cluster):
        pytest.fail("the block ran although the injection was interrupted")
    assert fault.log == ["inject", "heal"]


def test_applied_refuses_a_fault_that_holds_already_and_does_not_heal_it(
    cluster: FakeCluster,
) -> None:
    fault = Scripted(NODE, probes=[Probe(True, "down since yesterday")])
    with (
        pytest.raises(FaultUnavailable, match="down since yesterday"),
        applied(fault, cluster),
    ):
        pytest.fail("the block of a refused fault was run")
    assert fault.log == []


def test_a_fault_is_probed_until_the_effect_shows(cluster: FakeCluster) -> None:
    fault = Scripted(NODE, probes=[Probe(False, "not yet"), Probe(True, "now")])
    assert await_effect(fault, cluster) == Probe(True, "now")


def test_the_last_probe_counts_of_a_fault_without_effect(cluster: FakeCluster) -> None:
    fault = Scripted(NODE, probes=[Probe(False, "not yet"), Probe(False, "still not")])
    assert not await_effect(fault, cluster, timeout_s=0.05).took_effect


# availability


@pytest.mark.parametrize(
    "fault",
    [
        *(Kill(NODE), Stop(NODE), Pause(NODE), Brownout(NODE), RollingRestart(WEST), AddNode(EU)),
        *(Disaster(WEST), Partition(WEST), Slow(EU)),
    ],
)
def test_a_backend_without_the_capability_is_told_so(fault: Fault) -> None:
    core: Cluster = CoreOnly()
    with pytest.raises(FaultUnavailable, match=rf"^{fault.label}: the core-only backend "):
        fault.require_available(core)
    with pytest.raises(FaultUnavailable, match="core-only"), applied(fault, core):
        pytest.fail("the block ran although the fault cannot be injected")
    fault.heal(core)  # nothing can have been injected, so there is nothing to heal


@pytest.mark.parametrize("fault", [Disaster(WEST), Partition(WEST), Slow(WEST)])
def test_faults_that_touch_links_need_the_wan_on(fault: Fault) -> None:
    cluster = FakeCluster(wan=False)
    cluster.start()
    assert "--wan on" in (fault.available(cluster) or "")
    with pytest.raises(FaultUnavailable, match="--wan on"):
        fault.inject(cluster)
    fault.heal(cluster)


@pytest.mark.parametrize("fault", LINK_FAULTS)
def test_link_faults_need_a_second_region(fault: type[LinkFault]) -> None:
    alone = Topology.model_validate({"region": [{"name": "us-west-2"}], "survive": "zone"})
    assert "only one region" in (fault(WEST).available(FakeCluster(alone)) or "")


# a brownout


def test_a_brownout_freezes_and_thaws_again_and_again(cluster: FakeCluster) -> None:
    fault = Brownout(NODE, share=0.5, period_s=0.02)
    with applied(fault, cluster) as injection:
        seen = Probe(True, "us-west-2/1 frozen at times, running at others")
        assert injection.after == seen
        wait_until(
            lambda: [call.action for call in cluster.calls].count("pause") > 2,
            what="third freeze",
            timeout_s=10,
        )
    assert cluster.status().healthy
    before = len(cluster.calls)
    fault.heal(cluster)
    assert [call.action for call in cluster.calls[before:]] == ["resume"]
    assert not fault.probe(cluster).took_effect


def test_a_target_that_is_only_frozen_or_only_runs_is_no_brownout(cluster: FakeCluster) -> None:
    fault = Brownout(NODE)
    assert not fault.probe(cluster).took_effect
    cluster.pause(NODE)
    assert fault.probe(cluster) == Probe(False, "us-west-2/1 seen paused only")


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_brownout_is_neither_health_nor_death(share: float) -> None:
    with pytest.raises(BadInput, match="share must be above 0 and below 1"):
        Brownout(NODE, share=share)


# a rolling restart


def test_a_rolling_restart_bit_when_every_node_came_back(cluster: FakeCluster) -> None:
    fault = RollingRestart(WEST, also=(EU,))
    assert fault.label == "rolling restart us-west-2, eu-west-1"
    assert not fault.probe(cluster).took_effect
    done = fault.inject(cluster)
    assert [restart.node for restart in done.restarts][-1] != "eu-west-1/3"  # the leader
    assert len(done.restarts) == 6
    assert done.probe(cluster) == Probe(True, "all 6 nodes restarted, one after the other")
    done.heal(cluster)
    assert cluster.status().healthy


def test_a_run_records_the_nodes_that_were_restarted(cluster: FakeCluster) -> None:
    injection = inject(RollingRestart(WEST), cluster)
    assert {restart.node for restart in injection.window.restarts} == {
        node.name for node in cluster.topology.nodes_of("us-west-2")
    }


def test_a_rolling_restart_of_which_a_node_is_missing_took_no_effect(cluster: FakeCluster) -> None:
    fault = RollingRestart(WEST)
    done = fault.inject(cluster)
    done = replace(done, restarts=done.restarts[1:])
    assert done.probe(cluster).detail.startswith("1 of 3 nodes not restarted: us-west-2/")


# a node more


def test_a_node_that_was_added_is_gone_when_it_is_healed(cluster: FakeCluster) -> None:
    fault = AddNode(EU)
    assert not fault.probe(cluster).took_effect
    before = cluster.topology.nodes
    with applied(fault, cluster) as injection:
        assert len(cluster.topology.nodes) == len(before) + 1
        assert injection.after.detail.startswith("eu-west-1/4 in service as ")
    assert cluster.topology.nodes == before
    injection.heal()
    assert cluster.topology.nodes == before
    assert not injection.fault.probe(cluster).took_effect


# a disaster


def test_a_disaster_cuts_before_it_kills_and_leaves_no_link_cut(cluster: FakeCluster) -> None:
    fault = Disaster(WEST, alone_s=0)
    fault.inject(cluster)
    done = [call.action for call in cluster.calls]
    assert done == ["start", *["set_link"] * 4, "kill", *["set_link"] * 4]
    assert not any(link.cut for link in cluster.status().links)
    assert fault.probe(cluster).took_effect


def test_a_disaster_that_was_interrupted_while_the_region_was_alone_is_healed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.faults.disaster.sleep", lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt), applied(Disaster(WEST), cluster):
        pytest.fail("the block ran although the injection was interrupted")
    assert cluster.status().healthy


def test_a_disaster_befalls_a_region_and_takes_no_negative_time() -> None:
    with pytest.raises(BadInput, match="us-west-2/1 is not one"):
        Disaster(NODE)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="alone_s must be 0 or more"):
        Disaster(WEST, alone_s=-1)


# probes


def test_a_kill_that_spared_a_part_took_no_effect(cluster: FakeCluster) -> None:
    for node in cluster.topology.nodes_of("us-west-2"):
        cluster.kill(node)
    probe = Kill(WEST).probe(cluster)
    assert not probe.took_effect
    assert probe.detail == ("2 of 5 parts not down: lb:us-west-2 running, etcd:us-west-2 running")


def test_a_cut_that_nobody_noticed_took_no_effect(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partition of a region is not proven by its links alone."""
    monkeypatch.setattr("labkit.testing.model.Model._linked", lambda *_: True)
    fault = Partition(WEST)
    fault.inject(cluster)
    assert fault.probe(cluster).detail.endswith("us-west-2 is still in service")
    assert not fault.probe(cluster).took_effect


def test_a_link_that_stayed_as_it_was_is_named(cluster: FakeCluster) -> None:
    cluster.set_link("us-west-2", "us-east-1", delay_ms=133)
    probe = Slow(WEST, peer=EAST).probe(cluster)
    assert probe == Probe(False, "1 of 2 links do not show it: us-east-1>us-west-2 33 ms")


def test_parts_of_a_region_are_all_that_lies_in_it(cluster: FakeCluster) -> None:
    names = [part.name for part in parts_of(cluster.status(), EU)]
    assert names == ["eu-west-1/1", "eu-west-1/2", "eu-west-1/3", "lb:eu-west-1", "etcd:eu-west-1"]


@pytest.mark.parametrize(
    ("fault", "nodes", "balancers"),
    [
        (Kill(NODE), ["us-west-2/1"], []),
        (Stop(EU), ["eu-west-1/1", "eu-west-1/2", "eu-west-1/3"], ["eu-west-1"]),
        (Pause(Balancer(region="eu-west-1")), [], ["eu-west-1"]),
        (Disaster(EU), ["eu-west-1/1", "eu-west-1/2", "eu-west-1/3"], ["eu-west-1"]),
        (Partition(EU), ["eu-west-1/1", "eu-west-1/2", "eu-west-1/3"], []),
        (Brownout(NODE), ["us-west-2/1"], []),
        (
            Slow(EU, WEST, Direction.IN),
            [f"{region}/{i}" for region in ("eu-west-1", "us-west-2") for i in (1, 2, 3)],
            [],
        ),
        (
            RollingRestart(WEST, also=(EU,)),
            [f"{region}/{i}" for region in ("us-west-2", "eu-west-1") for i in (1, 2, 3)],
            [],
        ),
    ],
    ids=str,
)
def test_the_record_of_a_fault_names_what_it_is_aimed_at(
    fault: Fault, nodes: list[str], balancers: list[str]
) -> None:
    window = fault.begun(DEFAULT, 1.0)
    assert (list(window.nodes), list(window.balancers)) == (nodes, balancers)


# links as data


@pytest.mark.parametrize(
    ("fault", "name", "links"),
    [
        (Partition(WEST, EAST), "us-west-2:us-east-1", {"we", "ew"}),
        (Partition(WEST, EAST, Direction.OUT), "us-west-2>us-east-1", {"we"}),
        (Partition(WEST, EAST, Direction.IN), "us-east-1>us-west-2", {"ew"}),
        (Partition(WEST), "us-west-2", {"we", "ew", "wu", "uw"}),
        (Partition(WEST, None, Direction.IN), "us-west-2 (in)", {"ew", "uw"}),
        (Partition(WEST, None, Direction.OUT), "us-west-2 (out)", {"we", "wu"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_link_fault_means_these_links(fault: LinkFault, name: str, links: set[str]) -> None:
    short = {"w": "us-west-2", "e": "us-east-1", "u": "eu-west-1"}
    assert set(fault.links(DEFAULT)) == {(short[a], short[b]) for a, b in links}
    assert fault.target_name == name
    assert fault.label == f"partition {name}"


@pytest.mark.parametrize("fault", LINK_FAULTS)
def test_a_link_fault_refuses_what_is_no_link(fault: type[LinkFault]) -> None:
    with pytest.raises(BadInput, match="us-west-2/1 is not a region"):
        fault(NODE)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="lb:us-west-2 is not a region"):
        fault(WEST, Balancer(region="us-west-2"))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="to itself"):
        fault(WEST, WEST)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e-320, 0.5, 1e9])
def test_slow_refuses_by_name_a_number_that_no_link_can_show(value: float) -> None:
    with pytest.raises(BadInput, match="delay_ms must be 0, or from 1 to 60,000, not "):
        Slow(WEST, delay_ms=value)
    with pytest.raises(BadInput, match="jitter_ms must be 0, or from 1 to 60,000, not "):
        Slow(WEST, jitter_ms=value)


def test_slow_refuses_more_than_a_link_can_have_before_it_changes_one(
    cluster: FakeCluster,
) -> None:
    fault = Slow(WEST, delay_ms=60_000)
    with pytest.raises(FaultUnavailable, match="cannot have more than 60,000"):
        require_absent(fault, cluster)
    assert "set_link" not in {call.action for call in cluster.calls}


def test_slow_is_not_seen_on_a_link_that_was_cut_meanwhile(cluster: FakeCluster) -> None:
    fault = Slow(WEST, peer=EU, delay_ms=10)
    fault.inject(cluster)
    cluster.set_link("us-west-2", "eu-west-1", cut=True)
    probe = fault.probe(cluster)
    assert not probe.took_effect
    assert "us-west-2>eu-west-1 cut" in probe.detail


def test_a_link_that_still_has_jitter_is_not_healed(cluster: FakeCluster) -> None:
    fault = Slow(WEST, peer=EU, delay_ms=0, jitter_ms=10)
    fault.inject(cluster)
    fault.heal(cluster)
    assert all(link.jitter_ms == 0 for link in cluster.status().links)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_brownout_refuses_a_period_that_does_not_end(value: float) -> None:
    with pytest.raises(BadInput, match="period_s must be above 0 and finite"):
        Brownout(NODE, period_s=value)


def test_slow_refuses_to_change_nothing() -> None:
    with pytest.raises(BadInput, match="nothing would change"):
        Slow(WEST, delay_ms=0)


def test_slow_adds_to_the_delay_of_the_topology_however_often(cluster: FakeCluster) -> None:
    fault = Slow(WEST, peer=EU, delay_ms=10)
    fault.inject(cluster)
    fault.inject(cluster)
    assert fault.probe(cluster).detail == "us-west-2>eu-west-1 83 ms, eu-west-1>us-west-2 83 ms"


# words


@pytest.mark.parametrize("kind", ["kill", "stop", "pause"])
@pytest.mark.parametrize("target", ["us-east-1/2", "us-east-1", "lb:us-east-1"])
def test_faults_of_processes_are_parsed(cluster: FakeCluster, kind: str, target: str) -> None:
    fault = parse(kind, target, cluster)
    assert isinstance(fault, FAULTS[kind])
    assert fault.label == f"{kind} {target}"


def test_a_disaster_is_parsed(cluster: FakeCluster) -> None:
    assert parse("disaster", "leader-region", cluster, alone_s=3) == Disaster(WEST, alone_s=3)


def test_the_primary_is_named_when_it_is_parsed(cluster: FakeCluster) -> None:
    assert parse("kill", "primary", cluster) == Kill(cluster.leader())
    assert parse("partition", "leader-region", cluster) == Partition(WEST)


@pytest.mark.parametrize("kind", ["partition", "slow"])
@pytest.mark.parametrize("target", ["us-west-2", "us-west-2:us-east-1", "us-west-2>us-east-1"])
def test_faults_of_links_are_parsed(cluster: FakeCluster, kind: str, target: str) -> None:
    assert parse(kind, target, cluster).label == f"{kind} {target}"


def test_options_are_fields_of_the_fault(cluster: FakeCluster) -> None:
    fault = parse("slow", "us-west-2", cluster, delay_ms=5, jitter_ms=1, direction=Direction.IN)
    assert fault == Slow(WEST, direction=Direction.IN, delay_ms=5, jitter_ms=1)


@pytest.mark.parametrize(
    ("kind", "target", "options", "message"),
    [
        ("melt", "us-west-2", {}, "no fault 'melt': there are kill, stop, pause, disaster, "),
        ("kill", "us-west-2", {"delay_ms": 5}, "kill has no delay_ms"),
        ("kill", "us-west-2", {"alone_s": 5}, "kill has no alone_s"),
        ("disaster", "us-west-2/1", {}, "us-west-2/1 is not one"),
        ("partition", "us-west-2", {"jitter_ms": 5}, "partition has no jitter_ms"),
        ("partition", "us-west-2/1", {}, "us-west-2/1 is not a region"),
        ("slow", "us-west-2>us-east-1", {"direction": Direction.IN}, "says the direction already"),
    ],
)
def test_words_that_make_no_fault_are_refused(
    cluster: FakeCluster, kind: str, target: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        parse(kind, target, cluster, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["us-west-9", "us-west-2:us-west-9", "us-west-2:a:b", ">", ""])
def test_words_that_name_nothing_are_refused(cluster: FakeCluster, target: str) -> None:
    with pytest.raises(UnknownTarget, match="us-west-2, us-east-1, eu-west-1"):
        parse("partition", target, cluster)
