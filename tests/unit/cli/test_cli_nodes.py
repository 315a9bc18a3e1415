"""node add, remove and restart, on a cluster in memory."""

from __future__ import annotations

import json

import pytest
from commands import labkit

from labkit.testing import FakeCluster
from labkit.topology import DEFAULT


def test_a_node_is_added_and_removed(cluster: FakeCluster) -> None:
    added = labkit("node", "add", "us-east-1")
    assert (added.exit_code, added.stdout) == (0, "us-east-1/4 is in service\n")
    removed = labkit("node", "remove", "us-east-1/4")
    assert (removed.exit_code, removed.stdout) == (0, "us-east-1/4 is gone\n")
    assert cluster.topology == DEFAULT


@pytest.mark.parametrize(
    "arguments",
    [["node", "add", "mars"], ["node", "remove", "mars/1"], ["node", "restart", "mars/1"]],
    ids=" ".join,
)
def test_nodes_of_nowhere_are_refused_with_the_list(
    cluster: FakeCluster, arguments: list[str]
) -> None:
    done = labkit(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "us-west-2" in done.stderr
    assert [str(call) for call in cluster.calls] == ["start"]


def test_a_cluster_whose_nodes_are_given_refuses_to_change_them(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster
) -> None:
    class Given:
        """Somebody else's cluster: it can only be asked."""

        backend, topology = "external", DEFAULT

    monkeypatch.setattr("labkit.cluster.attach", Given)
    done = labkit("node", "add", "us-east-1")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "external backend cannot" in done.stderr
    assert labkit("node", "restart").exit_code == 3


def test_nodes_are_restarted_in_turn(cluster: FakeCluster) -> None:
    done = labkit("node", "restart")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == [*(node.name for node in DEFAULT.nodes[1:]), "us-west-2/1"]
    assert done.stderr.splitlines() == [f"restarting {name}" for name in names]
    one = json.loads(labkit("node", "restart", "eu-west-1/2", "--json").stdout)
    assert [step["node"] for step in one] == ["eu-west-1/2"]


def test_nodes_are_named_by_the_words_that_faults_know(cluster: FakeCluster) -> None:
    assert labkit("node", "remove", "primary").stdout == "us-west-2/1 is gone\n"
    assert labkit("node", "add", "leader-region").stdout == "us-west-2/1 is in service\n"
    done = labkit("node", "restart", "us-east-1", "us-east-1/2", "primary", "--json")
    restarted = [step["node"] for step in json.loads(done.stdout)]
    assert sorted(restarted) == ["us-east-1/1", "us-east-1/2", "us-east-1/3", "us-west-2/2"]
    for words in (["remove", "us-east-1"], ["remove", "lb:us-east-1"], ["restart", "mars"]):
        assert labkit("node", *words).exit_code == 2
