"""A lab whose services are processes of this machine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from labkit.cluster.lab import Lab
from labkit.cluster.machines import reach
from labkit.cluster.machines.processes import Processes
from labkit.cluster.processes import ProcessTable
from labkit.cluster.stored import L, S


class LabOfProcesses(Lab[S, L]):
    """A lab whose services are processes of this machine.

    Everything of it is in the state folder, or in a folder of its servers' own.
    """

    @classmethod
    def _settled(cls, home: Path, settings: S) -> S:
        return reach.settled(home, settings)

    @cached_property
    def table(self) -> ProcessTable:
        """Its processes, by name."""
        logs = (self.settings.servers_at or self.home) / "log"
        user = reach.identity(self.home, self.settings)
        return ProcessTable(self._records, logs, self.settings.lab_id, user)

    @property
    def _records(self) -> Path:
        return self.home / "processes"

    @property
    @abstractmethod
    def machine(self) -> Processes:
        """Its processes, by service."""

    def pids(self) -> list[int]:
        """Return every live process of the lab."""
        return self.machine.processes(self.layout.services)

    def _was_started(self) -> bool:
        return self._records.exists()

    def _sweep(self, kept: Collection[str]) -> None:
        self.machine.kill_all_but(kept)

    def _take_back(self, before: Collection[str]) -> None:
        self.machine.kill_all_but(before)

    def _discard(self) -> None:
        reach.remove_servers_folder(self.settings)
