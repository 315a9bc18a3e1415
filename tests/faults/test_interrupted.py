"""Commands that are killed or interrupted, and a state folder that is removed under a lab.

`LABKIT_TEST_KILLS=50` ends each command that changes a lab so many times at random moments, by
SIGKILL and by Ctrl-C, and prints in which stages; without it the tests kill `labkit up` once while
it makes the first database node, where a start has most to lose.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from labkit.clock import wait_until
from labkit.cluster.shared_memory import segments
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

    def interrupted(
        self, stage: str, number: signal.Signals, *command: str, after_s: float = 0.0
    ) -> int:
        """Begin a command, and end it at a stage; the exit code."""
        process = self.begin(*command)
        assert process.stderr
        for line in process.stderr:
            if line.startswith(stage):
                break
        sleep(after_s)
        process.send_signal(number)
        process.communicate()
        return process.returncode

    def begin(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [LABKIT, *command],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def whole(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """A command with this lab's shape, where it takes one."""
        return self.up if command == ("up",) else command

    def ended_after(
        self, after_s: float, number: signal.Signals, *command: str
    ) -> tuple[int, list[str], float]:
        """Begin a command, and send its group a signal so long after its first stage begins.

        Returns:
            Its exit code, what it said on standard error, and how long it took from there.
        """
        process = self.begin(*command)
        assert process.stderr
        first = process.stderr.readline()
        begun_s = monotonic()
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        with suppress(ProcessLookupError):  # it was faster
            os.killpg(process.pid, number)
        rest = process.communicate()[1]
        return process.returncode, (first + rest).splitlines(), monotonic() - begun_s

    def require(self, *arguments: str) -> str:
        """Run a command that succeeds; what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def nodes(self) -> set[str]:
        """Its nodes, each in service."""
        found = json.loads(self.require("status", "--json"))
        return {node["name"] for node in found["nodes"]}


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
    killed = small.interrupted("first database", signal.SIGKILL, *small.up, after_s=1.0)
    assert killed == -signal.SIGKILL
    assert small.interrupted("2 database", signal.SIGHUP, *small.up) not in (0, -signal.SIGHUP)
    assert marked(small.home) == []  # it could, and did, stop what it had started
    done = small.run(*small.up)
    assert done.returncode == 0, done.stderr
    assert small.run("status").returncode == 0


@pytest.mark.long
def test_a_node_whose_addition_or_removal_was_killed_is_in_service_after_heal(small: Lab) -> None:
    """The WAN refused it, as it did not know its name, and commits did not count it."""
    small.require(*small.up)
    assert small.interrupted("starting b/2", signal.SIGKILL, "node", "add", "b") == -signal.SIGKILL
    small.require("heal")
    assert small.nodes() == {"a/1", "b/1", "b/2", "c/1"}
    assert "ANY 2 (" in small.require("sql", "a", "-c", "SHOW synchronous_standby_names")
    assert small.interrupted("b/2 ends", signal.SIGKILL, "node", "remove", "b/2", after_s=0.1)
    small.require("heal")  # it was there until it had ended, and so was not started again
    small.require("node", "remove", "b/2")
    small.require("status")


@pytest.mark.long
def test_a_lab_whose_stop_or_restart_of_a_node_was_killed_is_in_service_after_heal(
    small: Lab,
) -> None:
    """What had been asked to end still ran, and so was not started again."""
    small.require(*small.up)
    there = len(marked(small.home))
    stop = small.begin("fault", "stop", "primary")
    wait_until(
        lambda: len(marked(small.home)) < there, what="a server to end", timeout_s=60, poll_s=0.01
    )
    stop.kill()
    stop.communicate()
    small.require("heal")
    assert small.nodes() == {"a/1", "b/1", "c/1"}
    assert small.interrupted("restarting", signal.SIGKILL, "node", "restart", after_s=0.3)
    small.require("heal")
    assert small.nodes() == {"a/1", "b/1", "c/1"}


@pytest.mark.long
def test_a_goal_that_a_stopped_lab_is_given_is_in_force_when_it_is_up(small: Lab) -> None:
    small.require(*small.up)
    for goal, waits in (("none", False), ("region", True)):
        small.require("down")
        small.require("up", "--survive", goal)
        names = small.require("sql", "a", "-c", "SHOW synchronous_standby_names")
        assert ("ANY 1 (" in names) == waits, names


@pytest.mark.long
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


COMMANDS = {
    "up": ([("down",), ("down", "--purge")], ("up",), ("up",)),
    "down": ([("status",)], ("down",), ("down",)),
    "purge": ([("status",)], ("down", "--purge"), ("down", "--purge")),
    "heal": ([("fault", "kill", "primary"), ("fault", "pause", "a")], ("heal",), ("heal",)),
    "add": ([("status",)], ("node", "add", "b"), ("heal",)),
    "remove": ([("node", "add", "b")], ("node", "remove", "b/2"), ("heal",)),
    "restart": ([("status",)], ("node", "restart"), ("heal",)),
}
"""What is done before a command (one of some), the command, and what must work after it."""


@pytest.mark.long
@pytest.mark.skipif(not KILLS, reason="LABKIT_TEST_KILLS says how often")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_ended_at_any_moment_does_not_stop_the_next_one(
    small: Lab, name: str, number: signal.Signals
) -> None:
    first, command, then = COMMANDS[name]
    chance = random.Random(f"{name} {number} {KILLS}")
    ended = Counter[str]()
    whole_s = 0.0
    while ended.total() < KILLS:
        small.require(*small.up)
        small.require(*chance.choice(first))
        code, said, took_s = small.ended_after(
            chance.uniform(0, 1.2 * whole_s) or 600, number, *small.whole(command)
        )
        assert not any("Traceback" in line for line in said), said
        if whole_s and code:
            assert code == (130 if number == signal.SIGINT else -number), said
            ended[next((line for line in reversed(said) if "labkit:" not in line), "")] += 1
        else:
            assert code == 0, said
            whole_s = max(whole_s, took_s)
        small.require(*small.whole(then))
        if command[0] == "down":
            assert marked(small.home) == []
        elif "b/2" in small.nodes():
            small.require("node", "remove", "b/2")
        assert small.home.exists() == ("--purge" not in command)
    print(f"{name} ended by {number.name} within {whole_s:.1f} s:", dict(ended))
