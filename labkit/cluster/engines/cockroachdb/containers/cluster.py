"""CockroachDB in containers, behind the protocol of labkit.cluster.base."""

from __future__ import annotations

import os
import secrets
from functools import cached_property
from pathlib import Path

from labkit.cluster import folder
from labkit.cluster.base import OnStage, quiet
from labkit.cluster.engines.cockroachdb.cluster import DOWN_S, CockroachCluster
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.render import COMPOSE_FILE, DEFAULT_IMAGES
from labkit.cluster.engines.cockroachdb.containers.settings import Settings, images_asked_for
from labkit.cluster.engines.cockroachdb.containers.starting import ComposeStarter
from labkit.cluster.engines.cockroachdb.settings import VERSION_VARIABLE
from labkit.cluster.engines.cockroachdb.starting import Starter
from labkit.cluster.machines.compose import Compose, find_compose
from labkit.cluster.machines.containers import Containers
from labkit.cluster.machines.docker import Engine
from labkit.cluster.processes import uninterrupted
from labkit.cluster.status import State
from labkit.errors import LabBusy


class ComposeCluster(CockroachCluster[Settings, ComposeLayout]):
    """CockroachDB nodes, a HAProxy a region and a WAN, in containers of one Compose project.

    Settings and secrets are kept in the state folder `home`, data in Docker's volumes.
    """

    backend = "cockroachdb"
    settings_type = Settings

    @classmethod
    def _asked_for(cls) -> dict[str, object]:
        named = any(os.environ.get(name) for name in DEFAULT_IMAGES)
        images = images_asked_for() if named else None
        return {"version": os.environ.get(VERSION_VARIABLE), "images": images}

    @classmethod
    def _made_with(cls, home: Path) -> dict[str, object]:
        lab_id = secrets.token_hex(8)
        usual = home.resolve() == folder.usual_home().resolve()
        project = "labkit" if usual else f"labkit-{lab_id[:8]}"
        return {"lab_id": lab_id, "project": project, "images": images_asked_for()}

    @classmethod
    def _layout_of(cls, _home: Path, settings: Settings) -> ComposeLayout:
        return settings.layout

    def _starter_of(self, settings: Settings) -> ComposeStarter:
        return ComposeStarter(**self._parts_of(settings))

    @cached_property
    def engine(self) -> Engine:
        """The Docker engine.

        Raises:
            NoEngine: it cannot be used.
        """
        return Engine.connect()

    @cached_property
    def machine(self) -> Containers:
        """Its containers.

        Raises:
            NoEngine: the Docker engine cannot be used.
            MissingBinary: there is no Compose.
        """
        return Containers(self.engine, self._compose)

    @cached_property
    def _compose(self) -> Compose:
        command, _ = find_compose()
        environment = {**self.settings.environment, "LABKIT_WAN_TOKEN": self.secrets.wan}
        file = self.home / "compose" / COMPOSE_FILE
        return Compose(command, self.settings.project, file, environment)

    def _was_started(self) -> bool:
        return self._compose.file.exists()

    # life

    def stop(self, on_stage: OnStage = quiet) -> None:
        """Remove its containers and networks; data stays in its volumes. Idempotent.

        Raises:
            LabMismatch: something in its project belongs to somebody else; all of it stays.
        """
        self._end_runs(on_stage)
        if not self._was_started():
            return
        with folder.locked(self.home), uninterrupted():
            self.machine.require_own(self.settings.lab_id)
            containers = self.machine.all()
            if containers:
                on_stage(f"{len(containers)} containers")
                self.engine.unpause(containers.values())
                self._compose.down(timeout_s=DOWN_S)
            self._watch.forget()

    def purge(self) -> tuple[str, ...]:
        """Remove a stopped lab: its volumes and its state folder.

        Returns:
            The names in the state folder that are not labkit's and were left.

        Raises:
            LabBusy: it runs.
            LabMismatch: something in its project belongs to somebody else; all of it stays.
        """
        if self._was_started():
            self.machine.require_own(self.settings.lab_id)
            if any(state is not State.DOWN for state in self.machine.states().values()):
                raise LabBusy(f"the lab in {self.home} runs: `labkit down` first")
            self._compose.down(timeout_s=DOWN_S, volumes=True)
        return self._remove_folder()

    def _take_back(self, starter: Starter, before: set[str]) -> None:
        if not self._was_started() or self.machine.others(self.settings.lab_id):
            return
        starter.save_logs()
        if before:
            started = [c for name, c in self.machine.all().items() if name not in before]
            self.engine.stop(started, timeout_s=DOWN_S)
        else:
            # what never was in service holds nothing worth keeping
            self._compose.down(timeout_s=DOWN_S, volumes=not self._served.exists())

    # questions

    def versions(self) -> dict[str, str]:
        """Name and version of each server program; CockroachDB's as it says itself when it runs."""
        images = self.settings.images
        return {
            "cockroachdb": self._version() or self.settings.version,
            "haproxy": images["HAPROXY_IMAGE"],
            "docker": self.engine.facts().version,
            "compose": find_compose()[1],
        }
