"""Changes of a running lab: its leader, its members, what a commit waits for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from labkit.clock import wait_until
from labkit.cluster.base import OnStage
from labkit.cluster.engines.postgresql import config
from labkit.cluster.engines.postgresql.etcd import CONFIG, FAILOVER
from labkit.cluster.engines.postgresql.layout import member_name
from labkit.cluster.engines.postgresql.starting import Starter, service_timeout_s
from labkit.errors import NotReady
from labkit.topology import Node, SurvivalGoal, Topology

SWITCHOVER_S = 25.0
"""How long a switchover may take; it takes about five seconds."""
STOP_TIMEOUT_S = 30.0
"""How long Patroni and PostgreSQL may take to end when they are asked to."""


def obey(starter: Starter, topology: Topology, goal: SurvivalGoal) -> None:
    """Let commits wait for as many standbys as a goal wants in a shape, and wait until they do.

    Raises:
        NotReady: there is no primary, or it did not take effect in time.
    """
    starter.primary()  # it is who carries it out
    demand(starter, topology, goal)
    await_obeyed(starter, topology, goal)


def demand(starter: Starter, topology: Topology, goal: SurvivalGoal) -> None:
    """Tell Patroni for how many standbys commits shall wait; a primary, once there is one, obeys.

    Raises:
        NotReady: etcd did not take it in time.
    """
    _change(starter, config.cluster_settings(topology, goal))


def await_obeyed(starter: Starter, topology: Topology, goal: SurvivalGoal) -> None:
    """Wait until commits wait for as many standbys as a goal wants in a shape.

    Raises:
        NotReady: there is no primary, or it did not take effect in time.
    """
    count = config.synchronous_nodes(topology, goal)
    wanted = f"ANY {count} (" if count else ""

    def in_force() -> bool:
        with starter.superuser(starter.primary()) as connection:
            row = connection.execute("SHOW synchronous_standby_names").fetchone()
        names = str(row[0]) if row else ""
        return names.startswith(wanted) if wanted else not names

    wait_until(in_force, what=f"survival goal {goal}", timeout_s=max(20, 2 * len(topology.nodes)))


def hand_over(starter: Starter, node: Node) -> Node:
    """Let another node lead, one of the same region where possible; returns who leads now.

    Raises:
        NotReady: no other node could, or none led in time.
    """
    members = starter.members()
    leader = members[node]
    if leader is None or not leader.primary:
        return starter.primary()
    # a commit may not have reached an asynchronous standby: none is chosen while there are others
    wanted = ("async",) if starter.settings.survive is SurvivalGoal.NONE else ("quorum", "sync")
    standbys = [
        other
        for other in starter.layout.topology.nodes
        if other != node and leader.standbys.get(member_name(other)) in wanted
    ]
    if not standbys:
        raise NotReady(f"no other node than {node} can lead: see `labkit status`")
    successor = min(standbys, key=lambda other: other.region != node.region)
    _switch_over(starter, member_name(node), member_name(successor))

    def handed_over() -> bool:
        with suppress(NotReady):
            return starter.primary() != node
        return False

    wait_until(
        handed_over,
        what=f"another primary than {node}",
        timeout_s=service_timeout_s(starter.layout.topology),
    )
    return starter.primary()


def add(starter: Starter, node: Node, on_stage: OnStage) -> None:
    """Start a node that `starter` knows and no process of the lab does, yet."""
    on_stage(f"starting {node}")
    starter.prepare(1)
    starter.check_ports([node], [])
    starter.tell_wan()
    with starter.forker() as forker:
        forker.start([node])
    on_stage(f"{node} copies the data and streams")
    starter.await_replication([node], service_timeout_s(starter.layout.topology))
    obey(starter, starter.layout.topology, starter.settings.survive)
    on_stage("the load balancers")
    starter.tell_balancers()


def remove(starter: Starter, rest: Starter, node: Node, on_stage: OnStage) -> None:
    """Let a node hand over and end.

    Args:
        rest: knows the lab without the node.
    """
    on_stage(f"{node} hands over")
    hand_over(starter, node)
    obey(rest, rest.layout.topology, rest.settings.survive)
    on_stage("the load balancers")
    rest.tell_balancers()
    on_stage(f"{node} ends")
    starter.machine.stop([member_name(node)], timeout_s=STOP_TIMEOUT_S)


def forget(starter: Starter, node: Node) -> None:
    """Remove what a node that has ended leaves on this machine."""
    layout, name = starter.layout, member_name(node)
    starter.machine.discard(name)
    for path in (layout.member_config(node), layout.member_pgpass(node)):
        path.unlink(missing_ok=True)


def release_log(starter: Starter, node: Node) -> None:
    """Let the primary drop the replication slot of a node that left for good.

    Patroni keeps a member's slot for half an hour after it was last seen, and with it all log that
    is written since (member_slots_ttl; Patroni 4.1, "Dynamic Configuration Settings").
    """
    slot = member_name(node).replace("-", "_")
    with _setting(starter, "member_slots_ttl", 1), suppress(NotReady):

        def dropped() -> bool:
            with starter.superuser(starter.primary()) as connection:
                found = connection.execute(
                    "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", (slot,)
                ).fetchone()
            return found is None

        # if not by now, then in half an hour: nothing depends on it
        wait_until(dropped, what=f"end of slot {slot}", timeout_s=15, poll_s=0.5)


@contextmanager
def _setting(starter: Starter, name: str, value: int) -> Iterator[None]:
    """Hold a setting of Patroni for the length of a block, its default afterwards."""
    starter.primary()  # it is who carries it out
    try:
        _change(starter, {name: value})
        yield
    finally:
        _change(starter, {name: None})


def _change(starter: Starter, change: dict[str, object]) -> None:
    """Change Patroni's settings where its members read them; None removes one.

    Through etcd, because the REST API takes no orders (see `members`).
    """

    def changed(text: str) -> str:
        settings = {**json.loads(text or "{}"), **change}
        return json.dumps({name: value for name, value in settings.items() if value is not None})

    wait_until(lambda: starter.etcd().change(CONFIG, changed), what="change in etcd", timeout_s=10)


def _switch_over(starter: Starter, leader: str, candidate: str) -> None:
    """Ask the leader to let another member lead, as Patroni's own programs do, and wait for it.

    Raises:
        NotReady: it was not done in time, or refused.
    """
    etcd = starter.etcd()
    order = json.dumps({"leader": leader, "member": candidate})
    what = f"switchover from {leader} to {candidate}"
    wait_until(lambda: etcd.change(FAILOVER, lambda _: order), what=what, timeout_s=5)
    try:
        wait_until(
            lambda: etcd.value(FAILOVER) not in (order, None), what=what, timeout_s=SWITCHOVER_S
        )
    except NotReady:
        # it must not be carried out later
        etcd.change(FAILOVER, lambda there: "{}" if there == order else there)
        raise
    if etcd.leader() == leader:
        raise NotReady(f"{what}: Patroni refused it, its log says why ({starter.layout.logs})")
