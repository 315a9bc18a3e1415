"""Nodes that come and go, seen from a client and from the machine that they ran on."""

from __future__ import annotations

import psycopg
import pytest

from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.layout import member_name
from labkit.cluster.status import settled
from labkit.errors import NotReady
from labkit.topology import Node

NEW = Node(region="us-east-1", index=4)


def replicas_behind(lab: EmbeddedCluster, region: str) -> set[int]:
    """The ports of the servers that new sessions of a region's read-only balancer meet."""
    met = set()
    for _ in range(3 * len(lab.topology.nodes)):
        with psycopg.connect(lab.dsn(region, read_only=True)) as connection:
            row = connection.execute("SELECT inet_server_port()").fetchone()
            assert row is not None
            met.add(int(row[0]))
    return met


def slots(lab: EmbeddedCluster) -> set[str]:
    with lab._starter.superuser(lab.leader()) as connection:
        rows = connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall()
    return {row[0] for row in rows}


@pytest.mark.long
@pytest.mark.cluster
def test_a_new_replica_takes_reads_and_sessions_there_before_go_on(lab: EmbeddedCluster) -> None:
    with (
        psycopg.connect(lab.dsn("us-east-1"), autocommit=True) as writer,
        psycopg.connect(lab.dsn("us-west-2", read_only=True), autocommit=True) as reader,
    ):
        lab.add_node("us-east-1")
        port = lab.layout.postgres(NEW)
        assert port in replicas_behind(lab, "us-east-1")
        assert "us_east_1_4" in slots(lab)
        lab.remove_node(NEW)
        assert port not in replicas_behind(lab, "us-east-1")
        for session in (writer, reader):
            assert session.execute("SELECT 1").fetchone() == (1,)
    assert "us_east_1_4" not in slots(lab)
    assert lab.table.pid(member_name(NEW)) is None
    assert not lab.layout.data(NEW).exists()


@pytest.mark.long
@pytest.mark.cluster
def test_another_object_for_the_same_lab_sees_a_node_that_came(lab: EmbeddedCluster) -> None:
    other = EmbeddedCluster.attach(lab.home)
    lab.add_node("us-east-1")
    assert NEW in other.topology.nodes
    assert settled(other.status, timeout_s=60).node(NEW.name).healthy
    other.remove_node(NEW)
    assert NEW not in lab.topology.nodes


@pytest.mark.cluster
def test_a_node_whose_start_is_interrupted_leaves_nothing(lab: EmbeddedCluster) -> None:
    before = lab.settings

    def interrupt(stage: str) -> None:
        if "copies" in stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.add_node("us-east-1", interrupt)
    assert lab.settings == before
    assert lab.table.pid(member_name(NEW)) is None
    assert not lab.layout.data(NEW).exists()
    assert settled(lab.status, timeout_s=60).missing == ()


@pytest.mark.cluster
def test_a_node_that_cannot_hand_over_stays(lab: EmbeddedCluster) -> None:
    leader = lab.leader()
    for node in lab.topology.nodes:
        if node != leader:
            lab.kill(node)
    with pytest.raises(NotReady):
        lab.remove_node(leader)
    assert leader in lab.topology.nodes
    lab.start()
    assert settled(lab.status, timeout_s=60).missing == ()
