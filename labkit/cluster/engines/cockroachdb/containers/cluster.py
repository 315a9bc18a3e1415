"""CockroachDB in containers, behind the protocol of labkit.cluster.base."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from labkit.cluster import folder
from labkit.cluster.engines.cockroachdb.cluster import CockroachCluster
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.render import COMPOSE_FILE, DEFAULT_IMAGES
from labkit.cluster.engines.cockroachdb.containers.settings import Settings, images_asked_for
from labkit.cluster.engines.cockroachdb.containers.starting import ComposeStarter
from labkit.cluster.engines.cockroachdb.settings import VERSION_VARIABLE
from labkit.cluster.engines.cockroachdb.starting import DOWN_S
from labkit.cluster.machines.compose import Compose, find_compose
from labkit.cluster.machines.containers import Containers
from labkit.cluster.machines.docker import Engine


class ComposeCluster(CockroachCluster[Settings, ComposeLayout]):
    """CockroachDB nodes, a HAProxy a region and a WAN, in containers of one Compose project.

    Settings and secrets are kept in the state folder `home`, data in Docker's volumes.
    """

    backend = "cockroachdb"
    settings_type = Settings

    @classmethod
    def _asked_for(cls, secure: bool | None) -> dict[str, object]:
        named = any(os.environ.get(name) for name in DEFAULT_IMAGES)
        images = images_asked_for() if named else None
        return {"secure": secure, "version": os.environ.get(VERSION_VARIABLE), "images": images}

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

    def _sweep(self, kept: Collection[str]) -> None:
        """Do nothing: every container of the lab's project is known."""

    def _take_back(self, before: Collection[str]) -> None:
        if not self._was_started() or self.machine.others(self.settings.lab_id):
            return
        self._starter_of(self.settings).save_logs()
        if before:
            started = [c for name, c in self.machine.all().items() if name not in before]
            self.engine.stop(started, timeout_s=DOWN_S)
        else:
            # what never was in service holds nothing worth keeping
            self._compose.down(timeout_s=DOWN_S, volumes=not self._served.exists())

    def _require_own(self) -> None:
        self.machine.require_own(self.settings.lab_id)

    def _discard(self) -> None:
        if self._was_started():
            self._compose.down(timeout_s=DOWN_S, volumes=True)

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
