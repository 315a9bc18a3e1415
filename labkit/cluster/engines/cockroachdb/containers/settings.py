"""The settings of a lab in containers."""

from __future__ import annotations

import os

from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.render import DEFAULT_IMAGES, DEFAULT_VERSION
from labkit.cluster.engines.cockroachdb.settings import VERSION_VARIABLE, CockroachSettings


class Settings(CockroachSettings):
    """The settings of one lab.

    Attributes:
        project: its Compose project.
        version: the tag of CockroachDB's image.
        images: the other images, by the variable that names each.
    """

    backend: str = "cockroachdb"
    project: str
    version: str = DEFAULT_VERSION
    images: dict[str, str] = DEFAULT_IMAGES

    @property
    def layout(self) -> ComposeLayout:
        """Its names and ports."""
        return ComposeLayout(self.topology, self.wan, self.secure, self.port_base, self.numbered())

    @property
    def environment(self) -> dict[str, str]:
        """Return what the Compose file leaves open, secrets not included."""
        return {**self.images, VERSION_VARIABLE: self.version}

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images it runs."""
        needed = [f"{self.images['COCKROACH_IMAGE']}:{self.version}", self.images["HAPROXY_IMAGE"]]
        return (*needed, *([self.images["PYTHON_IMAGE"]] if self.wan else []))


def images_asked_for() -> dict[str, str]:
    """Return the images that the environment names, else the usual ones."""
    return {name: os.environ.get(name) or usual for name, usual in DEFAULT_IMAGES.items()}
