"""What labs on this machine share, whatever runs in them: state folder, clients, shape, WAN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack

from labkit.clock import wait_until
from labkit.cluster import folder, marks, watchdogs
from labkit.cluster.base import LinkChange, OnStage, quiet
from labkit.cluster.layout import Services
from labkit.cluster.ports import require_distinct
from labkit.cluster.processes import uninterrupted
from labkit.cluster.settings import LabSettings
from labkit.errors import ClusterError, FaultUnavailable, LabMismatch, NotReady, NotRunning
from labkit.topology import DEFAULT, Node, SurvivalGoal, Topology
from labkit.wan.client import WanClient

RUN_END_S = 45.0
"""How long a run may take to end when its lab is taken down: it judges what it has recorded."""


S = TypeVar("S", bound=LabSettings)
L = TypeVar("L", bound=Services)


class LocalLab(ABC, Generic[S, L]):
    """A lab in a state folder `home`.

    Any number of objects, in any process, may stand for the same lab: its settings are read again
    when another one has changed them.
    """

    settings_type: ClassVar[type[Any]]

    def __init__(self, home: Path) -> None:
        """Read the lab in `home`; use `create` or `attach`."""
        folder.require_own(home)
        self.home = home
        self._settings: S = self.settings_type.load(home)
        self._read = self._file_version()

    @classmethod
    def attach(cls, home: Path) -> Self:
        """Return the lab that is in `home`, running or not.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
            BadInput: it is root's who asks, and another user could change it.
        """
        return cls(home)

    @classmethod
    def _made(
        cls,
        home: Path,
        *,
        topology: Topology | None,
        survive: SurvivalGoal | None,
        asked: Mapping[str, object],
        more: Mapping[str, object] | None = None,
    ) -> Self:
        """Return the lab in `home`, made when there is none, else held against what is asked for.

        One of which nothing was ever started is made again as it is asked for: what it was asked
        for first may not have worked here.

        Args:
            survive: the one setting that is taken over when it differs.
            asked: other settings; None is as the lab has it, or the default.
            more: what a new lab is made with beside them.

        Raises:
            LabMismatch: there is a lab with other settings.
            BadInput: the folder holds somebody's files; names them. Nothing was changed.
            TopologyError: the shape or the engine cannot give the survival goal, or it has more
                parts than there are ports.
        """
        wanted = {name: value for name, value in asked.items() if value is not None}
        try:
            lab = cls(home)
        except NotRunning:
            return cls._make(home, topology, survive, {**(more or {}), **wanted})
        there = lab.settings
        try:
            there.require(home, {"topology": topology, **wanted})
        except LabMismatch:
            if lab._was_started():
                raise
            goal = survive or (there.survive if topology is None else None)
            return cls._make(home, topology or there.topology, goal, {**dict(there), **wanted})
        if survive is not None and survive is not there.survive:
            lab.set_survival_goal(survive)
        return lab

    @classmethod
    def _make(
        cls,
        home: Path,
        topology: Topology | None,
        survive: SurvivalGoal | None,
        others: Mapping[str, object],
    ) -> Self:
        folder.require_usable(home)
        shape = topology or DEFAULT
        goal = survive or shape.survive
        cls._check_survives(shape, goal)
        settings: S = cls.settings_type.model_validate(
            {**others, "topology": shape, "survive": goal}
        )
        require_distinct(cls._layout_of(home, settings).parts())
        if (home / folder.MARK).exists():
            cls._settled(home, settings).save(home)
            return cls(home)
        before = folder.make(home)
        try:
            cls._settled(home, settings.model_copy(update={"before": before})).save(home)
        except BaseException:
            folder.remove(home, (), before)
            raise
        return cls(home)

    @classmethod
    def _settled(cls, home: Path, settings: S) -> S:
        """Return what a new lab's settings are on this machine; none of it is asked for."""
        return settings

    def forget_unused(self) -> bool:
        """Let a lab go of which nothing was ever started; whether it was such a one."""
        if self._was_started():
            return False
        self._remove_folder()
        return True

    def _remove_folder(self) -> tuple[str, ...]:
        """Remove the lab from its state folder; return what is not labkit's and was left."""
        return folder.remove(self.home, self.topology.region_names, self.settings.before)

    @classmethod
    def _check_survives(cls, topology: Topology, goal: SurvivalGoal) -> None:
        """Refuse a goal that a shape, or the engine, cannot give."""
        topology.check_survives(goal)

    @abstractmethod
    def set_survival_goal(self, goal: SurvivalGoal) -> None:
        """Change what commits wait for, and wait until they do."""

    @property
    def settings(self) -> S:
        """Return what the lab was made with, and has become."""
        there = self._file_version()
        if there is not None and there != self._read:
            self._settings = self.settings_type.load(self.home)
            self._read = there
        return self._settings

    def _save(self, settings: S) -> None:
        settings.save(self.home)
        self._settings, self._read = settings, self._file_version()

    def _file_version(self) -> tuple[int, int] | None:
        """Differs when the file is another; None when it is gone."""
        try:
            found = (self.home / "lab.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @property
    def topology(self) -> Topology:
        """Its shape, as it is now."""
        return self.settings.topology

    @property
    def layout(self) -> L:
        """Its names and ports."""
        return self._layout_of(self.home, self.settings)

    @classmethod
    @abstractmethod
    def _layout_of(cls, home: Path, settings: S) -> L:
        """Names and ports that settings give."""

    # life

    @abstractmethod
    def start(self, on_stage: OnStage = quiet) -> None:
        """Bring everything up that is not, and wait until it is in service. Idempotent."""

    def heal(self, on_stage: OnStage = quiet) -> None:
        """Undo every fault, whoever injected it, and wait until all is in service. Idempotent.

        Raises:
            NotRunning: the lab is stopped.
            NotReady: something did not come back in time.
        """
        self._require_running()
        self.start(on_stage)

    def _require_running(self) -> None:
        if not self._is_there():
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

    @abstractmethod
    def _is_there(self) -> bool:
        """Tell whether anything of it runs, or died and was not taken down."""

    @abstractmethod
    def _was_started(self) -> bool:
        """Tell whether anything of it ever was: a lab that was only made has nothing to lose."""

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
        """Return a libpq URL of balancers that take writes."""

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
            self._require_running()
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
            topology.check_survives(before.survive)
            self._require_running()
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

    @property
    @abstractmethod
    def _wan(self) -> WanClient | None:
        """Tell who changes its links; None when it was made without a WAN."""

    def _require_wan(self) -> WanClient:
        if self._wan is None:
            raise FaultUnavailable(
                "this lab was made with --wan off: `labkit down --purge`, then `labkit up --wan on`"
            )
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


def await_parts(
    what: str,
    ready: Callable[[], bool],
    timeout_s: float,
    *,
    parts: Iterable[str],
    ended: Callable[[str], bool],
    last_words: Callable[[str], str],
    advice: str,
    poll_s: float = 0.1,
    hint: Callable[[], str] | None = None,
) -> None:
    """Wait; give up at once when one of the parts that it depends on has ended.

    Args:
        what: names what is awaited.
        parts: of the lab: what `ended` and `last_words` take.
        last_words: the end of a part's log.
        advice: what to look at, or to try, when it took too long.

    Raises:
        ClusterError: a part ended; names it and its last words.
        NotReady: it took too long.
    """
    parts = list(parts)

    def check() -> bool:
        if ready():
            return True
        for part in parts:
            if ended(part):
                raise ClusterError(f"{what}: {part} ended: {last_words(part)}")
        return False

    try:
        wait_until(check, what=what, timeout_s=timeout_s, poll_s=poll_s, hint=hint)
    except NotReady as error:
        raise NotReady(f"{error}; {advice}") from None
