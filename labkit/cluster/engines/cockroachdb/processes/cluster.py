"""CockroachDB as processes, behind the protocol of labkit.cluster.base."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from labkit.cluster.engines.cockroachdb.cluster import CockroachCluster
from labkit.cluster.engines.cockroachdb.layout import node_service
from labkit.cluster.engines.cockroachdb.processes.commands import build_tag, command, find_cockroach
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.engines.cockroachdb.processes.starting import ProcessStarter
from labkit.cluster.engines.cockroachdb.settings import CockroachSettings
from labkit.cluster.machines import programs
from labkit.cluster.machines.lab import LabOfProcesses
from labkit.cluster.machines.processes import Processes
from labkit.errors import MissingBinary


class Settings(CockroachSettings):
    """The settings of one lab."""

    backend: str = "cockroach-binary"


class BinaryCluster(
    LabOfProcesses[Settings, ProcessLayout], CockroachCluster[Settings, ProcessLayout]
):
    """CockroachDB nodes, a HAProxy a region and a WAN, as processes of this machine.

    Everything is kept in the state folder `home`; the program is the `cockroach` on PATH.
    """

    backend = "cockroach-binary"
    settings_type = Settings

    @classmethod
    def _layout_of(cls, home: Path, settings: Settings) -> ProcessLayout:
        return ProcessLayout(
            settings.topology,
            settings.wan,
            settings.secure,
            settings.port_base,
            settings.numbered(),
            home,
            settings.servers_at,
        )

    def _starter_of(self, settings: Settings) -> ProcessStarter:
        parts = self._parts_of(settings)
        return ProcessStarter(**{**parts, "machine": self._machine_of(settings)})

    @property
    def machine(self) -> Processes:
        """Its processes."""
        return self._machine_of(self.settings)

    def _machine_of(self, settings: Settings) -> Processes:
        layout = self._layout_of(self.home, settings)
        data = {node_service(node): layout.store(node) for node in layout.topology.nodes}
        return Processes(self.table, partial(command, layout, self.table.identity), data)

    # questions

    def versions(self) -> dict[str, str]:
        """Name and version of each server program; CockroachDB's as it says itself when it runs."""
        found = {"haproxy": programs.haproxy().release}
        try:
            found["cockroachdb"] = self._version() or build_tag(find_cockroach())
        except MissingBinary:
            found["cockroachdb"] = "not on PATH"
        return found
