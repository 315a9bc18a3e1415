"""What heals a fault when its experiment cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

import pytest
from living import alive

from labkit.clock import wait_until
from labkit.cluster import watchdogs
from labkit.cluster.base import HasStateFolder
from labkit.errors import LabBusy, NotReady, NotRunning
from labkit.run.watchdog import Lines, Watchdog, disturbed, guard, heal_lab
from labkit.testing import FakeCluster

HOLDING = json.dumps({"holding": "kill us-west-2/1", "until_s": monotonic() + 1000})
HEALING, HEALED = json.dumps({"healing": True}), json.dumps({"healed": True})
STEADY = {"p99_ms": 1000.0, "success_ratio": 0.99, "for_s": 3.0}
GONE = ""
LATE = None


def reasons(told: Iterable[str | None]) -> list[str]:
    """Why the watchdog healed, after it was told these lines."""
    lines, healed = iter(told), []
    guard(lambda _: next(lines), healed.append)
    assert list(lines) == []
    return healed


def test_an_experiment_that_is_gone_while_its_fault_holds_is_healed_after():
    (reason,) = reasons([HOLDING, GONE])
    assert "the experiment that injected kill us-west-2/1 is gone" in reason


def test_an_experiment_that_is_gone_while_it_heals_is_healed_after():
    assert len(reasons([HOLDING, HEALING, GONE])) == 1


def test_an_experiment_that_hangs_is_healed_after():
    (reason,) = reasons([HOLDING, LATE])
    assert "past its deadline" in reason


def test_an_experiment_that_healed_its_fault_is_left_alone():
    assert reasons([HOLDING, HEALING, HEALED, GONE]) == []


def test_an_experiment_that_is_gone_before_it_injects_anything_is_left_alone():
    assert reasons([GONE]) == []


def test_it_waits_for_the_deadline_only_while_a_fault_holds():
    waited: list[float | None] = []
    lines = iter([HOLDING, HEALING, HEALED, GONE])

    def read(timeout_s: float | None) -> str | None:
        waited.append(timeout_s)
        return next(lines)

    guard(read, lambda _: None)
    assert [timeout_s is None for timeout_s in waited] == [True, False, True, True]


def test_lines_come_whole_however_they_are_written():
    out, into = os.pipe()
    lines = Lines(out)
    os.write(into, b"on")
    assert lines.read(0.01) is None
    os.write(into, b"e\ntwo\n")
    assert [lines.read(1), lines.read(1)] == ["one", "two"]
    os.close(into)
    assert lines.read(None) == ""
    os.close(out)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    fake.start()
    monkeypatch.setattr("labkit.cluster.attach", lambda: fake)
    return fake


def test_healing_undoes_what_was_done(cluster):
    cluster.kill(cluster.leader())
    heal_lab()
    assert cluster.status().healthy


def test_a_slow_link_is_healed_though_every_part_is_in_service(cluster):
    cluster.set_link("us-west-2", "us-east-1", delay_ms=500)
    assert cluster.status().healthy
    assert disturbed(cluster)
    heal_lab()
    assert not disturbed(cluster)


def test_a_lab_without_a_fault_is_not_touched(cluster):
    heal_lab()
    assert [call.action for call in cluster.calls] == ["start"]


def test_healing_waits_for_whoever_is_changing_the_lab(cluster, monkeypatch):
    cluster.kill(cluster.leader())
    really, busy = cluster.heal, [True, True]

    def heal() -> None:
        if busy:
            busy.pop()
            raise LabBusy("another command")
        really()

    monkeypatch.setattr(cluster, "heal", heal)
    heal_lab()
    assert cluster.status().healthy


def test_healing_gives_up_in_the_end(cluster, monkeypatch):
    def busy() -> None:
        raise LabBusy("another command")

    cluster.kill(cluster.leader())
    monkeypatch.setattr(cluster, "heal", busy)
    with pytest.raises(NotReady):
        heal_lab(timeout_s=0)


def test_without_a_lab_there_is_nothing_to_heal(monkeypatch):
    def attach() -> FakeCluster:
        raise NotRunning("none")

    monkeypatch.setattr("labkit.cluster.attach", attach)
    heal_lab()


# the process


def test_a_cluster_in_memory_has_none(tmp_path):
    assert not isinstance(FakeCluster(), HasStateFolder)
    with Watchdog(None, tmp_path / "log", STEADY) as watchdog:
        watchdog.holding("kill", for_s=1)
        assert watchdog.pid is None
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_with_its_experiment_and_leaves_nothing(tmp_path):
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    with Watchdog(home, log, STEADY) as watchdog:
        watchdog.holding("kill us-west-2/1", for_s=60)
        assert watchdogs.alive(home) == [watchdog.pid]
        watchdog.healing()
        watchdog.healed()
    assert not alive(watchdog.pid)
    assert watchdogs.alive(home) == []
    assert not log.exists()
    assert list((home / watchdogs.FOLDER).iterdir()) == []


def test_it_ends_with_the_lab(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    watchdog = Watchdog(home, tmp_path / "log", STEADY)
    watchdog.holding("kill us-west-2/1", for_s=60)
    watchdogs.end(home)
    assert not alive(watchdog.pid)
    watchdog.healed()  # an experiment that still goes on does not stumble over it
    watchdog.close()


def test_a_pid_that_was_used_again_is_not_ended(tmp_path):
    folder = tmp_path / watchdogs.FOLDER
    folder.mkdir()
    (folder / f"{os.getpid()}.json").write_text(json.dumps({"pid": os.getpid(), "started": 1.0}))
    assert watchdogs.alive(tmp_path) == []
    watchdogs.end(tmp_path)
    assert list(folder.iterdir()) == []


EXPERIMENT = """
import sys, time
from pathlib import Path
from labkit.run.watchdog import Watchdog

watchdog = Watchdog(Path(sys.argv[1]), Path(sys.argv[2]), {"p99_ms": 1000, "for_s": 3})
watchdog.holding("kill us-west-2/1", for_s=600)
print(watchdog.pid, flush=True)
time.sleep(600)
"""


def test_it_acts_when_its_experiment_is_killed(tmp_path):
    """With no lab in the folder there is nothing to heal, but it says that it would."""
    home, log = tmp_path / "home", tmp_path / "log"
    home.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", EXPERIMENT, str(home), str(log)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as experiment:
        assert experiment.stdout
        pid = int(experiment.stdout.readline())
        experiment.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(pid), what="end of the watchdog", timeout_s=60)
    assert "is gone and has not healed it: healing the lab\nhealed\n" in log.read_text()
    assert list((home / watchdogs.FOLDER).iterdir()) == []
