"""A cluster that exists only in memory, to test scenarios, faults and verdicts without servers.

    cluster = FakeCluster()
    cluster.start()
    cluster.kill(cluster.leader())
    assert cluster.leader().region == "us-west-2"  # another node of the region took over

It answers the whole protocol of `labkit.cluster.base` with every capability, raises what a real
cluster raises, and passes the same contract suite (tests/contract). What it models:

- A region takes part while it exchanges messages, both ways, with a majority of the coordinators.
- The primary is lost when it does not run or its region takes no part. `election_s` later another
  node takes over that surely has every acknowledged order: any that takes part under survival goal
  REGION, one of the primary's own region under ZONE, any under NONE (which may lose orders).
- Without such a node there is no primary until one is back.

There is no database behind its URLs: connections to them are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import permutations
from time import monotonic
from typing import Unpack

from labkit.cluster.base import Gather, LinkChange, OnStage, quiet
from labkit.cluster.status import ClusterStatus, LinkStatus, NodeStatus, Role, ServiceStatus, State
from labkit.errors import FaultUnavailable, LabBusy, NotReady, NotRunning, UnknownTarget
from labkit.events import Event, Sign
from labkit.topology import DEFAULT, Balancer, Node, Region, SurvivalGoal, Target, Topology


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that was done to a `FakeCluster`, such as `kill us-west-2/1`."""

    action: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.target}".rstrip()


class FakeCluster:
    """A `Cluster` in memory with every capability.

    Attributes:
        calls: what was done to it, in order; questions are not recorded.
    """

    backend = "fake"
    single_primary = True
    survival_goals = (SurvivalGoal.NONE, SurvivalGoal.ZONE, SurvivalGoal.REGION)

    def __init__(
        self,
        topology: Topology = DEFAULT,
        *,
        wan: bool = True,
        election_s: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Make a stopped cluster.

        Args:
            wan: whether its links can be changed.
            election_s: seconds without a primary after one is lost; 0 elects at once.
            clock: seconds; give a function of your own to control when an election ends.
        """
        self.topology = topology
        self.calls: list[Call] = []
        self._wan = wan
        self._election_s = election_s
        self._clock = clock
        self._goal = topology.survive
        self._states = dict.fromkeys(self._parts(topology.regions), State.DOWN)
        self._links = self._calm_links()
        self._primary: Node | None = None
        self._lost_at_s: float | None = None
        self._events: list[Event] = []

    # life

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up, without any fault."""
        self._record("start")
        self._all_well(on_stage)

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything. Idempotent."""
        self._record("stop")
        on_stage("stopping")
        self._set(State.DOWN, self._states)

    def heal(self, on_stage: OnStage = quiet) -> None:
        """Undo every fault. Idempotent.

        Raises:
            NotRunning: it is stopped.
        """
        self._require_running()
        self._record("heal")
        self._all_well(on_stage)

    def purge(self) -> tuple[str, ...]:
        """Forget who was primary, as data that is removed does.

        Returns:
            Nothing: it has no folder in which anything else could stand.

        Raises:
            LabBusy: it runs.
        """
        if self._running():
            raise LabBusy("the lab runs: `labkit down` first")
        self._record("purge")
        self._primary = self._lost_at_s = None
        return ()

    # questions

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        """Give a URL that looks right and leads nowhere: its port refuses connections at once.

        Raises:
            UnknownTarget: no such region.
        """
        host = f"{self.topology.region(region).name}.{'ro' if read_only else 'rw'}.invalid"
        # hostaddr: no name is looked up, so no test waits for a resolver
        return f"postgresql://trader@{host}:1/trading?hostaddr=127.0.0.1"

    def failover_dsn(self, region: str) -> str:
        """Give a URL of every balancer, the nearest first; all refuse connections at once.

        Raises:
            UnknownTarget: no such region.
        """
        names = [f"{name}.rw.invalid" for name in self.topology.nearest_first(region)]
        hosts = ",".join(f"{name}:1" for name in names)
        addresses = ",".join("127.0.0.1" for _ in names)
        return f"postgresql://trader@{hosts}/trading?hostaddr={addresses}"

    def leader(self, region: str | None = None) -> Node:
        """Give the primary; `region` makes no difference.

        Raises:
            UnknownTarget: no such region.
            NotReady: there is no primary right now.
        """
        if region is not None:
            self.topology.region(region)
        self._settle()
        if self._primary is None or not self._serves(self._primary):
            raise NotReady("no primary right now: a failover takes a few seconds (`labkit status`)")
        return self._primary

    def status(self) -> ClusterStatus:
        """Describe every part as it is now."""
        self._settle()
        regions = self.topology.regions
        return ClusterStatus(
            backend=self.backend,
            survival_goal=self._goal,
            wan=self._wan,
            nodes=tuple(self._node_status(node) for node in self.topology.nodes),
            balancers=tuple(self._balancer_status(region) for region in regions),
            coordinators=tuple(self._coordinator_status(region) for region in regions),
            links=tuple(self._links.values()) if self._wan else (),
        )

    def versions(self) -> dict[str, str]:
        """Give no version: it runs no program."""
        return {}

    @contextmanager
    def failover_evidence(self) -> Iterator[Gather]:
        """Gather what its parts noticed: synthetic, but in the order of a real failover."""
        begun = len(self._events)
        yield lambda: tuple(self._events[begun:])

    # faults

    def kill(self, target: Target) -> None:
        """Every part of the target is down at once.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("kill", target)
        self._set(State.DOWN, parts)

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is down of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("restart", target)
        on_stage(f"starting {target}")
        self._set(State.RUNNING, (part for part in parts if self._states[part] is State.DOWN))

    def shut_down(self, target: Target) -> None:
        """Stop the target in order: a primary hands over, so no election is waited for.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("shut_down", target)
        self._set(State.DOWN, parts)
        if self._primary and not self._serves(self._primary):
            self._elect()

    def pause(self, target: Target) -> None:
        """Freeze what runs of the target.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("pause", target)
        self._set(State.PAUSED, (part for part in parts if self._states[part] is State.RUNNING))

    def resume(self, target: Target) -> None:
        """Thaw what is frozen of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("resume", target)
        self._set(State.RUNNING, (part for part in parts if self._states[part] is State.PAUSED))

    def hand_over(self, node: Node) -> Node:
        """Let another node lead at once. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: there is no other node that could.
        """
        self._target("hand_over", node)
        if self.leader() == node:
            self._elect(without=node)
            if self._primary == node:
                raise NotReady(f"no other node than {node} can lead: see `labkit status`")
        return self.leader()

    # shape

    def add_node(self, region: str, on_stage: OnStage = quiet) -> Node:
        """One more node, in service at once.

        Raises:
            UnknownTarget: no such region.
            TopologyError: the region is full.
            NotRunning: it is stopped.
        """
        topology, node = self.topology.with_node(region)
        self._require_running()
        self._record("add_node", region)
        on_stage(f"starting {node}")
        self.topology = topology
        self._set(State.RUNNING, [node.name])
        return node

    def remove_node(self, node: Node, on_stage: OnStage = quiet) -> None:
        """Let a node hand over, and remove it.

        Raises:
            UnknownTarget: it is not part of this cluster.
            TopologyError: what is left could not keep the survival goal.
            NotRunning: it is stopped.
            NotReady: no other node can lead.
        """
        topology = self.topology.without_node(node)
        topology.check_survives(self._goal)
        self._require_running()
        self._record("remove_node", node.name)
        on_stage(f"removing {node}")
        if self._primary == node:
            self._elect(without=node)
            if self._primary == node:
                raise NotReady(f"no other node than {node} can lead: see `labkit status`")
        self.topology = topology
        del self._states[node.name]

    # links

    def set_link(self, source: str, target: str, **change: Unpack[LinkChange]) -> None:
        """Change one direction between two regions.

        Raises:
            FaultUnavailable: it was made without a WAN.
            UnknownTarget: no such region, or twice the same.
        """
        ends = self.topology.region(source).name, self.topology.region(target).name
        if ends not in self._links:
            raise UnknownTarget(f"no link from {source} to itself")
        self._require_wan()
        self._record("set_link", f"{source}>{target}")
        link = self._links[ends]
        self._links[ends] = replace(
            link,
            delay_ms=change.get("delay_ms", link.delay_ms),
            jitter_ms=change.get("jitter_ms", link.jitter_ms),
            cut=change.get("cut", link.cut),
        )
        self._settle()

    def reset_links(self) -> None:
        """Give every link the delay of the topology again. Idempotent.

        Raises:
            FaultUnavailable: it was made without a WAN.
        """
        self._require_wan()
        self._record("reset_links")
        self._links = self._calm_links()
        self._settle()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Give the survival goal in force."""
        return self._goal

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change the goal.

        Raises:
            TopologyError: this shape cannot give it.
        """
        self.topology.check_survives(goal)
        self._record("set_survival_goal", goal)
        self._goal = goal

    # the model

    def _parts(self, targets: Iterable[Target]) -> list[str]:
        """Name the parts that targets stand for, as `status` does."""
        names: list[str] = []
        for target in targets:
            if isinstance(target, Region):
                region = self.topology.region(target.name)
                names += [node.name for node in self.topology.nodes_of(region.name)]
                names += [f"etcd:{region}", f"lb:{region}"]
            elif isinstance(target, Balancer):
                names.append(f"lb:{self.topology.region(target.region)}")
            else:
                names.append(self.topology.node(target.name).name)
        return names

    def _target(self, action: str, target: Target) -> list[str]:
        parts = self._parts([target])
        self._record(action, str(target))
        return parts

    def _record(self, action: str, target: str = "") -> None:
        self._settle()  # what was due before this command has happened, whether or not one looked
        self.calls.append(Call(action, target))

    def _set(self, state: State, parts: Iterable[str]) -> None:
        self._states.update(dict.fromkeys(list(parts), state))
        self._settle()

    def _running(self) -> bool:
        return any(state is not State.DOWN for state in self._states.values())

    def _require_running(self) -> None:
        if not self._running():
            raise NotRunning("the lab is stopped: `labkit up` starts it")

    def _all_well(self, on_stage: OnStage) -> None:
        on_stage("starting")
        self._links = self._calm_links()
        self._set(State.RUNNING, self._states)
        if self._primary is None:
            self._elect()

    def _calm_links(self) -> dict[tuple[str, str], LinkStatus]:
        return {
            (a, b): LinkStatus(a, b, self.topology.one_way_ms(a, b))
            for a, b in permutations(self.topology.region_names, 2)
        }

    def _require_wan(self) -> None:
        if not self._wan:
            raise FaultUnavailable("this lab was made with the WAN off: `labkit up --wan on`")

    def _linked(self, a: str, b: str) -> bool:
        return a == b or not (self._links[a, b].cut or self._links[b, a].cut)

    def _takes_part(self, region: str) -> bool:
        names = self.topology.region_names
        heard = [
            name
            for name in names
            if self._states[f"etcd:{name}"] is State.RUNNING and self._linked(region, name)
        ]
        return len(heard) > len(names) // 2

    def _serves(self, node: Node) -> bool:
        return self._states[node.name] is State.RUNNING and self._takes_part(node.region)

    def _settle(self) -> None:
        """Let an election end that is due."""
        if self._primary is None:
            return
        if self._serves(self._primary):
            self._lost_at_s = None
            return
        now_s = self._clock()
        if self._lost_at_s is None:
            self._lost_at_s = now_s
            self._notice(Sign.SERVER_DOWN, self._primary)
        if now_s - self._lost_at_s >= self._election_s:
            self._elect()

    def _elect(self, without: Node | None = None) -> None:
        """Let the first node that may take over do so: one of the same region where possible."""
        old = self._primary
        home = old.region if old else self.topology.region_names[0]
        same_region_only = old is not None and self._goal is SurvivalGoal.ZONE
        for node in sorted(self.topology.nodes, key=lambda node: node.region != home):
            if node == without or not self._serves(node):
                continue
            if node.region == home or not same_region_only:
                self._primary, self._lost_at_s = node, None
                self._notice_election(old, node)
                return

    def _notice(self, sign: Sign, node: Node) -> None:
        """Every balancer that runs sees a server of the primary's come or go."""
        self._events += [
            Event(self._clock(), sign, "fake balancer", region=region, node=node.name)
            for region in self.topology.region_names
            if self._states[f"lb:{region}"] is State.RUNNING
        ]

    def _notice_election(self, old: Node | None, new: Node) -> None:
        signs = [(Sign.LEADER_GONE, old), (Sign.LEADER, new), (Sign.PROMOTED, new)]
        self._events += [
            Event(self._clock(), sign, "fake election", node=node.name)
            for sign, node in signs
            if node is not None
        ]
        self._notice(Sign.SERVER_UP, new)

    def _role(self, node: Node) -> Role:
        if node == self._primary:
            return Role.PRIMARY
        near = self._primary is not None and node.region == self._primary.region
        waited_for = {
            SurvivalGoal.NONE: False,
            SurvivalGoal.ZONE: near,
            SurvivalGoal.REGION: True,
        }
        return Role.SYNC if waited_for[self._goal] else Role.REPLICA

    def _node_status(self, node: Node) -> NodeStatus:
        state = self._states[node.name]
        primary = self._primary if self._primary and self._serves(self._primary) else None
        if state is not State.RUNNING:
            detail = state.value
        elif primary is None:
            detail = "there is no primary"
        elif not self._linked(node.region, primary.region):
            detail = "it does not stream from the primary"
        else:
            detail = ""
        role = Role.UNKNOWN if detail else self._role(node)
        return NodeStatus(
            name=node.name,
            region=node.region,
            role=role,
            state=state,
            healthy=not detail,
            pid=None,
            lag_bytes=0 if role in (Role.SYNC, Role.REPLICA) else None,
            detail=detail,
        )

    def _balancer_status(self, region: Region) -> ServiceStatus:
        state = self._states[f"lb:{region}"]
        primary = self._primary
        reaches = primary and self._serves(primary) and self._linked(region.name, primary.region)
        detail = state.value if state is not State.RUNNING else ""
        detail = detail or ("" if reaches else "it sees no primary")
        return self._service(f"lb:{region}", region, detail)

    def _coordinator_status(self, region: Region) -> ServiceStatus:
        state = self._states[f"etcd:{region}"]
        detail = state.value if state is not State.RUNNING else ""
        detail = detail or ("" if self._takes_part(region.name) else "it reaches no majority")
        return self._service(f"etcd:{region}", region, detail)

    def _service(self, name: str, region: Region, detail: str) -> ServiceStatus:
        state = self._states[name]
        return ServiceStatus(name, region.name, state, not detail, None, {}, detail)
