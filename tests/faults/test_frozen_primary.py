"""What the lab does not promise, shown: an acknowledgement past the balancers that is lost.

A primary whose Patroni is frozen does not know that another node has taken over. It goes on
committing as long as enough standbys stream from it. Those that voted for the new primary turn to
it at once, so as a rule there are not enough; for a moment there can be. Here that moment is held
open: the processes that would make the standbys turn are frozen first, so nothing is left to
chance.
"""

from __future__ import annotations

import signal
from time import monotonic

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from labkit.clock import wait_until
from labkit.cluster.engines.postgresql import patroni
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.etcd import EtcdClient
from labkit.cluster.engines.postgresql.layout import member_name
from labkit.cluster.processes import freeze, send
from labkit.history import History
from labkit.lab import bring_up
from labkit.record import Op, OpKind, Outcome
from labkit.topology import Node, SurvivalGoal
from labkit.trading.audit import final_read
from labkit.trading.catalogue import GENERATED_ACCOUNTS
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, place_order
from labkit.verdict.checkers import NoLostAcks
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict

ACCOUNT, SYMBOL = GENERATED_ACCOUNTS[0], "NFLX"


def processes_of(lab: EmbeddedCluster, node: Node, what: str) -> list[int]:
    """The pids of a node's PostgreSQL that say they are this, such as "startup"."""
    pids = lab.machine.processes([member_name(node)])
    found = [pid for pid in pids if f" {what}" in " ".join(psutil.Process(pid).cmdline())]
    assert found, f"{node} has no {what}"
    return found


def another_leads(lab: EmbeddedCluster, old: Node) -> Node:
    """The node that has taken the leader key from another one."""
    etcd = EtcdClient.of(lab.layout, old.region)
    wait_until(
        lambda: etcd.last_primary() not in (None, member_name(old)),
        what=f"a leader in place of {old}",
        timeout_s=30,
        poll_s=0.02,
    )
    name = etcd.last_primary()
    return next(node for node in lab.topology.nodes if member_name(node) == name)


def is_primary(lab: EmbeddedCluster, node: Node) -> bool:
    said = patroni.member(lab.layout.rest(node), lab.secrets.rest_api)
    return said is not None and said.primary


def place(dsn: str, order: Order) -> Op:
    """Place an order and record its acknowledgement."""
    sent_s = monotonic()
    with psycopg.connect(dsn, autocommit=True) as conn:
        receipt = place_order(conn, order)
    return Op(
        sent_s,
        sent_s,
        monotonic(),
        "past-the-balancer",
        OpKind.ORDER,
        Outcome.OK,
        str(order.order_id),
        order.symbol,
        order.side,
        move_nbr=receipt.move_nbr,
        price_cents=receipt.price_cents,
    )


@pytest.mark.long
@pytest.mark.cluster
def test_what_a_frozen_primary_acknowledges_past_the_balancers_is_lost_and_named(
    lab: EmbeddedCluster,
) -> None:
    bring_up(lab)
    assert lab.survival_goal() is SurvivalGoal.REGION
    run, old = RunId.new(), lab.leader()
    kept, lost = (
        Order(run.order_id(0, number), ACCOUNT, SYMBOL, Side.BUY, quantity=1) for number in (0, 1)
    )
    ops = [place(lab.dsn(old.region), kept)]

    standbys = [node for node in lab.topology.nodes if node != old]
    replay = {node: processes_of(lab, node, "startup") for node in standbys}
    # what would turn to the new primary, what would promote it, what would end the old one, and
    # what writes log that no client asked for
    freeze(pid for pids in replay.values() for pid in pids)
    freeze([lab.table.pid(member_name(old)), *processes_of(lab, old, "background writer")])
    new = another_leads(lab, old)
    send(replay[new], signal.SIGCONT)
    wait_until(lambda: is_primary(lab, new), what=f"{new} as primary", timeout_s=30, poll_s=0.05)

    past_the_balancer = make_conninfo(lab.dsn(old.region), port=lab.layout.postgres(old))
    ops.append(place(past_the_balancer, lost))
    lab.heal()

    ledger = [op.order_id for op in ops]
    final = final_read(lab.dsn(new.region), run)
    finding = NoLostAcks().check(Evidence.of(ledger, History.of(ops), final))
    assert finding.verdict is Verdict.FAIL
    assert finding.offenders == (str(lost.order_id),)
