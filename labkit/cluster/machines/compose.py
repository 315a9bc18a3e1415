"""`docker compose` of one lab: which program it is, and what goes wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from labkit.errors import BadInput, ClusterError, MissingBinary, NotReady, PortInUse

OLDEST = (2, 17)
"""`up --wait` understands one-shot services from about there on."""
OVERRIDE_FILE = "override.yml"
NEXT_STEP = (
    "install Docker's Compose plugin, 2.17 or newer (https://docs.docker.com/compose/install/)"
)


def find_compose() -> tuple[list[str], str]:
    """Return the command that is Docker Compose, and its version.

    Raises:
        MissingBinary: there is none, or only one that is too old.
    """
    too_old = ""
    for command in _candidates():
        version = _version(command)
        if version is None:
            continue
        if _numbers(version) >= OLDEST:
            return command, version
        too_old = f", only {' '.join(command)} {version}, which is too old"
    raise MissingBinary(f"no Docker Compose on this machine{too_old}: {NEXT_STEP}")


def _candidates() -> list[list[str]]:
    plugin = shutil.which("docker")
    beside = str(Path(sys.executable).parent)  # where a wheel puts it
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    alone = shutil.which("docker-compose", path=path)
    return [*([[plugin, "compose"]] if plugin else []), *([[alone]] if alone else [])]


def _version(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            [*command, "version", "--short"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=15,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.strip().removeprefix("v")
    return text if done.returncode == 0 and _numbers(text) else None


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


@dataclass(frozen=True)
class Compose:
    """Docker Compose on one project.

    A file `override.yml` beside the Compose file is read after it, when there is one: a place for
    other memory limits, say. labkit never writes it.

    Attributes:
        command: what runs it.
        name: the project.
        file: its Compose file.
        environment: what the file leaves open; wins over this process's own.
    """

    command: Sequence[str]
    name: str
    file: Path
    environment: Mapping[str, str]

    def overridden(self) -> set[str]:
        """Return the services that the override file speaks of.

        Raises:
            BadInput: it is no YAML.
        """
        path = self.file.with_name(OVERRIDE_FILE)
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            return set()
        except yaml.YAMLError as error:
            raise BadInput(f"{path} is no YAML: {' '.join(str(error).split())}") from error
        return set(found.get("services") or {}) if isinstance(found, dict) else set()

    def up(self, services: Sequence[str] = (), *, with_needed: bool = True) -> None:
        """Make and start containers that are not there; waits for nothing.

        What is there stays as it was made: the file may have changed since, for nodes that came or
        went, and no other node is restarted for that.

        Raises:
            PortInUse: a port is taken.
            ClusterError: it failed; says what Compose said.
        """
        needed = [] if with_needed else ["--no-deps"]
        self._run(
            "up", "--detach", "--no-build", "--no-recreate", "--pull", "never", *needed, *services
        )

    def down(self, *, timeout_s: int, volumes: bool = False) -> None:
        """Remove the containers and networks of the project, and with `volumes` its data."""
        extra = ["--volumes"] if volumes else []
        self._run("down", "--remove-orphans", "--timeout", str(timeout_s), *extra)

    def run(
        self, service: str, command: Sequence[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program in a service's container, and return how it ended.

        Raises:
            NotReady: it took longer than `timeout_s`.
        """
        try:
            return self._call("exec", "-T", service, *command, timeout_s=timeout_s)
        except subprocess.TimeoutExpired:
            what = f"`{' '.join(command)}` in {service}"
            raise NotReady(f"{what} did not end in {timeout_s:g} s") from None

    def logs(self) -> str:
        """Return the last lines of every service."""
        return self._run("logs", "--no-color", "--tail", "200")

    def _run(self, *arguments: str) -> str:
        done = self._call(*arguments)
        if done.returncode != 0:
            raise _failure(arguments[0], done.stderr)
        return done.stdout

    def _call(
        self, *arguments: str, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [*self.command, "--project-name", self.name, "--file", str(self.file)]
        override = self.file.with_name(OVERRIDE_FILE)
        if override.exists():
            argv += ["--file", str(override)]
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")},
            "COMPOSE_PROGRESS": "quiet",
            **self.environment,
        }
        return subprocess.run(
            [*argv, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=environment,
            timeout=timeout_s,
        )


def pull(image: str) -> None:
    """Fetch an image.

    Raises:
        ClusterError: it cannot be had.
    """
    client = shutil.which("docker") or "docker"
    try:
        done = subprocess.run(
            [client, "pull", "--quiet", image],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        said = done.stderr
    except OSError as error:
        raise MissingBinary(
            f"no docker program to fetch {image} with: install it, or fetch the image by other "
            f"means, such as `podman pull {image}`"
        ) from error
    if done.returncode != 0:
        raise ClusterError(
            f"the image {image} cannot be pulled ({_last_line(said)}): check the network or "
            "`docker login`, load it with `docker load`, or choose another by COCKROACH_VERSION, "
            "COCKROACH_IMAGE, HAPROXY_IMAGE or PYTHON_IMAGE"
        )


_PORT = re.compile(r"(?:port is already allocated|address already in use)", re.IGNORECASE)
_WHERE = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0)[:/](\d+)")


def _failure(what: str, stderr: str) -> ClusterError:
    """Return what Compose said, as one line of ours."""
    line = _last_line(stderr)
    if _PORT.search(stderr):
        port = _WHERE.search(stderr)
        where = f"port {port[1]}" if port else "a port"
        return PortInUse(
            f"{where} is taken ({line}): end what listens there, or `labkit down --purge` and "
            "take other ports with `labkit up --backend cockroachdb --port-base N`"
        )
    return ClusterError(f"docker compose {what} failed: {line}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
