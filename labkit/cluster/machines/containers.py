"""The containers of one Compose project, as what runs a lab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from subprocess import CompletedProcess

from labkit.cluster.machines.compose import Compose
from labkit.cluster.machines.docker import Container, Engine
from labkit.cluster.status import State
from labkit.errors import LabMismatch


@dataclass(frozen=True)
class Containers:
    """A `Machine` of containers."""

    engine: Engine
    compose: Compose

    def all(self) -> dict[str, Container]:
        """By service."""
        return self.engine.containers(self.compose.name)

    def others(self, lab_id: str) -> set[str]:
        """Tell whose the project's containers and volumes are that are not this lab's.

        Their labs; an empty text stands for what labkit did not make.
        """
        labs = {container.lab for container in self.all().values()}
        return (labs | set(self.engine.volumes(self.compose.name).values())) - {lab_id}

    def require_own(self, lab_id: str) -> None:
        """Refuse a project that is not, or not only, a lab's.

        Raises:
            LabMismatch: something in it belongs to somebody else.
        """
        others = self.others(lab_id)
        if others:
            name = self.compose.name
            whose = "another lab" if others - {""} else "something that labkit did not make"
            raise LabMismatch(
                f"there is a Compose project {name!r} of {whose}: remove it with `docker compose "
                f"-p {name} down --volumes` (its data goes with it), or set LABKIT_HOME to another "
                "folder and give --port-base"
            )

    def _those(self, services: Sequence[str]) -> list[Container]:
        there = self.all()
        return [there[name] for name in services if name in there]

    def states(self) -> Mapping[str, State]:
        """Of what there is; a service that was never made, or was removed, is absent."""
        return {name: container.state for name, container in self.all().items()}

    def pids(self) -> Mapping[str, int | None]:
        """Return the process ids of what runs, as the engine's machine counts them."""
        there = self.all()
        if not there:
            return {}
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(there, pool.map(self.engine.pid, there.values()), strict=True))

    def start(self, services: Sequence[str]) -> None:
        """Start those that do not run; one that was removed is made again on its volume."""
        there = self._those(services)
        self.engine.start(there)
        gone = set(services) - {container.service for container in there}
        if gone:
            self.compose.up(sorted(gone), with_needed=False)

    def kill(self, services: Sequence[str]) -> None:
        """SIGKILL."""
        self.engine.kill(self._those(services))

    def stop(self, services: Sequence[str], timeout_s: float) -> None:
        """SIGTERM, and SIGKILL after `timeout_s`. Returns when they have ended."""
        self.engine.stop(self._those(services), timeout_s=round(timeout_s))

    def pause(self, services: Sequence[str]) -> None:
        """Freeze those that run."""
        self.engine.pause(self._those(services))

    def resume(self, services: Sequence[str]) -> None:
        """Thaw those that are frozen."""
        self.engine.unpause(self._those(services))

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for something that an event of Docker's brings.

        Raises:
            NotReady: it did not come in time.
        """
        self.engine.wait_until(self.compose.name, ready, what, timeout_s)

    def last_words(self, service: str) -> str:
        """Return the end of a container's log, one line."""
        container = self.all().get(service)
        return self.engine.last_words(container) if container else "its container was removed"

    def log(self, service: str, since_wall_s: float) -> str:
        """Return what a container wrote since a wall-clock time; empty when it was removed."""
        container = self.all().get(service)
        return self.engine.log(container, since_wall_s) if container else ""

    def run(self, service: str, command: Sequence[str], timeout_s: float) -> CompletedProcess[str]:
        """Run a short program in a service's container, and return how it ended.

        Raises:
            NotReady: it took longer than `timeout_s`.
        """
        return self.compose.run(service, command, timeout_s)

    def discard(self, service: str) -> None:
        """Remove a service's container and volume. Idempotent."""
        self.engine.remove(self._those([service]))
        self.engine.remove_volume(f"{self.compose.name}_{service}")

    def signal(self, service: str, name: str) -> None:
        """Send a signal to a service that runs."""
        self.engine.signal(self._those([service]), name)
