"""The Docker engine, through its SDK: containers of one Compose project, and clear errors.

`docker.from_env` of 7.2 follows DOCKER_HOST, then DOCKER_CONTEXT, then the current context.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from time import sleep
from typing import Any, Self
from urllib.parse import urlsplit

import docker
import requests
from docker.context import ContextAPI
from docker.context.config import METAFILE, get_context_id, get_current_context_name
from docker.errors import APIError, DockerException, NotFound

from labkit.cluster.machines.base import LAB_LABEL
from labkit.cluster.status import State
from labkit.errors import ClusterError, MissingBinary, NotReady

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
VOLUME_LABEL = "com.docker.compose.volume"
_OF_A_LAB = re.compile(r"(crdb\d+-.+|certs|authority)$")
"""The volumes of a lab, as its Compose file names them."""
TIMEOUT_S = 75
"""Longer than the longest grace period of a stop."""
HERE = ("localhost", "localnpipe", "127.0.0.1", "::1")
"""Hosts in the SDK's own addresses of engines on this machine; a socket's is localhost."""
EMBEDDED = "or use the engine that needs no Docker: `labkit up --backend embedded`"
START = "start it (Docker Desktop, `colima start`, `sudo systemctl start docker`)"
STATES = {"running": State.RUNNING, "paused": State.PAUSED}


class NoEngine(MissingBinary):
    """No Docker engine answers, or this user may not use it."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a Compose project, as a list shows it.

    Attributes:
        raw_state: Docker's own word: created, running, paused, restarting, exited, dead.
        status: Docker's words for people: "Up 2 minutes (healthy)", "Exited (137) 3 seconds ago".
        lab: the lab it is labelled with, empty when labkit did not make it.
    """

    id: str
    service: str
    raw_state: str
    status: str
    lab: str

    @property
    def state(self) -> State:
        """As labkit says it."""
        return STATES.get(self.raw_state, State.DOWN)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts that a Docker engine gives about itself."""

    version: str
    memory_bytes: int
    system: str


class Engine:
    """A Docker engine that answers."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Self:
        """Return the engine that the `docker` program would use.

        Raises:
            NoEngine: there is none, it does not run, this user may not use it, or it is on another
                machine.
        """
        try:
            client = docker.from_env(
                timeout=TIMEOUT_S, max_pool_size=32, environment=_environment()
            )
            host = urlsplit(client.api.base_url).hostname
            if host not in HERE:
                raise NoEngine(_elsewhere(str(host)))
            client.ping()
        except (DockerException, requests.RequestException, OSError) as error:
            raise NoEngine(_why_no_engine(error)) from error
        return cls(client)

    # looking

    def facts(self) -> Facts:
        """Version, memory and system."""
        with _clear_errors("the engine"):
            found = self._client.info()
        return Facts(
            version=str(found.get("ServerVersion", "unknown")),
            memory_bytes=int(found.get("MemTotal", 0)),
            system=str(found.get("OperatingSystem", "unknown")),
        )

    def containers(self, project: str) -> dict[str, Container]:
        """Return the containers of a Compose project, by service; one request."""
        with _clear_errors(f"the containers of {project}"):
            rows = self._client.api.containers(
                all=True, filters={"label": f"{PROJECT_LABEL}={project}"}
            )
        found = {}
        for row in rows:
            labels = row.get("Labels") or {}
            service = labels.get(SERVICE_LABEL, "")
            found[service] = Container(
                id=row["Id"],
                service=service,
                raw_state=row.get("State", ""),
                status=row.get("Status", ""),
                lab=labels.get(LAB_LABEL, ""),
            )
        return found

    def pid(self, container: Container) -> int | None:
        """Return the pid of a container's first process, as the engine's machine counts them."""
        try:
            with _clear_errors(container.service):
                state = self._client.api.inspect_container(container.id)["State"]
        except ClusterError:
            return None
        return int(state["Pid"]) or None

    def exit_code(self, container: Container) -> int | None:
        """Return the exit code of a container that has ended."""
        with _clear_errors(container.service):
            state = self._client.api.inspect_container(container.id)["State"]
        return int(state["ExitCode"]) if state["Status"] == "exited" else None

    def last_words(self, container: Container, lines: int = 3) -> str:
        """Return the last log lines of a container, on one line; a word when there are none."""
        try:
            with _clear_errors(container.service):
                text = self._client.api.logs(container.id, tail=lines, stdout=True, stderr=True)
        except ClusterError as error:
            return f"(its log cannot be read: {error})"
        words = " | ".join(line.strip() for line in text.decode(errors="replace").splitlines())
        return words or "(it said nothing)"

    def log(self, container: Container, since_wall_s: float) -> str:
        """Return what a container wrote since a wall-clock time; survives its restarts.

        Raises:
            ClusterError: Docker cannot give it.
        """
        with _clear_errors(container.service):
            text = self._client.api.logs(container.id, since=int(since_wall_s), stderr=False)
        return str(text.decode(errors="replace"))

    def has_image(self, name: str) -> bool:
        """Tell whether an image is there."""
        try:
            with _clear_errors(name):
                self._client.api.inspect_image(name)
        except _GoneError:
            return False
        return True

    def volumes(self, project: str) -> dict[str, str]:
        """Return the volumes of a Compose project, as its file names them, and the lab of each.

        Those too that somebody made under such a name without Compose: it would take them over.
        """
        with _clear_errors(f"the volumes of {project}"):
            every = self._client.api.volumes().get("Volumes") or []
        found = {}
        for volume in every:
            labels, name = volume.get("Labels") or {}, str(volume.get("Name", ""))
            if labels.get(PROJECT_LABEL) == project:
                found[str(labels.get(VOLUME_LABEL, ""))] = str(labels.get(LAB_LABEL, ""))
            elif (mine := name.removeprefix(f"{project}_")) != name and _OF_A_LAB.match(mine):
                found[mine] = ""
        return found

    def read_files(self, container: Container, folder: str) -> dict[str, bytes]:
        """Return the files of a folder in a container, by name."""
        with _clear_errors(container.service):
            chunks, _ = self._client.api.get_archive(container.id, folder)
            archive = io.BytesIO(b"".join(chunks))
        found = {}
        with tarfile.open(fileobj=archive) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    found[member.name.rpartition("/")[2]] = file.read()
        return found

    # doing, to all of them at once

    def kill(self, containers: Iterable[Container]) -> None:
        """SIGKILL, to what runs or is paused."""
        alive = [c for c in containers if c.state is not State.DOWN]
        self._each(alive, lambda c: self._client.api.kill(c.id, "SIGKILL"))

    def stop(self, containers: Iterable[Container], timeout_s: int) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`."""
        alive = [c for c in containers if c.state is not State.DOWN]
        self._each(alive, lambda c: self._client.api.stop(c.id, timeout=timeout_s))

    def pause(self, containers: Iterable[Container]) -> None:
        """Freeze what runs."""
        running = [c for c in containers if c.state is State.RUNNING]
        self._each(running, lambda c: self._client.api.pause(c.id))

    def unpause(self, containers: Iterable[Container]) -> None:
        """Thaw what is frozen."""
        paused = [c for c in containers if c.state is State.PAUSED]
        self._each(paused, lambda c: self._client.api.unpause(c.id))

    def start(self, containers: Iterable[Container]) -> None:
        """Start what is down."""
        down = [c for c in containers if c.state is State.DOWN]
        self._each(down, lambda c: self._client.api.start(c.id))

    def signal(self, containers: Iterable[Container], name: str) -> None:
        """Send a signal to what runs."""
        running = [c for c in containers if c.state is State.RUNNING]
        self._each(running, lambda c: self._client.api.kill(c.id, name))

    def remove(self, containers: Iterable[Container]) -> None:
        """Remove containers that have ended."""
        self._each(list(containers), lambda c: self._client.api.remove_container(c.id))

    def remove_volume(self, name: str) -> None:
        """Remove a volume and what is in it. Idempotent."""
        with suppress(_GoneError), _clear_errors(f"the volume {name}"):
            self._client.api.remove_volume(name)

    def wait_until(
        self, project: str, ready: Callable[[], bool], what: str, timeout_s: float
    ) -> None:
        """Look again whenever a container of a Compose project changes, until it is ready.

        Raises:
            NotReady: it was not in time.
        """
        labels = {"type": "container", "label": f"{PROJECT_LABEL}={project}"}
        with _clear_errors(f"the events of {project}"):
            # from here on nothing is missed: Docker has answered the request
            events = self._client.api.events(filters=labels, decode=True)
        timer = Timer(timeout_s, events.close)
        timer.start()
        try:
            while not ready():
                if not timer.is_alive():
                    raise NotReady(f"{what}: not ready after {timeout_s:g} s")
                if next(events, None) is None:  # the timer ended it, or the engine is gone
                    sleep(0.1)
        finally:
            timer.cancel()
            with suppress(OSError, DockerException):  # the timer has closed it
                events.close()

    def _each(self, containers: Sequence[Container], act: Callable[[Container], object]) -> None:
        """Do it to all of them at the same time; the first error after all are done."""
        if not containers:
            return

        def one(container: Container) -> None:
            with _clear_errors(container.service):
                act(container)

        with ThreadPoolExecutor(len(containers)) as pool:
            tasks = [pool.submit(one, container) for container in containers]
        for task in tasks:
            task.result()


class _GoneError(ClusterError):
    """The container, network or image that was asked about is not there."""


@contextmanager
def _clear_errors(what: str) -> Iterator[None]:
    """Turn what the SDK raises into one line.

    Raises:
        ClusterError: the engine refuses, or does not answer.
    """
    try:
        yield
    except NotFound as error:
        raise _GoneError(f"Docker does not know {what}: {error.explanation}") from error
    except APIError as error:
        raise ClusterError(f"Docker refuses {what}: {error.explanation or error}") from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise ClusterError(
            f"the Docker engine does not answer ({what}): is it still running? `docker info`"
        ) from error


def _environment() -> Mapping[str, str]:
    """Build the environment in which the SDK finds the engine that `docker` would use.

    By itself it takes the default engine for a context that is not there, and finds none at all
    where there is no config.json, as when DOCKER_CONTEXT alone chooses.

    Raises:
        NoEngine: the context is not there, or damaged.
    """
    named = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if os.environ.get("DOCKER_HOST") or named == "default":
        return os.environ
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    file = folder / "contexts" / "meta" / get_context_id(named) / METAFILE
    try:
        host = json.loads(file.read_text(encoding="utf-8"))["Endpoints"]["docker"]["Host"]
        if ContextAPI.get_context(named) is not None:
            return os.environ  # with its certificates
    except FileNotFoundError as error:
        raise NoEngine(
            f"there is no Docker context {named!r}: `docker context ls` lists those there are, "
            f"`docker context use` or DOCKER_CONTEXT chooses one, {EMBEDDED}"
        ) from error
    except Exception as error:  # the SDK raises no narrower one for a file that is damaged
        raise NoEngine(
            f"the Docker context {named!r} cannot be read ({' '.join(str(error).split())}): make "
            f"it anew with `docker context rm` and `docker context create`, {EMBEDDED}"
        ) from error
    return {**os.environ, "DOCKER_HOST": host}


def _elsewhere(host: str) -> str:
    return (
        f"the Docker engine is on another machine ({host}): labkit mounts files of this one and "
        "dials its 127.0.0.1. Choose one here with `docker context use`, unset DOCKER_HOST, "
        f"{EMBEDDED}"
    )


def _why_no_engine(error: BaseException) -> str:
    """Why the engine cannot be used, and the next step."""
    causes = list(_causes(error))
    if "ssh://" in str(error):  # the SDK asks for a package that would not help
        return _elsewhere("ssh")
    asked = os.environ.get("DOCKER_HOST")
    here = f"at {asked} (DOCKER_HOST)" if asked else "here"
    if any(isinstance(cause, PermissionError) for cause in causes):
        return (
            "this user may not use Docker's socket: `sudo usermod -aG docker $USER`, then log in "
            f"again; {EMBEDDED}"
        )
    if any(isinstance(cause, FileNotFoundError) for cause in causes):
        return f"no Docker engine {here}: install Docker, or {START}, {EMBEDDED}"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"the Docker engine {here} is stopped: {START}, {EMBEDDED}"
    text = " ".join(str(error).split())
    return f"the Docker engine cannot be reached ({text}): check `docker info`, {EMBEDDED}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """List an error and its causes: the SDK wraps urllib3, which wraps the socket's error."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, tuple):
            waiting += one
        elif isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, *one.args, getattr(one, "reason", None)]
