"""CockroachDB as processes, behind the protocol of labkit.cluster.base."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path

from labkit.cluster import folder
from labkit.cluster.base import OnStage, quiet
from labkit.cluster.engines.cockroachdb.cluster import DOWN_S, CockroachCluster
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.engines.cockroachdb.processes.commands import build_tag, command, find_cockroach
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.engines.cockroachdb.processes.starting import ProcessStarter
from labkit.cluster.engines.cockroachdb.settings import CockroachSettings
from labkit.cluster.engines.cockroachdb.starting import Starter
from labkit.cluster.layout import WAN
from labkit.cluster.machines import programs, reach
from labkit.cluster.machines.processes import Processes
from labkit.cluster.processes import ProcessTable, uninterrupted
from labkit.cluster.status import State
from labkit.errors import LabBusy, MissingBinary


class Settings(CockroachSettings):
    """The settings of one lab."""

    backend: str = "cockroach-binary"


class BinaryCluster(CockroachCluster[Settings, ProcessLayout]):
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

    @classmethod
    def _settled(cls, home: Path, settings: Settings) -> Settings:
        return reach.settled(home, settings)

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
        return Processes(self._table, partial(command, layout, self._table.identity), data)

    @cached_property
    def _table(self) -> ProcessTable:
        processes, logs = self.home / "processes", self.layout.place / "log"
        user = reach.identity(self.home, self.settings)
        return ProcessTable(processes, logs, self.settings.lab_id, user)

    def _was_started(self) -> bool:
        return self._table.folder.exists()

    # life

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Stop everything; data stays. Idempotent; leaves no process, also none that strayed."""
        self._end_runs(on_stage)
        if not self._was_started():
            return
        machine, shape = self.machine, self.topology
        with folder.locked(self.home), uninterrupted():
            on_stage("load balancers")
            machine.stop([balancer_service(region) for region in shape.region_names], timeout_s=3)
            on_stage("database nodes")
            machine.stop([node_service(node) for node in shape.nodes], timeout_s=DOWN_S)
            machine.stop([WAN], timeout_s=3)
            machine.kill_all_but(())
            self._watch.forget()

    def purge(self) -> tuple[str, ...]:
        """Remove the state folder of a stopped lab, data and all.

        Returns:
            The names in the state folder that are not labkit's and were left.

        Raises:
            LabBusy: it runs.
        """
        if any(state is not State.DOWN for state in self.machine.states().values()):
            raise LabBusy(f"the lab in {self.home} runs: `labkit down` first")
        reach.remove_servers_folder(self.settings)
        return self._remove_folder()

    def _take_back(self, _starter: Starter, before: set[str]) -> None:
        self.machine.kill_all_but(before)

    # questions

    def versions(self) -> dict[str, str]:
        """Name and version of each server program; CockroachDB's as it says itself when it runs."""
        found = {"haproxy": programs.haproxy().release}
        try:
            found["cockroachdb"] = self._version() or build_tag(find_cockroach())
        except MissingBinary:
            found["cockroachdb"] = "not on PATH"
        return found
