"""The settings of a lab, as `lab.json` in its state folder holds them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from labkit.cluster.folder import Before, write_whole
from labkit.errors import LabMismatch, NotRunning
from labkit.topology import DEFAULT, SurvivalGoal, Topology

FORMAT = 4
"""The layout of the state folder. Raised when an older labkit could not use it any more."""


def labkit_version() -> str:
    """Return the version of the package that is installed."""
    return version("labkit")


def is_servers_folder(path: Path, lab_id: str) -> bool:
    """Tell whether a folder has the name of one that labkit makes for servers of root's labs.

    All that is in such a folder is removed with the lab.
    """
    made = bool(re.fullmatch("[0-9a-f]{16}", lab_id)) and path.parts[-2:] == ("labkit", lab_id)
    return made and path.is_absolute() and ".." not in path.parts


class LabSettings(BaseModel):
    """The settings of one lab. The survival goal may change, and nodes may come and go.

    Attributes:
        numbers: where each node stands among the lab's ports, once nodes have come or gone: a
            node that stays keeps its ports.
        run_as: the user and group that root runs the servers as; None: they run as their owner.
        servers_at: the folder that the servers read and write, where it is not the state folder:
            root's may lie where no other user may go.
        before: what the state folder was like before the lab; None: labkit made it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    labkit: str = Field(default_factory=labkit_version)
    backend: str
    lab_id: str = Field(default_factory=lambda: secrets.token_hex(8))
    topology: Topology = DEFAULT
    survive: SurvivalGoal = SurvivalGoal.REGION
    wan: bool = True
    numbers: dict[str, int] = {}
    run_as: tuple[int, int] | None = None
    servers_at: Path | None = None
    before: Before | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.servers_at is not None and not is_servers_folder(self.servers_at, self.lab_id):
            raise ValueError(f"servers_at: {self.servers_at} is no folder that labkit makes")
        return self

    def numbered(self) -> Mapping[str, int]:
        """Give each node a number, by name: counted through in a lab that is as it was made."""
        return self.numbers or {node.name: i for i, node in enumerate(self.topology.nodes)}

    def with_topology(self, topology: Topology) -> Self:
        """Change the nodes; a new one gets the lowest number that is free."""
        known = self.numbered()
        kept = {node.name: known[node.name] for node in topology.nodes if node.name in known}
        free = (number for number in count() if number not in kept.values())
        new = {node.name: next(free) for node in topology.nodes if node.name not in known}
        return self.model_copy(update={"topology": topology, "numbers": {**kept, **new}})

    @classmethod
    def load(cls, home: Path) -> Self:
        """Return the settings of the lab in `home`.

        Raises:
            NotRunning: there is none.
            LabMismatch: it was made by a labkit whose state this one cannot use.
        """
        path = home / "lab.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise NotRunning(f"no lab in {home}: `labkit up` makes one") from None
        try:
            found = Stamp.model_validate_json(text)
            if found.format != FORMAT or found.backend != cls.model_fields["backend"].default:
                raise LabMismatch(
                    f"the lab in {home} is of labkit {found.labkit} ({found.backend}, state format "
                    f"{found.format}), this is labkit {labkit_version()} (state format {FORMAT}): "
                    f"use that version, or let {found.way_to_end} end it and remove "
                    f"{' and '.join(map(str, found.places(home)))}, or set LABKIT_HOME to another "
                    "folder"
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise LabMismatch(
                f"{path} cannot be read ({error.error_count()} problems, first: {first}): "
                "end what runs of it (`labkit down` ends processes, `docker compose ls` lists "
                "containers), then remove the folder"
            ) from error

    def save(self, home: Path) -> None:
        """Write lab.json so that it is there whole or not at all."""
        write_whole(home / "lab.json", self.model_dump_json(indent=2, by_alias=True) + "\n")

    def require(self, home: Path, asked: Mapping[str, object]) -> None:
        """Hold what somebody asks for against the lab that is there; None asks for nothing.

        Raises:
            LabMismatch: it is another setting than the lab's; names it.
        """
        for name, value in asked.items():
            if value is not None and value != getattr(self, name):
                raise LabMismatch(
                    f"the lab in {home} differs in its {name.replace('_', ' ')}: "
                    "`labkit down --purge` removes it with its data, or set LABKIT_HOME to make "
                    "a second lab (with another --port-base)"
                )


class Stamp(BaseModel):
    """The fields that the settings of every labkit have, whatever their format."""

    model_config = ConfigDict(extra="ignore")

    format: int
    labkit: str = "unknown"
    backend: str = "embedded"
    project: str = ""
    run_as: tuple[int, int] | None = None
    servers_at: Path | None = None

    @property
    def way_to_end(self) -> str:
        """The command that ends what runs of the lab."""
        return f"`docker compose -p {self.project} down`" if self.project else "`labkit down`"

    def places(self, home: Path) -> tuple[Path, ...]:
        """Return the folders that the lab has."""
        return (home,) if self.servers_at is None else (home, self.servers_at)


class LabSecrets(BaseModel):
    """The passwords of one lab, in `secrets.json` (mode 600), made at random for it.

    Never in a command line, a log or a notebook.
    """

    model_config = ConfigDict(frozen=True)

    trader: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    wan: str = Field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, home: Path) -> Self:
        """Return the passwords of the lab in `home`, made when it has none yet."""
        path = home / "secrets.json"
        if not path.exists():
            write_whole(path, cls().model_dump_json() + "\n")
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
