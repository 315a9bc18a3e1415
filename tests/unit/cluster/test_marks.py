"""Marks of runs: who has a lab, who is refused, and what a process that died leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.cluster.marks import (
    RUN_FILE,
    RUNNING_FILE,
    Mark,
    ask_to_end,
    claimed,
    ended,
    marked,
    require_no_run,
    run_of,
    running,
)
from labkit.errors import LabBusy, LabTakenDown

HOLDS = """
import sys
from pathlib import Path
from time import sleep
from labkit.cluster.marks import claimed, marked
home, folder = map(Path, sys.argv[1:])
with claimed(home, folder) as claim, marked(folder):
    print("has it", flush=True)
    while not claim.ended_by:
        sleep(0.02)
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def other(home, run):
    """A run in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, home, run], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "has it\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_in_one_line_that_names_the_first(home, run, other):
    with pytest.raises(LabBusy) as refused, claimed(home, run.with_name("second")):
        pass
    line = str(refused.value)
    assert str(run) in line
    assert f"process {other.pid}, since 2" in line
    assert "\n" not in line


def test_the_first_run_keeps_its_lab_when_a_second_is_refused(home, run, other):
    with pytest.raises(LabBusy), claimed(home, run.with_name("second")):
        pass
    assert run_of(home).pid == other.pid
    assert other.poll() is None


def test_a_lab_under_a_run_is_not_changed_by_hand(home, other):
    with pytest.raises(LabBusy, match="a run is going on"):
        require_no_run(home)


def test_a_lab_without_a_run_may_be_changed(home):
    require_no_run(home)
    require_no_run(home / "not there")


def test_a_run_that_was_killed_leaves_a_mark_that_counts_for_nothing(home, run, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (run / RUNNING_FILE).exists()
    assert running(run) is None
    require_no_run(home)
    with claimed(home, run.with_name("second")) as claim:
        assert run_of(home).pid == os.getpid()
        claim.check()
    assert run_of(home) is None


def test_a_trial_shares_the_claim_of_its_run(home, run):
    with claimed(home, run) as whole:
        with claimed(home, run / "trials" / "1"):
            pass
        whole.check()  # the trial's end is not the run's
        assert run_of(home) is not None


def test_a_run_that_is_asked_to_end_does_and_is_waited_for(home, run, other):
    assert ask_to_end(home, "`labkit down`").folder == str(run)
    assert ended(home, 20)
    assert other.wait(20) == 0
    assert not (run / RUNNING_FILE).exists()


def test_a_run_learns_who_takes_its_lab_down(home, run, monkeypatch):
    with claimed(home, run) as claim:
        monkeypatch.setattr("os.getpid", lambda: 1)  # somebody else asks
        assert ask_to_end(home, "`labkit down`")
        monkeypatch.undo()
        with pytest.raises(LabTakenDown, match="by `labkit down`"):
            claim.check()
        with pytest.raises(LabTakenDown), claimed(home, run / "trials" / "2"):
            pass


def test_a_run_does_not_ask_itself_to_end(home, run):
    with claimed(home, run) as claim:
        assert ask_to_end(home, "`labkit down`") is None
        claim.check()


def test_what_a_run_starts_does_not_ask_it_to_end(home, run):
    asks = (
        "import sys; from pathlib import Path; from labkit.cluster.marks import ask_to_end; "
        "print(ask_to_end(Path(sys.argv[1]), 'down'))"
    )
    with claimed(home, run):
        said = subprocess.run(
            [sys.executable, "-c", asks, home], capture_output=True, text=True, check=True
        )
    assert said.stdout == "None\n"


def test_a_run_whose_state_folder_is_removed_ends(home, run):
    with claimed(home, run) as claim:
        (home / RUN_FILE).unlink()
        home.rmdir()
        with pytest.raises(LabTakenDown, match="state folder"):
            claim.check()
    assert not home.exists()


def test_a_run_folder_is_marked_as_long_as_its_run_goes_on(run):
    assert running(run) is None
    with marked(run):
        with marked(run):
            pass
        assert running(run).pid == os.getpid()
    assert running(run) is None
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"pid": 1}', '{"folder": "x", "pid": "y", "started": 1, "since": ""}'],
)
def test_a_mark_that_is_damaged_counts_for_nothing(home, run, text):
    (run / RUNNING_FILE).write_text(text)
    (home / RUN_FILE).write_text(text)
    assert running(run) is None
    with claimed(home, run):
        pass


def test_a_process_id_that_was_given_again_is_not_taken_for_the_run(run):
    mark = json.loads(Mark.mine(run).text())
    (run / RUNNING_FILE).write_text(json.dumps({**mark, "started": mark["started"] - 1}))
    assert running(run) is None


def test_a_mark_is_not_written_through_a_symbolic_link(home, run, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (home / RUN_FILE).symlink_to(precious)
    with pytest.raises(OSError), claimed(home, run):  # noqa: PT011 - the kernel's ELOOP
        pass
    assert precious.read_text() == "mine"


def test_a_mark_names_its_run_folder_with_the_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Mark.mine(Path("run")).folder == str(tmp_path / "run")
