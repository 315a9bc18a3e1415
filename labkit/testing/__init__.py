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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Unpack

from labkit.cluster.base import WAN_IS_OFF, Gather, LinkChange, OnStage, quiet
from labkit.cluster.status import ClusterStatus, State
from labkit.errors import FaultUnavailable, LabBusy, NotReady, NotRunning, UnknownTarget
from labkit.testing.model import Model
from labkit.topology import DEFAULT, Node, SurvivalGoal, Target, Topology


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
        self.calls: list[Call] = []
        self._wan = wan
        self._model = Model(topology, election_s=election_s, clock=clock)

    @property
    def topology(self) -> Topology:
        """Its shape, as it is now."""
        return self._model.topology

    # life

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up, without any fault."""
        self._record("start")
        self._all_well(on_stage)

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything. Idempotent."""
        self._record("stop")
        on_stage("stopping")
        self._model.set(State.DOWN, self._model.states)

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
        if self._model.running():
            raise LabBusy("the lab runs: `labkit down` first")
        self._record("purge")
        self._model.forget()
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
        self._model.settle()
        if self._model.primary is None or not self._model.serves(self._model.primary):
            raise NotReady("no primary right now: a failover takes a few seconds (`labkit status`)")
        return self._model.primary

    def status(self) -> ClusterStatus:
        """Describe every part as it is now."""
        return self._model.status(self.backend, wan=self._wan)

    def versions(self) -> dict[str, str]:
        """Give no version: it runs no program."""
        return {}

    @contextmanager
    def failover_evidence(self) -> Iterator[Gather]:
        """Gather what its parts noticed: synthetic, but in the order of a real failover."""
        begun = len(self._model.events)
        yield lambda: tuple(self._model.events[begun:])

    # faults

    def kill(self, target: Target) -> None:
        """Every part of the target is down at once.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("kill", target)
        self._model.set(State.DOWN, parts)

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is down of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("restart", target)
        on_stage(f"starting {target}")
        self._model.move(parts, State.DOWN, State.RUNNING)

    def shut_down(self, target: Target) -> None:
        """Stop the target in order: a primary hands over, so no election is waited for.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("shut_down", target)
        self._model.set(State.DOWN, parts)
        if self._model.primary and not self._model.serves(self._model.primary):
            self._model.elect()

    def pause(self, target: Target) -> None:
        """Freeze what runs of the target.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("pause", target)
        self._model.move(parts, State.RUNNING, State.PAUSED)

    def resume(self, target: Target) -> None:
        """Thaw what is frozen of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        parts = self._target("resume", target)
        self._model.move(parts, State.PAUSED, State.RUNNING)

    def hand_over(self, node: Node) -> Node:
        """Let another node lead at once. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: there is no other node that could.
        """
        self._target("hand_over", node)
        if self.leader() == node:
            self._elect_another(node)
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
        self._model.add(node, topology)
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
        topology.check_survives(self._model.goal)
        self._require_running()
        self._record("remove_node", node.name)
        on_stage(f"removing {node}")
        if self._model.primary == node:
            self._elect_another(node)
        self._model.remove(node, topology)

    # links

    def set_link(self, source: str, target: str, **change: Unpack[LinkChange]) -> None:
        """Change one direction between two regions.

        Raises:
            FaultUnavailable: it was made without a WAN.
            UnknownTarget: no such region, or twice the same.
        """
        ends = self.topology.region(source).name, self.topology.region(target).name
        if ends not in self._model.links:
            raise UnknownTarget(f"no link from {source} to itself")
        self._require_wan()
        self._record("set_link", f"{source}>{target}")
        link = self._model.links[ends]
        self._model.change_link(
            replace(
                link,
                delay_ms=change.get("delay_ms", link.delay_ms),
                jitter_ms=change.get("jitter_ms", link.jitter_ms),
                cut=change.get("cut", link.cut),
            )
        )

    def reset_links(self) -> None:
        """Give every link the delay of the topology again. Idempotent.

        Raises:
            FaultUnavailable: it was made without a WAN.
        """
        self._require_wan()
        self._record("reset_links")
        self._model.reset_links()

    # survival

    def survival_goal(self) -> SurvivalGoal:
        """Give the survival goal in force."""
        return self._model.goal

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change the goal.

        Raises:
            TopologyError: this shape cannot give it.
        """
        self.topology.check_survives(goal)
        self._record("set_survival_goal", goal)
        self._model.goal = goal

    # helpers

    def _target(self, action: str, target: Target) -> list[str]:
        parts = self._model.parts([target])
        self._record(action, str(target))
        return parts

    def _record(self, action: str, target: str = "") -> None:
        self._model.settle()  # what was due before this command has happened, seen or not
        self.calls.append(Call(action, target))

    def _require_running(self) -> None:
        if not self._model.running():
            raise NotRunning("the lab is stopped: `labkit up` starts it")

    def _all_well(self, on_stage: OnStage) -> None:
        on_stage("starting")
        self._model.start()

    def _require_wan(self) -> None:
        if not self._wan:
            raise FaultUnavailable(WAN_IS_OFF)

    def _elect_another(self, node: Node) -> None:
        self._model.elect(without=node)
        if self._model.primary == node:
            raise NotReady(f"no other node than {node} can lead: see `labkit status`")
