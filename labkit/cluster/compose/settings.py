"""What a lab was made with, kept in its state folder.

`lab.json` holds the settings, `secrets.json` (mode 600) the passwords, made at random for this lab.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labkit.cluster.compose.layout import Layout
from labkit.cluster.compose.render import DEFAULT_IMAGES, DEFAULT_VERSION
from labkit.cluster.folder import write_whole
from labkit.cluster.settings import FORMAT, labkit_version
from labkit.errors import LabMismatch, NotRunning
from labkit.topology import DEFAULT, SurvivalGoal, Topology

VERSION_VARIABLE = "COCKROACH_VERSION"


class Settings(BaseModel):
    """The settings of one lab; only the survival goal ever changes.

    Attributes:
        project: its Compose project.
        version: the tag of CockroachDB's image.
        images: the other images, by the variable that names each.
        port_base: None for the usual ports (labkit.cluster.compose.layout).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    labkit: str = Field(default_factory=labkit_version)
    backend: Literal["cockroachdb"] = "cockroachdb"
    lab_id: str = Field(default_factory=lambda: secrets.token_hex(8))
    project: str
    topology: Topology = DEFAULT
    survive: SurvivalGoal = SurvivalGoal.REGION
    wan: bool = True
    secure: bool = False
    port_base: int | None = Field(default=None, ge=1024, le=65000)
    version: str = DEFAULT_VERSION
    images: dict[str, str] = DEFAULT_IMAGES

    @property
    def layout(self) -> Layout:
        """Its names and ports."""
        return Layout(self.topology, self.wan, self.secure, self.port_base)

    @property
    def environment(self) -> dict[str, str]:
        """What the Compose file leaves open, secrets not included."""
        return {**self.images, VERSION_VARIABLE: self.version}

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images it runs."""
        needed = [f"{self.images['COCKROACH_IMAGE']}:{self.version}", self.images["HAPROXY_IMAGE"]]
        return (*needed, *([self.images["PYTHON_IMAGE"]] if self.wan else []))

    @classmethod
    def load(cls, home: Path) -> Settings:
        """The settings of the lab in `home`.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
        """
        path = home / "lab.json"
        try:
            found = cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise NotRunning(f"no lab in {home}: `labkit up` makes one") from None
        except ValidationError as error:
            raise LabMismatch(
                f"{path} cannot be read ({error.error_count()} problems, first: "
                f"{error.errors()[0]['msg']}): `docker compose ls` shows its containers; remove "
                "them and the folder"
            ) from error
        if found.format != FORMAT:
            raise LabMismatch(
                f"the lab in {home} is of labkit {found.labkit} (state format {found.format}), "
                f"this is labkit {labkit_version()} (state format {FORMAT}): stop it with that "
                "version, or set LABKIT_HOME to another folder"
            )
        return found

    def save(self, home: Path) -> None:
        """Write lab.json so that it is there whole or not at all."""
        write_whole(home / "lab.json", self.model_dump_json(indent=2, by_alias=True) + "\n")


def images_asked_for() -> dict[str, str]:
    """The images that the environment names, else the usual ones."""
    return {name: os.environ.get(name) or usual for name, usual in DEFAULT_IMAGES.items()}


class Secrets(BaseModel):
    """The passwords of one lab. Never in a command line, a log or a notebook."""

    model_config = ConfigDict(frozen=True)

    trader: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    wan: str = Field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """The passwords of the lab in `home`, made when it has none yet."""
        path = home / "secrets.json"
        if not path.exists():
            write_whole(path, cls().model_dump_json() + "\n")
        return cls.model_validate_json(path.read_text())
