"""Starting what is not running, in an order that works, each step awaited by evidence; stopping.

WAN                    it answers on its control port
etcd and HAProxy       a linearizable read succeeds and the cluster version is decided
the first node         (when none runs; the last primary) its Patroni says it is the primary
all other nodes        every one streams and commits wait for the standbys they should
the balancers' ports   a query through each reaches a primary, respectively a replica
"""

from __future__ import annotations

import signal
from contextlib import suppress

from labkit.cluster.base import OnStage, quiet
from labkit.cluster.engines.postgresql import room, scaling
from labkit.cluster.engines.postgresql.layout import balancer_name, etcd_name, member_name
from labkit.cluster.engines.postgresql.starting import Starter, service_timeout_s
from labkit.cluster.folder import remove_data
from labkit.cluster.layout import WAN
from labkit.cluster.processes import alive, kill_and_wait, postgres_pids, send
from labkit.errors import NotReady

AT_ONCE = 12
"""How many database nodes are started at the same time. Each takes a second of processor time to
copy the data and to begin; 44 at once on two cores left etcd none, and Patroni ended without it."""


def start_everything(starter: Starter, on_stage: OnStage, *, served: bool) -> None:
    """Start what does not run of a whole lab and wait until it is in service.

    Args:
        served: whether the lab was in service before, so that its data counts.

    Raises:
        ClusterError: a part cannot be started; names it and its last log lines.
        NotReady: a stage took too long.
    """
    layout, topology, goal = starter.layout, starter.layout.topology, starter.settings.survive
    timeout_s = service_timeout_s(topology)
    missing = [node for node in topology.nodes if starter.table.pid(member_name(node)) is None]
    if not served:
        # half-made data directories of an interrupted first start would only stop the next one
        remove_data(layout.place, topology.region_names)
    uid = starter.table.identity.uid
    room.require_room(layout, starter.secrets, uid, len(missing))
    starter.check_ports(missing, topology.region_names)
    starter.prepare(len(missing))
    with starter.forker() as forker:
        if missing:
            forker.import_patroni()
        if starter.wan and starter.table.pid(WAN) is None:
            on_stage("WAN between the regions")
        starter.start_wan()
        regions = topology.region_names
        services = [name(region) for region in regions for name in (etcd_name, balancer_name)]
        idle = [service for service in services if starter.table.pid(service) is None]
        if idle:
            on_stage("etcd and load balancers")
        elif not missing:
            on_stage("every part runs: looking whether it is in service")
            on_stage = quiet
        starter.start_etcd(topology.region_names)
        starter.start_balancers(topology.region_names)
        starter.await_etcd()
        if served:
            # before a node starts: the goal was changed while the lab was stopped, or a command
            # that added or removed a node was killed
            scaling.demand(starter, topology, goal)
        if not served and missing:
            first = missing.pop(0)
            on_stage(f"first database node {first}")
            starter.make_first_data()
            forker.start([first])
            starter.await_primary(first)
            starter.create_database(first)  # before there are replicas that a commit waits for
        elif len(missing) == len(topology.nodes):
            last = starter.start_last_primary(forker, missing, on_stage)
            missing = [node for node in missing if node != last]
        while missing:
            # without a primary all start at once: fewer may not be able to elect one
            in_groups = len(missing) > AT_ONCE and starter.has_primary()
            count = AT_ONCE if in_groups else len(missing)
            now, missing = missing[:count], missing[count:]
            on_stage(f"{len(now)} database node{'' if len(now) == 1 else 's'}")
            forker.start(now)
            if missing:
                starter.await_replication(now, timeout_s)
    on_stage("replication")
    starter.await_replication(topology.nodes, timeout_s)
    scaling.await_obeyed(starter, topology, goal)
    starter.tell_balancers()
    on_stage("a query through every balancer")
    starter.await_balancers(topology.region_names, timeout_s)


def stop_everything(starter: Starter, on_stage: OnStage) -> None:
    """Stop balancers, then database nodes, then the WAN and etcd; kill what still runs then."""
    machine, topology = starter.machine, starter.layout.topology
    nodes = [member_name(node) for node in topology.nodes]
    machine.resume(starter.layout.services)
    on_stage("load balancers")
    machine.stop([balancer_name(name) for name in topology.region_names], timeout_s=3)
    on_stage("database nodes")
    # Patroni would use its last seconds to arrange a failover to nodes that are stopping too
    kill_and_wait(machine.recorded(nodes))
    postmasters = [pid for data in machine.data.values() for pid in postgres_pids(data)[:1]]
    send(postmasters, signal.SIGINT)  # PostgreSQL's fast shutdown
    with suppress(NotReady):
        machine.wait_until(lambda: not alive(postmasters), "end of PostgreSQL", timeout_s=30)
    on_stage("WAN and etcd")
    # in turn: an etcd that leads hands over first, and would wait for one that is ending too
    for name in (WAN, *(etcd_name(region) for region in topology.region_names)):
        machine.stop([name], timeout_s=5)
    machine.kill_all_but(())
