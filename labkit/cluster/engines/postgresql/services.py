"""The processes that targets stand for, found and ended."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from labkit.clock import wait_until
from labkit.cluster import strays
from labkit.cluster.base import OnStage
from labkit.cluster.engines.postgresql.layout import (
    WAN,
    Layout,
    balancer_name,
    etcd_name,
    member_name,
)
from labkit.cluster.processes import ProcessTable, alive, kill_and_wait, postgres_pids, send, tree
from labkit.cluster.shared_memory import remove_ipc, remove_segments, segments
from labkit.errors import NotReady
from labkit.topology import Balancer, Node, Region, Target


@dataclass(frozen=True)
class Services:
    """The services of one lab: each a recorded process, with what hangs on it."""

    layout: Layout
    table: ProcessTable

    # which there are

    def of(self, target: Target) -> list[str]:
        """Return the services that a target stands for, database nodes first.

        Raises:
            UnknownTarget: it is not part of this lab.
        """
        topology = self.layout.topology
        region = topology.region(target.name if isinstance(target, Region) else target.region)
        if isinstance(target, Node):
            return [member_name(topology.node(target.name))]
        if isinstance(target, Balancer):
            return [balancer_name(region.name)]
        nodes = [member_name(node) for node in topology.nodes_of(region.name)]
        return [*nodes, etcd_name(region.name), balancer_name(region.name)]

    def all(self) -> list[str]:
        """Every service of the lab."""
        names = [name for region in self.layout.topology.regions for name in self.of(region)]
        return [*names, WAN]

    def running(self) -> dict[str, int]:
        """Return the recorded processes that are alive, by service."""
        names = self.table.records()
        return {name: pid for name in names if (pid := self.table.pid(name)) is not None}

    def recorded(self, names: Iterable[str]) -> list[int]:
        """Return the recorded processes of those of the services that are alive."""
        return [pid for name in names if (pid := self.table.pid(name)) is not None]

    def pids(self, name: str) -> list[int]:
        """Every live process of a service: of a node Patroni first, then PostgreSQL's."""
        pid = self.table.pid(name)
        pids = tree(pid) if pid is not None else []
        for node in self.layout.topology.nodes:
            if member_name(node) == name:
                pids += postgres_pids(self.layout.data(node))
        return list(dict.fromkeys(pids))

    # ending them

    def thaw(self, names: Iterable[str]) -> None:
        """SIGCONT every process of the services."""
        for name in names:
            send(self.pids(name), signal.SIGCONT)

    def stop(self, on_stage: OnStage) -> None:
        """Stop everything in order, and kill what does not."""
        topology = self.layout.topology
        self.thaw(self.all())
        on_stage("load balancers")
        self._end(self.recorded(balancer_name(name) for name in topology.region_names), timeout_s=3)
        on_stage("database nodes")
        # Patroni would use its last seconds to arrange a failover to nodes that are stopping too
        kill_and_wait(self.recorded(member_name(node) for node in topology.nodes))
        postmasters = [
            pid for node in topology.nodes for pid in postgres_pids(self.layout.data(node))[:1]
        ]
        self._end(postmasters, timeout_s=30, number=signal.SIGINT)  # PostgreSQL's fast shutdown
        on_stage("WAN and etcd")
        # in turn: an etcd that leads hands over first, and would wait for one that is ending too
        for name in (WAN, *(etcd_name(region) for region in topology.region_names)):
            self._end(self.recorded([name]), timeout_s=5)
        self.kill_all_but({})

    def _end(
        self, pids: Sequence[int], timeout_s: float, number: signal.Signals = signal.SIGTERM
    ) -> None:
        """Ask processes to end; what has not in time is left for `kill_all_but`."""
        send(pids, number)
        with suppress(NotReady):
            wait_until(lambda: not alive(pids), what="end", timeout_s=timeout_s, poll_s=0.05)

    def kill_all_but(self, kept: dict[str, int]) -> None:
        """Kill every process of this lab except those of `kept` and what hangs on them."""
        nodes, user = self.layout.topology.nodes, self.table.identity.uid
        left_behind: set[int] = set()

        def doomed() -> set[int]:
            found = set(self.running().values()) | set(strays.of_table(self.table))
            for node in nodes:
                found.update(postgres_pids(self.layout.data(node)))
            # in this order: a server that is kept may have forked a child just now, and one that
            # was found must not be missing here
            spared = set(kept.values())
            for node in nodes:
                if member_name(node) in kept:
                    spared.update(self.pids(member_name(node)))
            return found - spared

        # again until there are none: one that forks members may have forked one more
        while pids := doomed():
            left_behind |= segments(pids)
            kill_and_wait(sorted(pids))
        for name in self.table.records():
            if name not in kept:
                self.table.forget(name)
        for node in nodes:
            if member_name(node) not in kept:
                remove_ipc(self.layout.data(node), user)
        remove_segments(left_behind, {user})  # also those of a data directory that was removed
