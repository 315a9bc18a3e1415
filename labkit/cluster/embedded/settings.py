"""What a lab was made with, kept in its state folder.

`lab.json` holds the settings, `secrets.json` (mode 600) the passwords, made at random for this lab.
"""

from __future__ import annotations

import os
import secrets
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labkit.errors import ClusterError, LabMismatch, NotRunning
from labkit.topology import DEFAULT, SurvivalGoal, Topology

FORMAT = 2
"""The layout of the state folder. Raised when an older labkit could not use it any more."""

DEFAULT_PORT_BASE = 21000
"""Below the ports the kernel hands out by itself (32768 and up on Linux)."""


def labkit_version() -> str:
    """The version of the package that is installed."""
    return version("labkit")


class Settings(BaseModel):
    """The settings of one lab; only the survival goal ever changes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    labkit: str = Field(default_factory=labkit_version)
    backend: str = "embedded"
    lab_id: str = Field(default_factory=lambda: secrets.token_hex(8))
    topology: Topology = DEFAULT
    survive: SurvivalGoal = SurvivalGoal.REGION
    wan: bool = True
    port_base: int = Field(default=DEFAULT_PORT_BASE, ge=1024, le=64000)

    @classmethod
    def load(cls, home: Path) -> Settings:
        """The settings of the lab in `home`.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
        """
        path = home / "lab.json"
        try:
            text = path.read_text()
        except FileNotFoundError:
            raise NotRunning(f"no lab in {home}: `labkit up` makes one") from None
        try:
            found = _Stamp.model_validate_json(text)
            if found.format != FORMAT or found.backend != "embedded":
                raise LabMismatch(
                    f"the lab in {home} is of labkit {found.labkit} ({found.backend}, state format "
                    f"{found.format}), this is labkit {labkit_version()} (state format {FORMAT}): "
                    "stop it with that version, or set LABKIT_HOME to another folder"
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise LabMismatch(
                f"{path} cannot be read ({error.error_count()} problems, first: "
                f"{error.errors()[0]['msg']}): end the processes that {home / 'processes'} names, "
                "then remove the folder"
            ) from error

    def save(self, home: Path) -> None:
        """Write lab.json so that it is there whole or not at all."""
        write_whole(home / "lab.json", self.model_dump_json(indent=2, by_alias=True) + "\n")


class _Stamp(BaseModel):
    model_config = ConfigDict(extra="ignore")

    format: int
    labkit: str = "unknown"
    backend: str = "embedded"


class Secrets(BaseModel):
    """The passwords of one lab. Never in a command line, a log or a notebook."""

    model_config = ConfigDict(frozen=True)

    superuser: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    replication: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    trader: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    rest_api: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    balancer_stats: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    wan: str = Field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, home: Path) -> Secrets:
        """The passwords of the lab in `home`, made when it has none yet."""
        path = home / "secrets.json"
        if not path.exists():
            write_whole(path, cls().model_dump_json() + "\n")
        return cls.model_validate_json(path.read_text())


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file at once: readers see the old text or the new one, never a part.

    Raises:
        ClusterError: it cannot be written, such as on a full disk; the old text is still there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ClusterError(
            f"{path} cannot be written ({error.strerror}): is the disk full, or read-only? "
            "Mend that, then repeat the command"
        ) from error
