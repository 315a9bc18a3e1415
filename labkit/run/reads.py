"""Reads the database before the load and after it, through whichever region leads."""

from __future__ import annotations

from labkit.cluster.base import Cluster
from labkit.errors import LabError, NotReady
from labkit.trading.audit import FinalRead, final_read, opening_read
from labkit.trading.ids import RunId


def read_back(cluster: Cluster, run_id: RunId | None) -> FinalRead | None:
    """Read the database after a run; None when it cannot be read: the verdict is UNKNOWN then.

    Also None for no run: nothing was ordered.
    """
    if run_id is None:
        return None
    try:
        return final_read(cluster.dsn(_region_to_read_from(cluster)), run_id)
    except LabError:
        return None


def read_before(cluster: Cluster) -> FinalRead | None:
    """Read the database before the load; None when it cannot be read."""
    try:
        return opening_read(cluster.dsn(_region_to_read_from(cluster)))
    except LabError:
        return None


def _region_to_read_from(cluster: Cluster) -> str:
    try:
        return cluster.leader().region
    except NotReady:  # every balancer knows the way as soon as there is one; the read waits for it
        return cluster.topology.region_names[0]
