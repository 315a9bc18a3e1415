"""Nodes that come and go while the lab runs."""

from __future__ import annotations

from contextlib import suppress
from time import sleep

from labkit.cluster.base import OnStage
from labkit.cluster.engines.cockroachdb import monitoring, program
from labkit.cluster.engines.cockroachdb.layout import address, node_service
from labkit.cluster.engines.cockroachdb.starting import Starter
from labkit.cluster.ports import require_free
from labkit.cluster.processes import uninterrupted
from labkit.cluster.status import State
from labkit.errors import ClusterError, LabError, NotReady
from labkit.topology import Node

DECOMMISSION_S = 600.0
"""How long moving a node's data may take: about two minutes in the log that node-shutdown.md,
v25.4, shows ("OPS")."""
ASK_S = 30.0
CHECK_AGAIN_S = 10
"""The check before a decommission can fail for a reason that lasts some five seconds, such as a
throttled store (cockroachdb/cockroach#156849). It changes nothing."""
STOP_S = 60
"""How long a node may drain when it is shut down: more than the 25 s that its settings add up to by
default (node-shutdown.md, "Termination grace period") and the 4 s of `statements.SETTINGS`."""


def add(starter: Starter, node: Node, on_stage: OnStage) -> None:
    """Start a node that `starter` knows and nothing that runs does, yet."""
    layout = starter.layout
    on_stage(f"starting {node}")
    require_free(
        {port: what for port, what in layout.ports().items() if what.startswith(f"{node} ")}
    )
    starter.render()
    starter.tell_wan()
    starter.machine.start([node_service(node)])
    on_stage(f"{node} joins")
    starter.await_nodes([node])
    on_stage("the load balancers")
    starter.tell_balancers()
    starter.await_behind_balancers(node)


def decommission(starter: Starter, rest: Starter, node: Node, on_stage: OnStage) -> None:
    """Let a node's data move to the others, and the node leave the cluster.

    Args:
        rest: knows the lab without the node.

    Raises:
        NotReady: it did not in time, or was interrupted; the node is part of the cluster again.
        ClusterError: CockroachDB refuses; says why.
    """
    on_stage(f"{node} is decommissioned: its data moves")
    try:
        _leave(starter, rest, node)
    except _BlockedError:
        on_stage(f"CockroachDB's check refused: once more in {CHECK_AGAIN_S} s")
        sleep(CHECK_AGAIN_S)
        _leave(starter, rest, node)
    on_stage(f"{node} ends")
    starter.machine.stop([node_service(node)], timeout_s=STOP_S)


class _BlockedError(ClusterError):
    """The check before a decommission refused: nothing was begun."""


def _leave(starter: Starter, rest: Starter, node: Node) -> None:
    try:
        _decommission(starter, rest, node, wait=True)
    except _BlockedError:
        raise
    except BaseException:
        with uninterrupted(), suppress(LabError):
            _recommission(starter, rest, node)
        raise


def withdraw(starter: Starter, rest: Starter, node: Node) -> None:
    """Take a node out again whose adding failed, however far it came."""
    with suppress(LabError):  # it may never have joined
        _decommission(starter, rest, node, wait=False)
    take_out(starter, rest, node)


def take_out(starter: Starter, rest: Starter, node: Node) -> None:
    """Remove what a node leaves: its process, its data, its place at the balancers.

    Args:
        rest: knows the lab without the node.
    """
    machine = starter.machine  # which knows the node's data
    machine.kill([node_service(node)])

    def ended() -> bool:
        state = machine.states().get(node_service(node), State.DOWN)
        return state is State.DOWN

    machine.wait_until(ended, f"end of {node}", timeout_s=15)
    machine.discard(node_service(node))
    rest.render()
    rest.tell_balancers()
    with suppress(LabError):  # a WAN that does not run starts with the nodes there are
        rest.tell_wan()


def _decommission(starter: Starter, rest: Starter, node: Node, *, wait: bool) -> None:
    other, number = _told_by(rest, node)
    host = address(rest.layout.sql_from(other.region, other))
    arguments = program.decommission(number, host, rest.certs, wait=wait)
    try:
        starter.cockroach(other, arguments, DECOMMISSION_S if wait else ASK_S)
    except ClusterError as error:
        if program.BLOCKED in str(error):
            raise _BlockedError(str(error)) from error
        raise


def _recommission(starter: Starter, rest: Starter, node: Node) -> None:
    other, number = _told_by(rest, node)
    host = address(rest.layout.sql_from(other.region, other))
    starter.cockroach(other, program.recommission(number, host, rest.certs), ASK_S)
    # it may have been drained, and may then need a new start (node-shutdown.md)
    starter.machine.stop([node_service(node)], timeout_s=STOP_S)
    starter.machine.start([node_service(node)])


def _told_by(rest: Starter, node: Node) -> tuple[Node, int]:
    """Another node that is in service, and the number by which it knows `node`."""
    layout, tls = rest.layout, rest.tls()
    ready = [n for n in layout.topology.nodes if monitoring.ready(layout.console(n), tls).ready]
    if not ready:
        raise NotReady("no other node is in service to ask: see `labkit status`")
    other = ready[0]
    host = address(layout.sql_from(other.region, other))
    said = rest.cockroach(other, program.node_status(host, rest.certs), ASK_S)
    number = program.node_id(said, program.locality(node))
    if number is None:
        raise NotReady(f"{other} knows no {node}: see `labkit status`")
    return other, number
