"""Finding, making and removing the lab of this user.

There is one lab under one state folder; LABKIT_HOME names another. Backends are imported only when
asked for, so that `python -m labkit...` of a small part stays small.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.errors import BadInput, LabMismatch

if TYPE_CHECKING:
    from labkit.cluster.base import Cluster
    from labkit.cluster.cockroach.cluster import CockroachCluster
    from labkit.topology import SurvivalGoal, Topology

BACKENDS = ("embedded", "cockroachdb", "cockroach-binary")


def usual_home() -> Path:
    """Labkit's place among the user's state files."""
    from platformdirs import user_state_path

    return user_state_path("labkit")


def home() -> Path:
    """The state folder: LABKIT_HOME, or the usual one."""
    chosen = os.environ.get("LABKIT_HOME")
    return Path(chosen).expanduser().absolute() if chosen else usual_home()


def attach() -> Cluster:
    """The lab under `home`, running or not.

    Raises:
        NotRunning: there is none.
        LabMismatch: it was made by a labkit whose state this one cannot use.
    """
    cockroach = _cockroach(_backend_of(home()))
    if cockroach is not None:
        return cockroach.attach(home())
    from labkit.cluster.embedded.cluster import EmbeddedCluster

    return EmbeddedCluster.attach(home())


def create(
    backend: str | None = None,
    *,
    topology: Topology | None = None,
    survive: SurvivalGoal | None = None,
    wan: bool | None = None,
    port_base: int | None = None,
    secure: bool | None = None,
) -> Cluster:
    """The lab under `home`, made when there is none; nothing is started.

    What is None is as the lab has it, or the default for a new one (the embedded engine).

    Raises:
        BadInput: no such backend, or it cannot be secured.
        LabMismatch: there is a lab with other settings.
        TopologyError: the topology cannot give the survival goal.
    """
    if backend is not None and backend not in BACKENDS:
        raise BadInput(f"no backend {backend!r}: there is {', '.join(BACKENDS)}")
    there = _backend_of(home())
    if backend is not None and there is not None and backend != there:
        raise LabMismatch(
            f"the lab in {home()} is of the {there} backend: `labkit down --purge` removes it with "
            "its data, or set LABKIT_HOME to make a second lab"
        )
    cockroach = _cockroach(backend or there)
    if cockroach is not None:
        return cockroach.create(
            home(), topology=topology, survive=survive, wan=wan, port_base=port_base, secure=secure
        )
    if secure:
        raise BadInput(
            "the embedded backend always has passwords and has no certificates: "
            "--secure goes with `--backend cockroachdb` and `cockroach-binary`"
        )
    from labkit.cluster.embedded.cluster import EmbeddedCluster

    return EmbeddedCluster.create(
        home(), topology=topology, survive=survive, wan=wan, port_base=port_base
    )


def _cockroach(backend: str | None) -> type[CockroachCluster[Any, Any]] | None:
    """What a backend of CockroachDB is; None for another engine."""
    if backend == "cockroachdb":
        from labkit.cluster.compose.cluster import ComposeCluster

        return ComposeCluster
    if backend == "cockroach-binary":
        from labkit.cluster.cockroach_binary.cluster import BinaryCluster

        return BinaryCluster
    return None


def _backend_of(folder: Path) -> str | None:
    """The backend of the lab in a folder; None when there is none, or it cannot be read."""
    try:
        found = json.loads((folder / "lab.json").read_text())
    except (OSError, ValueError):
        return None
    backend = found.get("backend", "embedded") if isinstance(found, dict) else None
    return backend if isinstance(backend, str) else None


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
