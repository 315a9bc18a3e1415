"""Finding, making and removing the lab of this user.

There is one lab under one state folder; LABKIT_HOME names another. Backends are imported only when
asked for, so that `python -m labkit...` of a small part stays small.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.errors import BadInput, LabMismatch, NotRunning

if TYPE_CHECKING:
    from labkit.cluster.base import Cluster
    from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
    from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
    from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
    from labkit.topology import SurvivalGoal, Topology

BACKENDS = ("embedded", "cockroachdb", "cockroach-binary")


def home() -> Path:
    """Return the state folder: LABKIT_HOME, or the usual one."""
    from labkit.cluster import folder

    chosen = os.environ.get("LABKIT_HOME")
    if not chosen:
        return folder.usual_home()
    # of a user who is not there, `~name` stays as it is, as in a shell
    return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111


def attach() -> EmbeddedCluster | ComposeCluster | BinaryCluster:
    """Return the lab under `home`, running or not.

    Raises:
        NotRunning: there is none. Says so when there was one whose state folder was removed while
            it ran.
        LabMismatch: it was made by a labkit whose state this one cannot use.
    """
    try:
        return _class_of(backend_of(home())).attach(home())
    except NotRunning:
        from labkit.cluster.strays import marked

        left = len(marked(home()))
        if left:
            raise NotRunning(
                f"the state folder {home()} was removed while its lab ran, {left} of its processes "
                "go on: `labkit down` ends them"
            ) from None
        raise


def attach_to_change() -> EmbeddedCluster | ComposeCluster | BinaryCluster:
    """Attach to the lab under `home` in order to change it by hand; it raises what `attach` raises.

    Raises:
        LabBusy: a run measures it; names the run.
    """
    from labkit.cluster.marks import require_no_run

    require_no_run(home())
    return attach()


def create(
    backend: str | None = None,
    *,
    topology: Topology | None = None,
    survive: SurvivalGoal | None = None,
    wan: bool | None = None,
    port_base: int | None = None,
    secure: bool | None = None,
) -> Cluster:
    """Return the lab under `home`, made when there is none; nothing is started.

    What is None is as the lab has it, or the default for a new one (the embedded engine). A lab of
    which nothing was ever started gives way to what is asked for.

    Raises:
        BadInput: no such backend, or it cannot be secured.
        LabMismatch: there is a lab with other settings.
        TopologyError: the topology cannot give the survival goal.
    """
    if backend is not None and backend not in BACKENDS:
        raise BadInput(f"no backend {backend!r}: there is {', '.join(BACKENDS)}")
    there = backend_of(home())
    if backend not in (None, there) and there and not attach().forget_unused():
        raise LabMismatch(
            f"the lab in {home()} is of the {there} backend: `labkit down --purge` removes it with "
            "its data, or set LABKIT_HOME to make a second lab"
        )
    return _class_of(backend or there).create(
        home(), topology=topology, survive=survive, wan=wan, port_base=port_base, secure=secure
    )


def _class_of(
    backend: str | None,
) -> type[EmbeddedCluster | ComposeCluster | BinaryCluster]:
    """Return what a backend is; the embedded engine where there is none of that name."""
    if backend == "cockroachdb":
        from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster

        return ComposeCluster
    if backend == "cockroach-binary":
        from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster

        return BinaryCluster
    from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster

    return EmbeddedCluster


def backend_of(folder: Path) -> str | None:
    """Return the backend of the lab in a folder; None when there is none, or it cannot be read."""
    try:
        found = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    backend = found.get("backend", "embedded") if isinstance(found, dict) else None
    return backend if isinstance(backend, str) else None
