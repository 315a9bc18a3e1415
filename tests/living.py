"""Whether a process has ended."""

from __future__ import annotations

import psutil


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; one whose parent has not taken note of it yet has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def alive(pid: int) -> bool:
    """The same of whatever has the pid now."""
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
