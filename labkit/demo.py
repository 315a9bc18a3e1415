"""One measured node loss in a lab of its own, and nothing left behind but the report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from labkit.assets import require_runs_folder
from labkit.clock import wait_until
from labkit.cluster import create
from labkit.cluster.base import Cluster, OnStage, quiet
from labkit.errors import LabBusy, PortInUse
from labkit.lab import bring_up
from labkit.run.finished import Run
from labkit.run.notebook import Progress, run_notebook
from labkit.run.watchdog import PATIENCE_S

NOTEBOOK = "03_node_loss"
PORT_BASES = range(21000, 31000, 1000)
"""Blocks of ports to try: the first may belong to a lab that is running."""


def demo(
    on_stage: OnStage = quiet, on_progress: Callable[[Progress], None] = lambda _progress: None
) -> Run:
    """Bring a fresh lab up, run the node-loss notebook, take the lab down and remove it.

    A lab that the user has is not touched.

    Raises:
        ClusterError: the lab cannot be started.
        RunError: the notebook broke down.
        BadInput: its run folder cannot be made; nothing was started.
    """
    require_runs_folder()
    with temporary_lab(on_stage):
        on_stage(f"notebook {NOTEBOOK}")
        return run_notebook(NOTEBOOK, {"beside": ""}, on_progress)  # one loss, not seven


@contextmanager
def temporary_lab(on_stage: OnStage = quiet) -> Iterator[Cluster]:
    """Hold a lab under a temporary LABKIT_HOME, on free ports; remove it at the end.

    When its removal fails after an error of the block, that error is raised all the same, with a
    note about the removal.
    """
    before = os.environ.get("LABKIT_HOME")
    home = Path(tempfile.mkdtemp(prefix="labkit-"))
    os.environ["LABKIT_HOME"] = str(home)
    try:
        cluster = _start_on_free_ports(on_stage)
        with _removed_on_error(cluster):
            yield cluster
        on_stage("taking the lab down")
        _remove(cluster)
    finally:
        if before is None:
            del os.environ["LABKIT_HOME"]
        else:
            os.environ["LABKIT_HOME"] = before
        with suppress(OSError):
            home.rmdir()  # empty, unless the lab could not be removed


def _start_on_free_ports(on_stage: OnStage) -> Cluster:
    taken: PortInUse | None = None
    for port_base in PORT_BASES:
        cluster = create(port_base=port_base)
        try:
            with _removed_on_error(cluster):
                bring_up(cluster, on_stage)
        except PortInUse as error:
            taken = error
        else:
            return cluster
    assert taken is not None
    raise taken


@contextmanager
def _removed_on_error(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        try:
            _remove(cluster)
        except Exception as failed:
            error.add_note(str(failed))
            for note in getattr(failed, "__notes__", ()):
                error.add_note(note)
        raise


def _remove(cluster: Cluster) -> None:
    try:
        _stop(cluster)
        cluster.purge()
    except Exception as error:
        home = os.environ["LABKIT_HOME"]
        error.add_note(f"`LABKIT_HOME={home} labkit down --purge` removes the lab of this command")
        raise


def _stop(cluster: Cluster) -> None:
    """Stop the lab, after a kernel or a watchdog of the notebook's that still changes it.

    Raises:
        NotReady: such a process does not end.
    """

    def stopped() -> bool:
        try:
            cluster.stop()
        except LabBusy:
            return False
        return True

    wait_until(stopped, what="an end of the lab", timeout_s=PATIENCE_S, poll_s=0.5)
