"""What labs on this machine share, whatever runs in them: a state folder and a WAN process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, Unpack

from labkit.clock import wait_until
from labkit.cluster.base import LinkChange
from labkit.cluster.settings import LabSettings
from labkit.errors import ClusterError, FaultUnavailable, NotReady
from labkit.topology import Topology
from labkit.wan.client import WanClient

S = TypeVar("S", bound=LabSettings)


class LocalLab(ABC, Generic[S]):
    """A lab in a state folder `home`, and its links.

    Any number of objects, in any process, may stand for the same lab: its settings are read again
    when another one has changed them.
    """

    settings_type: ClassVar[type[Any]]

    def __init__(self, home: Path) -> None:
        """The lab in `home`; use `create` or `attach`."""
        self.home = home
        self._settings: S = self.settings_type.load(home)
        self._read = self._file_version()

    @classmethod
    def attach(cls, home: Path) -> Self:
        """The lab that is in `home`, running or not.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
        """
        return cls(home)

    @property
    def settings(self) -> S:
        """What the lab was made with, and has become."""
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

    # WAN

    @property
    @abstractmethod
    def _wan(self) -> WanClient | None:
        """Who changes its links; None when it was made without a WAN."""

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
