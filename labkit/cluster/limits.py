"""Limits of the operating system for a user's processes, and the lab that fits into them.

A container, a shared host or a shell profile may set such limits (getrlimit(2), cgroup v2
"pids.max"). A lab that does not fit is refused before anything is started.
"""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from labkit.topology import MAX_NODES, Topology

MIB = 1 << 20
UNLIMITED = sys.maxsize

LEAST_CONNECTIONS = 64
"""Of one balancer: a region's load has 33 (labkit.cluster.engines.postgresql.config), and as many
again while lost ones are replaced."""
_OF_A_BALANCER, _OF_A_NODE = 27, 4
"""Open files of a HAProxy 3 beside two for each connection: of itself, and of each node that it
checks. It refuses to start with fewer than it may come to use (measured for 3 to 81 nodes)."""

PROCESSES_OF_A_NODE = 30
"""Processes and threads: Patroni 17, PostgreSQL 8 without clients, and one for each standby of the
primary's."""
PROCESSES_OF_A_REGION = 50
"""etcd and HAProxy 11, a server process for each of a region's 33 usual connections."""
PROCESSES_OF_A_LAB = 20

ADDRESSES_BYTES = 12 << 30
"""Of one process. etcd reserves 10 GiB of addresses for its database, not of memory (etcd:
server/storage/backend, initialMmapSize)."""
FILE_BYTES = 128 * MIB
"""Of one file: logs and tables grow."""
STACK_BYTES = MIB
"""PostgreSQL keeps half a megabyte of it free (src/backend/utils/misc/guc.c, STACK_DEPTH_SLOP)."""

NODES_PER_CORE = 14
"""On two cores 27 nodes came into service in 52 s. 45 nodes of nine regions did not in six minutes:
etcd's members did not answer within a second, because no core was free for them."""

MEMORY_OF_A_NODE_MIB = 56
MEMORY_OF_A_REGION_MIB = 48
"""Of what a lab has in memory: nine nodes in three regions took 472 MiB idle (sum of proportional
set sizes, `make bench`); under load there is a server process more for every connection."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of this user's processes; `UNLIMITED` where there is none.

    Attributes:
        open_files: of one process: the hard limit, to which a process can raise its own.
        processes: that can be started in addition to those there are, threads included.
        addresses_bytes: of one process.
        file_bytes: of one file.
        stack_bytes: of one process; labkit's own processes raise it to 8 MiB where they may.
    """

    open_files: int = UNLIMITED
    processes: int = UNLIMITED
    addresses_bytes: int = UNLIMITED
    file_bytes: int = UNLIMITED
    stack_bytes: int = UNLIMITED

    @classmethod
    def here(cls, uid: int) -> Limits:
        """Look at the limits of processes that this one starts.

        Args:
            uid: of the user that they run as.
        """
        return cls(
            open_files=_limit(resource.RLIMIT_NOFILE, hard=True),
            processes=min(_processes_left(uid), _left_in_group()),
            addresses_bytes=_limit(resource.RLIMIT_AS),
            file_bytes=_limit(resource.RLIMIT_FSIZE),
            stack_bytes=_limit(resource.RLIMIT_STACK),
        )


def balancer_connections(wanted: int, topology: Topology, open_files: int) -> int:
    """Give how many connections a balancer may have: what is wanted, or what fits.

    Args:
        wanted: where the limit allows it.
        open_files: that a process may have.
    """
    return min(wanted, (open_files - _beside_connections(topology)) // 2)


def too_low(topology: Topology, limits: Limits, *, wan_ports: int = 0) -> str:
    """Say which limit is too low for a lab of a shape, and what to do; empty when none is.

    Args:
        wan_ports: at which its WAN listens.
    """
    nodes, regions = len(topology.nodes), len(topology.regions)
    of_a_balancer = _beside_connections(topology) + 2 * LEAST_CONNECTIONS
    # the WAN has two files for each connection: of clients and their servers, and of checks
    of_the_wan = wan_ports and wan_ports + 2 * (LEAST_CONNECTIONS * regions + 2 * nodes * regions)
    processes = PROCESSES_OF_A_NODE * nodes + PROCESSES_OF_A_REGION * regions + PROCESSES_OF_A_LAB
    wanted = (
        (limits.open_files, max(of_a_balancer, of_the_wan), 1, "open files of a process", "-n"),
        (limits.processes, processes, 1, "more processes and threads of this user", "-u"),
        (limits.addresses_bytes, ADDRESSES_BYTES, MIB, "MiB of addresses of a process", "-v"),
        (limits.file_bytes, FILE_BYTES, MIB, "MiB of a file", "-f"),
        (limits.stack_bytes, STACK_BYTES, MIB // 1024, "KiB of stack of a process", "-s"),
    )
    for allowed, least, unit, what, option in wanted:
        if allowed < least:
            advice = {
                "-n": "with Docker by --ulimit nofile=65536",
                "-u": "with Docker by --pids-limit",
            }.get(option)
            return (
                f"a lab of {nodes} nodes needs {-(-least // unit):,} {what}, the limit here leaves "
                f"{max(0, allowed) // unit:,}: raise it (`ulimit {option}`"
                f"{f'; {advice}' if advice else ''})"
            )
    return ""


def memory_mib(topology: Topology, nodes: int | None = None) -> int:
    """Say how much memory a lab of a shape takes, in MiB.

    Args:
        nodes: count these alone, because the others run already; None: all, and the regions.
    """
    if nodes is not None:
        return MEMORY_OF_A_NODE_MIB * nodes
    regions = MEMORY_OF_A_REGION_MIB * len(topology.regions)
    return MEMORY_OF_A_NODE_MIB * len(topology.nodes) + regions


def cores() -> float:
    """Count the cores that this process may use, within the limit of a container; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota_us, period_us = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return max(1.0, min(allowed, int(quota_us) / int(period_us)))
    except (OSError, ValueError):  # no such limit
        return allowed


def memory_left_mib() -> int:
    """Say how much memory there is for new processes, within the limit of a container."""
    return min(psutil.virtual_memory().available, _memory_left_in_group()) // MIB


def _beside_connections(topology: Topology) -> int:
    """Open files of a balancer beside its connections, with all nodes that can be added."""
    return _OF_A_BALANCER + _OF_A_NODE * MAX_NODES * len(topology.regions)


def _limit(which: int, *, hard: bool = False) -> int:
    value = resource.getrlimit(which)[hard]
    return UNLIMITED if value == resource.RLIM_INFINITY else value


def _processes_left(uid: int) -> int:
    limit = _limit(resource.RLIMIT_NPROC)
    if limit == UNLIMITED or uid == 0:
        return UNLIMITED
    there = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids, threads = process.info["uids"], process.info["num_threads"]
        if uids and uids.real == uid:
            there += threads or 1
    return limit - there


def _left_in_group() -> int:
    return _group("pids.max", "pids.current")


def _memory_left_in_group() -> int:
    return _group("memory.max", "memory.current")


def _group(limit: str, used: str) -> int:
    """Return what a container's limit leaves (cgroup v2), or `UNLIMITED` without one."""
    try:
        group = Path("/sys/fs/cgroup")
        return int((group / limit).read_text(encoding="utf-8")) - int(
            (group / used).read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return UNLIMITED
