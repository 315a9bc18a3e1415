"""fault and heal, on a cluster in memory: receipts, refusals, exit codes."""

from __future__ import annotations

import json

import pytest
from commands import labkit

from labkit.cluster.status import State
from labkit.errors import ClusterError
from labkit.testing import FakeCluster
from labkit.topology import Region, Target


@pytest.mark.parametrize(
    ("arguments", "label", "seen"),
    [
        (["kill", "primary"], "kill us-west-2/1", "us-west-2/1 down and out of service"),
        (["stop", "us-east-1"], "stop us-east-1", "all 5 parts of us-east-1 down"),
        (
            ["disaster", "us-west-2", "--alone-s", "0"],
            "disaster us-west-2",
            "all 5 parts of us-west",
        ),
        (["pause", "lb:eu-west-1"], "pause lb:eu-west-1", "lb:eu-west-1 paused"),
        (["partition", "leader-region", "--direction", "in"], "partition us-west-2 (in)", "cut"),
        (["slow", "us-west-2>eu-west-1", "--delay-ms", "7"], "us-west-2>eu-west-1", "80 ms"),
        (["slow", "eu-west-1", "--delay-ms", "0", "--jitter-ms", "9"], "slow", "up to 9 ms"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_fault_gives_a_receipt_and_stays(
    cluster: FakeCluster, arguments: list[str], label: str, seen: str
) -> None:
    done = labkit("fault", *arguments)
    assert done.exit_code == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert label in lines["fault"]
    assert seen in lines["after"]
    assert lines["undo"] == "labkit heal"
    assert "heal" not in {call.action for call in cluster.calls}


def test_a_receipt_as_json_has_the_evidence(cluster: FakeCluster) -> None:
    receipt = json.loads(labkit("fault", "kill", "us-east-1/2", "--json").stdout)
    assert receipt["took_effect"] is True
    assert (receipt["fault"], receipt["target"]) == ("kill", "us-east-1/2")
    assert receipt["before"] == "1 of 1 parts not down: us-east-1/2 running"
    assert receipt["after"] == "us-east-1/2 down and out of service"
    assert receipt["took_effect_after_s"] >= receipt["inject_s"] >= 0


def test_a_fault_without_an_effect_ends_with_1(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "kill", lambda target: None)
    monkeypatch.setattr("labkit.faults.inject.await_effect", lambda f, c, timeout_s: f.probe(c))
    done = labkit("fault", "kill", "us-east-1/2")
    assert done.exit_code == 1
    assert "took no effect" in done.stdout
    assert labkit("fault", "kill", "us-east-1/2", "--json").exit_code == 1


def test_a_fault_that_failed_half_way_is_healed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = cluster.topology.nodes_of("us-east-1")[0]
    kill = cluster.kill

    def fail_half_way(target: Target) -> None:
        kill(half)
        raise ClusterError(f"{target}: one process did not die")

    monkeypatch.setattr(cluster, "kill", fail_half_way)
    done = labkit("fault", "kill", "us-east-1")
    assert (done.exit_code, done.stderr) == (3, "labkit: us-east-1: one process did not die\n")
    assert cluster.status().healthy


def test_a_fault_that_failed_half_way_and_cannot_be_healed_says_both(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ClusterError("us-east-1: one process did not die")

    def fail_to_heal(*_: object) -> None:
        raise ClusterError("us-east-1/1 cannot be started")

    monkeypatch.setattr(cluster, "kill", fail)
    monkeypatch.setattr("labkit.faults.signals.Kill.heal", fail_to_heal)
    done = labkit("fault", "kill", "us-east-1")
    assert done.exit_code == 3
    assert done.stderr == (
        "labkit: us-east-1: one process did not die; "
        "the fault may hold in part (us-east-1/1 cannot be started): `labkit heal`\n"
    )


def test_a_fault_that_holds_already_is_refused(cluster: FakeCluster) -> None:
    assert labkit("fault", "pause", "us-east-1/2").exit_code == 0
    done = labkit("fault", "pause", "us-east-1/2")
    assert done.exit_code == 3
    assert "holds already" in done.stderr
    assert cluster.status().node("us-east-1/2").state is State.PAUSED


@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "mars"],
        ["partition", "us-west-2/1"],
        ["partition", "us-west-2:us-west-2"],
        ["slow", "us-west-2", "--delay-ms", "-5"],
        ["slow", "us-west-2", "--delay-ms", "0"],
        ["slow", "us-west-2", "--delay-ms", "1e-320"],
        ["slow", "us-west-2", "--delay-ms", "nan"],
        ["slow", "us-west-2", "--jitter-ms", "0.01"],
        ["slow", "us-west-2>us-east-1", "--direction", "in"],
        ["slow", "us-west-2", "--direction", "sideways"],
        ["kill", "us-west-2", "--delay-ms", "5"],
        ["melt", "us-west-2"],
        ["kill"],
    ],
    ids=" ".join,
)
def test_a_fault_that_makes_no_sense_changes_nothing(
    cluster: FakeCluster, arguments: list[str]
) -> None:
    done = labkit("fault", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr
    assert [str(call) for call in cluster.calls] == ["start"]


def test_a_fault_of_links_without_a_wan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(wan=False)
    cluster.start()
    monkeypatch.setattr("labkit.cluster.attach", lambda: cluster)
    done = labkit("fault", "partition", "us-west-2")
    assert done.exit_code == 3
    assert "--wan on" in done.stderr


def test_heal_undoes_every_fault(cluster: FakeCluster) -> None:
    cluster.kill(Region(name="us-west-2"))
    cluster.set_link("us-east-1", "eu-west-1", cut=True)
    done = labkit("heal")
    assert (done.exit_code, done.stdout) == (0, "every part is in service\n")
    assert cluster.status().healthy


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    "words",
    [
        ["fault", "kill", "primary"],
        ["fault", "kill", "us-west-2/1"],
        ["fault", "slow", "us-west-2"],
        ["fault", "disaster", "leader-region"],
        ["sql", "us-west-2"],
    ],
    ids=" ".join,
)
def test_on_a_stopped_lab_the_next_step_is_to_start_it(words: list[str]) -> None:
    done = labkit(*words)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "labkit: the lab is stopped: `labkit up` starts it\n"


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (["kill", "us-east-1/2"], ["kill", "us-east-1/2"], "holds already"),
        (["kill", "us-east-1/2"], ["stop", "us-east-1/2"], "holds already"),
        (["kill", "us-east-1/2"], ["pause", "us-east-1/2"], "us-east-1/2 is down"),
        (["kill", "us-east-1/2"], ["pause", "us-east-1"], "us-east-1/2 is down"),
        (["kill", "lb:us-east-1"], ["pause", "lb:us-east-1"], "lb:us-east-1 is down"),
        (["pause", "us-east-1/2"], ["stop", "us-east-1/2"], "us-east-1/2 is paused"),
        (["pause", "us-east-1/2"], ["stop", "us-east-1"], "us-east-1/2 is paused"),
        (["partition", "us-east-1"], ["partition", "us-east-1"], "holds already"),
        (["partition", "us-east-1"], ["partition", "us-east-1:eu-west-1"], "holds already"),
        (["slow", "us-east-1"], ["slow", "us-east-1"], "holds already"),
        (["partition", "us-east-1"], ["slow", "us-east-1"], "us-east-1>us-west-2 is cut"),
        (["partition", "us-east-1>eu-west-1"], ["slow", "us-east-1"], "us-east-1>eu-west-1 is cut"),
    ],
    ids=str,
)
def test_a_fault_that_could_have_no_effect_is_refused_at_once(
    cluster: FakeCluster,
    monkeypatch: pytest.MonkeyPatch,
    first: list[str],
    then: list[str],
    says: str,
) -> None:
    assert labkit("fault", *first).exit_code == 0
    monkeypatch.delattr("labkit.faults.inject.await_effect")  # nothing is waited for
    done = labkit("fault", *then)
    assert (done.exit_code, done.stdout) == (3, "")
    assert says in done.stderr
    assert "`labkit heal`" in done.stderr


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (["pause", "us-east-1/2"], ["kill", "us-east-1/2"]),
        (["kill", "us-east-1/2"], ["kill", "us-east-1"]),
        (["pause", "us-east-1/2"], ["pause", "us-east-1"]),
        (["partition", "us-east-1:eu-west-1"], ["partition", "us-east-1"]),
        (["slow", "us-east-1"], ["slow", "us-east-1", "--delay-ms", "7"]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("cluster")
def test_a_fault_that_adds_to_another_is_applied(first: list[str], then: list[str]) -> None:
    assert labkit("fault", *first).exit_code == 0
    assert labkit("fault", *then).exit_code == 0


@pytest.mark.parametrize("target", ["lb:us-west-2", "us-west-2/1", "primary", "mars", "us-west-2:"])
@pytest.mark.usefixtures("cluster")
def test_a_fault_of_links_says_what_links_are_called_and_not_what_was_typed(target: str) -> None:
    done = labkit("fault", "slow", target)
    assert done.exit_code == 2
    assert f"{target} is not a region: say a region (us-west-2: all its links)" in done.stderr
    assert "lb:" not in done.stderr.replace(target, "")


def test_without_a_primary_what_holds_an_election_up_is_said(cluster: FakeCluster) -> None:
    for region in cluster.topology.region_names:
        labkit("fault", "partition", region)
    done = labkit("fault", "kill", "primary")
    assert done.exit_code == 3
    assert "no primary right now (6 of 6 links are cut)" in done.stderr
    assert "`labkit heal`" in done.stderr
    assert labkit("node", "remove", "primary").stderr == done.stderr
    assert labkit("dsn", "leader-region").stderr == done.stderr
