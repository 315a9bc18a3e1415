"""What a CockroachDB lab was made with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from labkit.cluster.cockroach import statements
from labkit.cluster.settings import LabSettings
from labkit.errors import ClusterError, NotRunning, TopologyError
from labkit.topology import DEFAULT, SurvivalGoal, Topology

VERSION_VARIABLE = "COCKROACH_VERSION"


class CockroachSettings(LabSettings):
    """The settings of one lab.

    Attributes:
        port_base: None for the usual ports (labkit.cluster.cockroach.layout).
    """

    secure: bool = False
    port_base: int | None = Field(default=None, ge=1024, le=64000)


def make(
    home: Path,
    kind: type[CockroachSettings],
    *,
    topology: Topology | None,
    survive: SurvivalGoal | None,
    asked: Mapping[str, object],
    more: Mapping[str, object],
) -> None:
    """Write lab.json when there is none, else hold what is asked for against it.

    Args:
        kind: of settings.
        asked: other settings; None is as the lab has it, or the default.
        more: what a new lab is made with beside them.

    Raises:
        LabMismatch: there is a lab with other settings.
        TopologyError: the topology or the engine cannot give the survival goal.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    try:
        kind.load(home).require(home, {"topology": topology, **asked})
    except NotRunning:
        shape = topology or DEFAULT
        goal = survive or shape.survive
        shape.check_survives(goal)
        if goal not in statements.GOALS:
            raise TopologyError(statements.NO_WEAKER_GOAL) from None
        chosen = {name: value for name, value in asked.items() if value is not None}
        kind.model_validate({**more, **chosen, "topology": shape, "survive": goal}).save(home)


def licence() -> tuple[str, str] | None:
    """Organization and licence key, as the environment has them; None without a key.

    Raises:
        ClusterError: there is a key and no organization.
    """
    key = os.environ.get("COCKROACH_LICENSE")
    organization = os.environ.get("COCKROACH_ORGANIZATION", "")
    if key and not organization:
        raise ClusterError(
            "COCKROACH_LICENSE is set and COCKROACH_ORGANIZATION is not: the key goes with the "
            "name it was made out to"
        )
    return (organization, key) if key else None
