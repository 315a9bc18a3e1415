"""Commands that are killed or interrupted, and a state folder that is removed under a lab.

`LABKIT_TEST_KILLS=50` kills `labkit up` so many times at random moments; without it the tests kill
it once while it makes the first database node, where a start has most to lose.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from labkit.cluster.processes import segments
from labkit.cluster.strays import marked

LABKIT = str(Path(sys.executable).with_name("labkit"))
KILLS = int(os.environ.get("LABKIT_TEST_KILLS", "0"))
SHAPE = """
survive = "region"
link = [
  { between = ["a", "b"], rtt_ms = 5 },
  { between = ["a", "c"], rtt_ms = 5 },
  { between = ["b", "c"], rtt_ms = 5 },
]
[[region]]
name = "a"
nodes = 1
[[region]]
name = "b"
nodes = 1
[[region]]
name = "c"
nodes = 1
"""
"""Three nodes: starts in a third of the time that nine take."""
STAGES = (
    "WAN between",
    "etcd and load",
    "first database",
    "2 database",
    "replication",
    "a query",
    "trading schema",
)

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(sys.platform != "linux", reason="/proc")]


class Lab:
    """A small lab of this module's own, under commands in processes of their own."""

    def __init__(self, home: Path, port_base: int, shape: Path) -> None:
        self.home, self.port_base, self.shape = home, port_base, shape
        self.environment = {**os.environ, "LABKIT_HOME": str(home)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LABKIT, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def up(self) -> tuple[str, ...]:
        return ("up", "--topology", str(self.shape), "--port-base", str(self.port_base))

    def interrupted_up(self, stage: str, number: signal.Signals, after_s: float = 0.0) -> int:
        """Begin to start, and end that at a stage; the exit code."""
        process = subprocess.Popen(
            [LABKIT, *self.up],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr
        for line in process.stderr:
            if line.startswith(stage):
                break
        sleep(after_s)
        process.send_signal(number)
        process.communicate()
        return process.returncode


@pytest.fixture
def small(tmp_path: Path, own_lab: tuple[Path, int]) -> Iterator[Lab]:
    """A lab that is not there yet; gone without a trace in the end."""
    (tmp_path / "shape.toml").write_text(SHAPE)
    lab = Lab(*own_lab, tmp_path / "shape.toml")
    yield lab
    assert lab.run("down", "--purge").returncode == 0
    assert marked(lab.home) == []
    assert not lab.home.exists()


def test_a_start_that_is_killed_or_interrupted_does_not_stop_the_next_one(small: Lab) -> None:
    """The first node's key in etcd was that of a node that the next start did not begin with."""
    assert small.interrupted_up("first database", signal.SIGKILL, after_s=1.0) == -signal.SIGKILL
    assert small.interrupted_up("2 database", signal.SIGHUP) not in (0, -signal.SIGHUP)
    assert marked(small.home) == []  # it could, and did, stop what it had started
    done = small.run(*small.up)
    assert done.returncode == 0, done.stderr
    assert small.run("status").returncode == 0


def test_a_lab_whose_state_folder_is_removed_is_found_and_ended(small: Lab) -> None:
    assert small.run(*small.up).returncode == 0
    pids = marked(small.home)
    shared_memory = segments(pids)
    assert len(pids) > 10
    assert shared_memory
    shutil.rmtree(small.home, ignore_errors=True)
    found = small.run("status")
    assert found.returncode == 3
    assert "was removed while its lab ran" in found.stderr
    done = small.run(*small.up)
    assert done.returncode == 0, done.stderr
    assert "of a lab whose state folder was removed" in done.stderr
    assert not set(pids) & set(marked(small.home))
    assert not shared_memory & segments(marked(small.home))
    shutil.rmtree(small.home, ignore_errors=True)
    down = small.run("down")
    assert down.returncode == 0
    assert "are ended now" in down.stdout
    assert marked(small.home) == []


@pytest.mark.skipif(not KILLS, reason="LABKIT_TEST_KILLS says how often")
def test_a_start_that_is_killed_at_any_moment_does_not_stop_the_next_one(small: Lab) -> None:
    chance = random.Random(KILLS)
    for number in range(KILLS):
        small.run("down", *(["--purge"] if chance.random() < 0.7 else []))
        moment = chance.choice(STAGES), chance.choice((0, 0.05, 0.3, 1.0, 2.0))
        small.interrupted_up(moment[0], signal.SIGKILL, after_s=moment[1])
        done = small.run(*small.up)
        assert done.returncode == 0, f"kill {number} in {moment}: {done.stderr}"
