"""A lab as its state folder has it: made there, found again, changed and removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from labkit.cluster import folder
from labkit.cluster.layout import Services
from labkit.cluster.ports import require_distinct
from labkit.cluster.settings import LabSettings
from labkit.errors import LabMismatch, NotRunning
from labkit.topology import DEFAULT, SurvivalGoal, Topology

S = TypeVar("S", bound=LabSettings)
L = TypeVar("L", bound=Services)


class StoredLab(ABC, Generic[S, L]):
    """A lab in a state folder `home`.

    Any number of objects, in any process, may stand for the same lab: its settings are read again
    when another one has changed them.
    """

    backend: ClassVar[str]
    settings_type: ClassVar[type[Any]]
    survival_goals: ClassVar[tuple[SurvivalGoal, ...]]

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
    def create(
        cls,
        home: Path,
        *,
        topology: Topology | None = None,
        survive: SurvivalGoal | None = None,
        wan: bool | None = None,
        port_base: int | None = None,
        secure: bool | None = None,
    ) -> Self:
        """Return the lab in `home`, made when there is none; nothing is started.

        An argument of None keeps the lab's setting, or uses the default for a new lab. A survival
        goal that differs is taken over: it is the one setting that can change.

        Raises:
            LabMismatch: there is a lab with other settings.
            TopologyError: the topology or the engine cannot give the survival goal, or there are
                more parts than ports.
            BadInput: it is to be secured, and the engine knows only one way.
        """
        return cls._made(
            home,
            topology=topology,
            survive=survive,
            asked={"wan": wan, "port_base": port_base, **cls._asked_for(secure)},
            more=cls._made_with(home),
        )

    @classmethod
    def _asked_for(cls, secure: bool | None) -> dict[str, object]:
        """Return further settings that are asked for; None asks for nothing."""
        return {"secure": secure}

    @classmethod
    def _made_with(cls, _home: Path) -> dict[str, object]:
        """Return further settings of a new lab."""
        return {}

    @classmethod
    def _made(
        cls,
        home: Path,
        *,
        topology: Topology | None,
        survive: SurvivalGoal | None,
        asked: Mapping[str, object],
        more: Mapping[str, object],
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
            return cls._make(home, topology, survive, {**more, **wanted})
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
    def _was_started(self) -> bool:
        """Tell whether anything of it ever was: a lab that was only made has nothing to lose."""

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
