"""CockroachDB labs as a person has them: by the commands, in every form, interrupted and killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import PORT_BASE, write_override
from labs import LABS

from engine.fixtures import cockroach_on_path
from labkit.cluster.cockroach_binary.cluster import BinaryCluster
from labkit.cluster.compose.cluster import ComposeCluster
from labkit.cluster.embedded.processes import LAB_VARIABLE

LABKIT = [sys.executable, "-c", "import sys; from labkit.cli import main; sys.exit(main())"]
MINE = PORT_BASE + 2300
CLASSES = {"cockroachdb": ComposeCluster, "cockroach-binary": BinaryCluster}

assert CLASSES.keys() <= LABS.keys()


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder that the lab's processes can be in; nothing of it is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-"))
    yield folder
    if (folder / "lab.json").exists():
        labkit(folder, "down", "--purge")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(
    params=[
        pytest.param("cockroachdb", marks=pytest.mark.docker),
        pytest.param("cockroach-binary", marks=pytest.mark.cluster),
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """A backend whose programs are here."""
    if request.param == "cockroachdb":
        request.getfixturevalue("docker_engine")
        yield request.param
    else:
        with cockroach_on_path():
            yield request.param


def begin(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LABKIT, *arguments],
        env={**os.environ, "LABKIT_HOME": str(home)},
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def labkit(home: Path, *arguments: str, code: int = 0) -> str:
    """Run a command to its end; what it printed."""
    process = begin(home, *arguments)
    out, err = process.communicate(timeout=400)
    assert process.returncode == code, out + err
    return out


def make(home: Path, backend: str, **settings: bool) -> str:
    """A lab with stand-ins, not started; its id."""
    lab = CLASSES[backend].create(home, port_base=MINE, **settings)
    if isinstance(lab, ComposeCluster):
        write_override(lab)
    return lab.settings.lab_id


def processes_of(lab_id: str) -> list[str]:
    found = psutil.process_iter(["environ", "cmdline"])
    mine = [p for p in found if (p.info["environ"] or {}).get(LAB_VARIABLE) == lab_id]
    return [" ".join(process.info["cmdline"] or []) for process in mine]


def test_a_secure_lab_without_a_wan_serves_grows_shrinks_and_goes(home: Path, backend: str) -> None:
    lab_id = make(home, backend, secure=True, wan=False)
    assert "9 nodes in 3 regions are in service" in labkit(home, "up")
    status = json.loads(labkit(home, "status", "--json"))
    assert (status["backend"], status["healthy"], status["links"]) == (backend, True, [])
    assert "sslmode=verify-full" in labkit(home, "dsn", "us-east-1")
    assert "12" in labkit(home, "sql", "us-east-1", "-c", "SELECT 5 + 7 AS twelve")
    assert "us-east-1/4 is in service" in labkit(home, "node", "add", "us-east-1")
    assert "us-east-1/4 is gone" in labkit(home, "node", "remove", "us-east-1/4")
    labkit(home, "run", "00_setup")
    assert "the lab is gone" in labkit(home, "down", "--purge")
    assert not home.exists()
    assert processes_of(lab_id) == []


def test_an_up_that_is_interrupted_leaves_nothing_that_runs(home: Path, backend: str) -> None:
    lab_id = make(home, backend)
    up = begin(home, "up")
    assert up.stderr is not None
    for line in up.stderr:
        if line.startswith("quorum"):
            break
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=200)
    assert up.returncode == 130
    assert processes_of(lab_id) == []
    assert CLASSES[backend].attach(home).machine.states() == {}


def test_an_up_after_one_that_was_killed_brings_the_lab_up(home: Path, backend: str) -> None:
    make(home, backend)
    up = begin(home, "up")
    assert up.stderr is not None
    for line in up.stderr:
        if line.startswith("init"):
            break
    up.kill()
    up.communicate(timeout=60)
    assert "9 nodes in 3 regions are in service" in labkit(home, "up")
