"""Finding, making and removing the lab of this user.

There is one lab under one state folder; LABKIT_HOME names another. Backends are imported only when
asked for, so that `python -m labkit...` of a small part stays small.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import BadInput

if TYPE_CHECKING:
    from labkit.cluster.base import Cluster
    from labkit.topology import SurvivalGoal, Topology

BACKENDS = ("embedded",)


def home() -> Path:
    """The state folder: LABKIT_HOME, or labkit's place among the user's state files."""
    from platformdirs import user_state_path

    chosen = os.environ.get("LABKIT_HOME")
    return Path(chosen).expanduser().absolute() if chosen else user_state_path("labkit")


def attach() -> Cluster:
    """The lab under `home`, running or not.

    Raises:
        NotRunning: there is none.
        LabMismatch: it was made by a labkit whose state this one cannot use.
    """
    from labkit.cluster.embedded.cluster import EmbeddedCluster

    return EmbeddedCluster.attach(home())


def create(
    backend: str = "embedded",
    *,
    topology: Topology | None = None,
    survive: SurvivalGoal | None = None,
    wan: bool | None = None,
    port_base: int | None = None,
) -> Cluster:
    """The lab under `home`, made when there is none; nothing is started.

    What is None is as the lab has it, or the default for a new one.

    Raises:
        BadInput: no such backend.
        LabMismatch: there is a lab with other settings.
        TopologyError: the topology cannot give the survival goal.
    """
    from labkit.cluster.embedded.cluster import EmbeddedCluster

    if backend not in BACKENDS:
        raise BadInput(f"no backend {backend!r}: there is {', '.join(BACKENDS)}")
    return EmbeddedCluster.create(
        home(), topology=topology, survive=survive, wan=wan, port_base=port_base
    )


def purge(cluster: Cluster) -> None:
    """Remove a stopped lab with all its data.

    Raises:
        LabBusy: it runs.
        BadInput: this backend keeps nothing that could be removed.
    """
    from labkit.cluster.base import CanPurge

    if not isinstance(cluster, CanPurge):
        raise BadInput(f"the {cluster.backend} backend keeps no state here")
    cluster.purge()
