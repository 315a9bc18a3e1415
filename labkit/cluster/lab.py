"""A lab on this machine, whatever its engine and its machine: life, faults, links, shape."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Unpack

from labkit.cluster import folder, marks, watchdogs
from labkit.cluster.base import WAN_IS_OFF, LinkChange, OnStage, quiet
from labkit.cluster.engine import Engine
from labkit.cluster.layout import WAN
from labkit.cluster.machines.base import Machine, running
from labkit.cluster.ports import require_distinct
from labkit.cluster.processes import uninterrupted
from labkit.cluster.settings import LabSecrets
from labkit.cluster.stored import L, S, StoredLab
from labkit.errors import FaultUnavailable, LabBusy, NotRunning
from labkit.topology import Node, SurvivalGoal, Target
from labkit.wan.client import WanClient

RUN_END_S = 45.0
"""How long a run may take to end when its lab is taken down: it judges what it has recorded."""


class Lab(StoredLab[S, L]):
    """A lab of one engine, run by one machine."""

    # what runs it

    @property
    @abstractmethod
    def secrets(self) -> LabSecrets:
        """Its passwords."""

    @property
    @abstractmethod
    def machine(self) -> Machine:
        """Return what runs its services.

        Raises:
            MissingBinary: there is no such thing here.
        """

    @property
    @abstractmethod
    def _engine(self) -> Engine:
        """Return what starts its services and ends them, as its settings are now."""

    @abstractmethod
    def _sweep(self, kept: Collection[str]) -> None:
        """End what a command that was killed has left, but for some services."""

    @abstractmethod
    def _take_back(self, before: Collection[str]) -> None:
        """Stop what runs and did not before; nothing is left of a first start."""

    def _require_own(self) -> None:
        """Refuse to end what somebody else put in the place of the lab's parts."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove the data of a stopped lab that is not in the state folder."""

    def _changed(self) -> None:
        """Forget what was seen of the lab: it is another now."""

    # life

    @property
    def _served(self) -> Path:
        """There since the lab was in service for the first time: from then on its data counts."""
        return self.home / "served"

    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent.

        What is frozen is thawed and the WAN's links reset: a lab that `start` returned from has no
        fault in it. When it fails or is interrupted, what this call started is stopped.

        Raises:
            ClusterError: a part cannot be started; names it and its last log lines.
            NotReady: it was not in service in time.
        """
        with folder.locked(self.home):
            served = self._served.exists()
            if not served:  # what a first start left that was killed: this one begins afresh
                self._sweep(())
            with self._all_or_nothing(on_stage):
                self._undo_faults()
                self._engine.start_everything(on_stage, served=served)
                self._served.touch()

    @contextmanager
    def _all_or_nothing(self, on_stage: OnStage) -> Iterator[None]:
        """Stop what the block started when it fails or is interrupted.

        Before it begins, what an earlier one left that could not do so itself (its process was
        killed) is ended: it would hold ports, and nobody knows in what state it is.
        """
        before = running(self.machine)
        self._sweep(before)
        try:
            yield
        except BaseException:
            with uninterrupted():
                if self._was_started() and running(self.machine) - before:
                    on_stage("stopping what was started")
                self._take_back(before)
            raise
        finally:
            self._changed()

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything; data stays. Idempotent; leaves nothing that runs, also nothing strayed.

        Raises:
            LabMismatch: something in its place belongs to somebody else; all of it stays.
        """
        self._end_runs(on_stage)
        if not self._was_started():
            return
        with folder.locked(self.home), uninterrupted():
            self._require_own()
            self._engine.stop_everything(on_stage)
            self._changed()

    def purge(self) -> tuple[str, ...]:
        """Remove a stopped lab: its state folder, and its data wherever it is.

        Returns:
            The names in the state folder that are not labkit's and were left.

        Raises:
            LabBusy: it runs.
            LabMismatch: something in its place belongs to somebody else; all of it stays.
        """
        if self._was_started():
            self._require_own()
            if running(self.machine):
                raise LabBusy(f"the lab in {self.home} runs: `labkit down` first")
        self._discard()
        return self._remove_folder()

    def heal(self, on_stage: OnStage = quiet) -> None:
        """Undo every fault, whoever injected it, and wait until all is in service. Idempotent.

        Raises:
            NotRunning: the lab is stopped.
            NotReady: something did not come back in time.
        """
        self._require(there=bool(self.machine.states()))  # also what died and was not taken down
        self.start(on_stage)

    def _require(self, *, there: bool) -> None:
        if not there:
            raise NotRunning("the lab is stopped: `labkit up` starts it")

    def _end_runs(self, on_stage: OnStage) -> None:
        """End what would start the lab again: its watchdogs, and the run that measures it."""
        watchdogs.end(self.home)
        run = marks.ask_to_end(self.home, "`labkit down`")
        if run is None:
            return
        on_stage(f"ending the run {run}")
        if not marks.ended(self.home, RUN_END_S):
            on_stage(f"process {run.pid} did not end its run in {RUN_END_S:.0f} s: going on")
        watchdogs.end(self.home)

    # faults

    def kill(self, target: Target) -> None:
        """SIGKILL every part of the target at once: a power cut.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a part did not die.
        """
        services = self.layout.of(target)
        self.machine.kill(services)
        self._await_down(services, target)

    def shut_down(self, target: Target) -> None:
        """SIGTERM: a node hands over and ends, a balancer leaves; SIGKILL for what takes too long.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it has not ended in time.
        """
        services = self.layout.of(target)
        self.machine.stop(services, timeout_s=self._engine.stop_s)
        self._await_down(services, target)

    def _await_down(self, services: Collection[str], target: Target) -> None:
        def down() -> bool:
            return not running(self.machine) & {*services}

        self.machine.wait_until(down, f"end of {target}", timeout_s=15)
        self._changed()

    def pause(self, target: Target) -> None:
        """Freeze every part of the target: alive, but not answering.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: a process of it does not stand still.
        """
        self.machine.pause(self.layout.of(target))
        self._changed()

    def resume(self, target: Target) -> None:
        """Thaw every part of the target. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
        """
        self.machine.resume(self.layout.of(target))
        self._changed()

    def restart(self, target: Target, on_stage: OnStage = quiet) -> None:
        """Start what is not running of the target and wait until it is in service. Idempotent.

        Raises:
            UnknownTarget: it is not part of this cluster.
            NotReady: it did not come back in time.
        """
        services = self.layout.of(target)
        with folder.locked(self.home), self._all_or_nothing(on_stage):
            engine = self._engine
            on_stage(f"starting {target}")
            engine.start(services)
            on_stage(f"{target} in service")
            engine.await_service(services)

    def _undo_faults(self) -> None:
        """Thaw everything and reset the links; what is dead is for the caller to start."""
        self.machine.resume(self.layout.services)
        if self._wan and WAN in running(self.machine):
            self._wan.reset()

    # clients

    def failover_dsn(self, region: str) -> str:
        """Return a URL of every balancer, as a client in `region` dials them: the nearest first.

        Raises:
            UnknownTarget: no such region.
        """
        name = self.topology.region(region).name
        nearest = self.topology.nearest_first(name)
        return self._url(*(self.layout.balancer_from(name, to) for to in nearest))

    @abstractmethod
    def _url(self, *ports: int) -> str:
        """Return a libpq URL of balancers, by the ports on which they take writes."""

    # survival

    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change what commits wait for, and wait until they do.

        Raises:
            TopologyError: this shape, or this engine, cannot give it.
            NotReady: it did not take effect in time.
        """
        self._check_survives(self.topology, goal)
        self._obey(goal)
        self._save(self.settings.model_copy(update={"survive": goal}))

    @abstractmethod
    def _obey(self, goal: SurvivalGoal) -> None:
        """Let commits of a lab that runs wait as a goal wants, and wait until they do."""

    # shape

    def add_node(self, region: str, on_stage: OnStage = quiet) -> Node:
        """Start one more node; it is in service and behind the balancers on return.

        When it fails or is interrupted the node is removed again.

        Raises:
            UnknownTarget: no such region.
            TopologyError: the region has 9 nodes, or the lab has no port left.
            NotRunning: the lab is stopped.
            NotReady: it was not in service in time.
        """
        with folder.locked(self.home):
            before = self.settings
            topology, node = before.topology.with_node(region)
            self._require(there=bool(running(self.machine)))
            after = before.with_topology(topology)
            require_distinct(self._layout_of(self.home, after).parts())
            try:
                # first of all, so that nothing that runs is unknown to the next command
                self._save(after)
                self._add(node, on_stage)
            except BaseException:
                with uninterrupted():
                    on_stage(f"removing {node}")
                    self._withdraw(node, before)
                raise
            return node

    def remove_node(self, node: Node, on_stage: OnStage = quiet) -> None:
        """Let a node hand over what it has and leave for good; its data is gone on return.

        Raises:
            UnknownTarget: it is not part of this cluster.
            TopologyError: what is left could not keep the survival goal; nothing was changed.
            NotRunning: the lab is stopped.
            NotReady: it could not leave in time; it is still part of the cluster.
        """
        with folder.locked(self.home):
            before = self.settings
            topology = before.topology.without_node(node)
            self._check_survives(topology, before.survive)
            self._require(there=bool(running(self.machine)))
            self._remove(node, before.with_topology(topology), on_stage)

    @abstractmethod
    def _add(self, node: Node, on_stage: OnStage) -> None:
        """Bring a node into service that the settings have and nothing that runs knows, yet."""

    @abstractmethod
    def _withdraw(self, node: Node, before: S) -> None:
        """Undo `_add`, however far it came, and save the settings before it."""

    @abstractmethod
    def _remove(self, node: Node, after: S, on_stage: OnStage) -> None:
        """Let a node leave, and save the settings after it; else let it be what it was."""

    # WAN

    @cached_property
    def _wan(self) -> WanClient | None:
        """Tell who changes its links; None when it was made without a WAN."""
        if not self.settings.wan:
            return None
        return WanClient(self.layout.wan_control, self.secrets.wan)

    def _require_wan(self) -> WanClient:
        if self._wan is None:
            raise FaultUnavailable(WAN_IS_OFF)
        return self._wan

    def set_link(self, source: str, target: str, **change: Unpack[LinkChange]) -> None:
        """Change one direction between two regions.

        Raises:
            FaultUnavailable: this lab has no WAN.
            UnknownTarget: no such region.
            BadInput: twice the same region, or a value out of range.
        """
        ends = self.topology.region(source).name, self.topology.region(target).name
        self._require_wan().change([{"source": ends[0], "target": ends[1], **change}])

    def reset_links(self) -> None:
        """Give every link the delay of the topology again. Idempotent.

        Raises:
            FaultUnavailable: this lab has no WAN.
        """
        self._require_wan().reset()
