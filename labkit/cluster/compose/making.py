"""Making the state folder of a new lab, or holding the one that is there against what is asked."""

from __future__ import annotations

import os
from pathlib import Path

from labkit.cluster.cockroach import statements
from labkit.cluster.compose.render import DEFAULT_VERSION
from labkit.cluster.compose.settings import VERSION_VARIABLE, Settings, images_asked_for
from labkit.errors import LabMismatch, NotRunning, TopologyError
from labkit.topology import DEFAULT, SurvivalGoal, Topology


def make(
    home: Path,
    *,
    topology: Topology | None,
    survive: SurvivalGoal | None,
    wan: bool | None,
    port_base: int | None,
    secure: bool | None,
) -> None:
    """Write lab.json when there is none; what is None is as the lab has it, or the default.

    Raises:
        LabMismatch: there is a lab with other settings.
        TopologyError: the topology or the engine cannot give the survival goal.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    version = os.environ.get(VERSION_VARIABLE)
    try:
        found = Settings.load(home)
    except NotRunning:
        _new(home, topology or DEFAULT, survive, wan, port_base, secure, version).save(home)
        return
    asked = {
        "topology": topology,
        "wan": wan,
        "port_base": port_base,
        "secure": secure,
        "version": version,
    }
    for name, value in asked.items():
        if value is not None and value != getattr(found, name):
            raise LabMismatch(
                f"the lab in {home} has another {name.replace('_', ' ')}: `labkit down --purge` "
                "removes it with its data, or set LABKIT_HOME to make a second lab (with another "
                "--port-base)"
            )


def _new(
    home: Path,
    topology: Topology,
    survive: SurvivalGoal | None,
    wan: bool | None,
    port_base: int | None,
    secure: bool | None,
    version: str | None,
) -> Settings:
    from labkit.cluster import usual_home

    goal = survive or topology.survive
    topology.check_survives(goal)
    if goal not in statements.GOALS:
        raise TopologyError(statements.NO_WEAKER_GOAL)
    settings = Settings(
        project="labkit",
        topology=topology,
        survive=goal,
        wan=True if wan is None else wan,
        secure=bool(secure),
        port_base=port_base,
        version=version or DEFAULT_VERSION,
        images=images_asked_for(),
    )
    if home.resolve() == usual_home().resolve():
        return settings
    return settings.model_copy(update={"project": f"labkit-{settings.lab_id[:8]}"})
