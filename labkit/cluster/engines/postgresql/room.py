"""Checks that this machine has room for a lab, made before anything of it is started."""

from __future__ import annotations

import shutil

from labkit.cluster.engines.postgresql.layout import Layout
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.engines.postgresql.ways import wan_plan
from labkit.cluster.limits import (
    NODES_PER_CORE,
    Limits,
    cores,
    memory_left_mib,
    memory_mib,
    too_low,
)
from labkit.errors import ClusterError
from labkit.topology import Topology

FRESH_FREE_BYTES = 1 << 30
"""What the disk of a new lab must have left: nine nodes take about 450 MB and grow."""
KEPT_FREE_BYTES = 1 << 28
"""What it must have left for a lab whose data is there already."""


def require_disk(layout: Layout, starting: int) -> None:
    """Refuse to start nodes on a disk that is nearly full. What starts none needs no room.

    Args:
        starting: how many of its nodes are about to be started.

    Raises:
        ClusterError: it is; says how much is needed.
    """
    place = layout.place  # which a first start has not made yet
    disk = next(folder for folder in (place, *place.parents) if folder.exists())
    free, nodes = shutil.disk_usage(disk).free, len(layout.topology.nodes)
    needed = free_bytes(layout.topology, fresh=not layout.served.exists()) * starting // nodes
    if free < needed:
        raise ClusterError(
            f"the disk of {place} has {free >> 20} MiB left and starting "
            f"{starting} {'node' if starting == 1 else 'nodes'} needs about {needed >> 20}: free "
            "some, or set LABKIT_HOME to a larger disk"
        )


def free_bytes(topology: Topology, *, fresh: bool) -> int:
    """Say how much of its disk a lab of a shape must find free."""
    of_nine = FRESH_FREE_BYTES if fresh else KEPT_FREE_BYTES
    return max(of_nine, of_nine * len(topology.nodes) // 9)


def require_room(layout: Layout, secrets: Secrets, uid: int, starting: int) -> None:
    """Refuse a lab that this machine has no room for.

    Args:
        uid: of the user that its servers run as.
        starting: how many of its nodes are about to be started.

    Raises:
        ClusterError: a limit of the operating system is too low, or there are too few cores or too
            little memory; says how much is needed.
    """
    topology, whole = layout.topology, starting == len(layout.topology.nodes)
    ways = len(wan_plan(layout, secrets).listeners) if layout.wan else 0
    problem = too_low(topology, Limits.here(uid), wan_ports=ways)
    if problem and whole:  # a lab that runs has shown that it fits
        raise ClusterError(problem)
    nodes, most = len(topology.nodes), int(NODES_PER_CORE * cores())
    if whole and nodes > most:
        raise ClusterError(
            f"a lab of {nodes} nodes needs {-(-nodes // NODES_PER_CORE)} cores, and {cores():g} "
            f"are here, enough for {most} nodes: make a smaller lab with --topology"
        )
    needed, left = memory_mib(topology, None if whole else starting), memory_left_mib()
    if left < needed:
        raise ClusterError(
            f"{starting} nodes need about {needed:,} MiB of memory and {left:,} are left: "
            "end something, or make a smaller lab with --topology"
        )
