"""Processes of a lab whose state folder was removed: found by what they carry, no others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import labkit

from labkit.clock import wait_until
from labkit.cluster import strays
from labkit.cluster.engines.postgresql.settings import Settings
from labkit.cluster.identity import OWN_UIDS, Identity
from labkit.cluster.processes import HOME_VARIABLE, LAB_VARIABLE, alive, start_time
from labkit.cluster.shared_memory import segments

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("LABKIT_HOME", str(home))
    return home


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def begin(started, command=SLEEP, cwd: Path | None = None, **carried: str) -> int:
    kept = {k: v for k, v in os.environ.items() if k not in (LAB_VARIABLE, HOME_VARIABLE)}
    process = subprocess.Popen(command, env={**kept, **carried}, cwd=cwd)
    started.append(process)
    wait_until(lambda: begun(process.pid, command), what="the process", timeout_s=10)
    return process.pid


def begun(pid: int, command: list[str]) -> bool:
    """Whether it is the new program: until then it carries what we carry."""
    line = Path(f"/proc/{pid}/cmdline").read_bytes()
    return line.split(b"\0")[0] == os.fsencode(command[0])


def begin_as(started, uid: int, **carried: str) -> int:
    """Begin a process of another user; returns when it is that user's."""
    command = [*Identity.of_root(uid, uid).prefix, "sleep", "60"]
    started.append(subprocess.Popen(command, env={**os.environ, **carried}))
    name = Path(f"/proc/{started[-1].pid}/comm")
    wait_until(lambda: name.read_text() == "sleep\n", what="the process", timeout_s=20)
    return started[-1].pid


def lab_in(home: Path, lab: str = "aaaa") -> dict[str, str]:
    return {LAB_VARIABLE: lab, HOME_VARIABLE: str(home)}


def test_down_ends_what_runs_of_a_lab_whose_state_folder_was_removed(home, started):
    pids = [begin(started, **lab_in(home)), begin(started, **lab_in(home))]
    os.kill(pids[0], signal.SIGSTOP)  # a fault may have frozen it
    done = labkit("down")
    assert done.exit_code == 0
    assert "was removed while its lab ran: 2 of its processes went on" in done.stdout
    wait_until(lambda: not alive(pids), what="end", timeout_s=10)
    assert labkit("down").stdout == "no lab here, nothing to stop\n"


@pytest.mark.parametrize("command", [("status",), ("heal",), ("sql", "us-west-2")])
def test_every_command_says_that_a_removed_lab_goes_on(home, started, command):
    begin(started, **lab_in(home))
    done = labkit(*command)
    assert done.exit_code == 3
    assert "1 of its processes go on: `labkit down` ends them" in done.stderr


def test_the_doctor_finds_a_removed_lab(home, started):
    begin(started, **lab_in(home))
    lines = labkit("doctor").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("left over")]
    assert "1 processes of a lab" in line


@pytest.mark.parametrize(
    "text",
    ['{"format": 3, "labkit": "0.1"}', '{"format": 99, "topology": 7, "backend": "x"}', "{half"],
)
def test_down_ends_the_processes_of_a_lab_that_this_labkit_cannot_use(home, started, text):
    home.mkdir()
    (home / "lab.json").write_text(text)
    assert labkit("down").exit_code == 3  # nothing of it runs: it says what is in the way
    pid = begin(started, **lab_in(home))
    done = labkit("down")
    assert (done.exit_code, done.stdout) == (
        0,
        f"1 processes of the lab in {home} are ended now, its data is kept\n",
    )
    wait_until(lambda: not alive([pid]), what="end", timeout_s=10)
    purged = labkit("down", "--purge")
    assert purged.exit_code == 3
    assert "remove" in purged.stderr
    assert (home / "lab.json").read_text() == text


def test_a_lab_of_another_format_is_named_with_what_ends_it_and_its_folders(home):
    home.mkdir()
    elsewhere = "/var/lib/labkit/0123456789abcdef"
    older = {"format": 3, "labkit": "0.1"}
    (home / "lab.json").write_text(json.dumps({**older, "servers_at": elsewhere}))
    assert f"let `labkit down` end it and remove {home} and {elsewhere}" in labkit("up").stderr
    older |= {"backend": "cockroachdb", "project": "labkit-12345678"}
    (home / "lab.json").write_text(json.dumps(older))
    for command in ("status", "down"):
        assert "`docker compose -p labkit-12345678 down`" in labkit(command).stderr


def test_nobody_elses_process_is_taken_for_one_of_the_lab(home, started, tmp_path):
    mine = begin(started, **lab_in(home))
    others = [
        begin(started, **{HOME_VARIABLE: str(home)}),  # a shell of the user's
        begin(started, **{LAB_VARIABLE: "aaaa"}),  # of a lab that says no folder
        begin(started, **lab_in(tmp_path / "home2")),
        begin(started, **lab_in(home / "inner")),
        begin(started),
    ]
    assert strays.marked(home) == [mine]
    strays.end_removed_lab(home)
    wait_until(lambda: not alive([mine]), what="end", timeout_s=10)
    assert alive(others) == others


OTHER = 61_999
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what others carry")


@as_root
def test_another_users_process_that_says_it_is_of_roots_lab_is_not_believed(home, started):
    """Anybody can put any words into an environment."""
    pid = begin_as(started, OTHER, **lab_in(home))
    assert strays.marked(home, "aaaa") == []
    assert strays.end_removed_lab(home) == 0
    assert alive([pid]) == [pid]


@as_root
@pytest.mark.parametrize("uid", [OWN_UIDS[0], OWN_UIDS[-1]])
def test_a_process_of_a_user_that_roots_labs_have_is_believed(home, started, uid):
    pid = begin_as(started, uid, **lab_in(home))
    assert strays.marked(home) == [pid]


@as_root
def test_the_owner_of_the_folder_that_a_removed_lab_was_in_is_believed(home, started):
    os.chown(home.parent, OTHER, OTHER)
    pid = begin_as(started, OTHER, **lab_in(home))
    assert strays.marked(home) == [pid]


@as_root
def test_down_by_root_ends_a_lab_in_another_users_folder_and_touches_no_file_there(home, started):
    home.mkdir()
    (home / "lab.json").write_text(Settings(run_as=(OTHER, OTHER)).model_dump_json())
    os.chown(home, OTHER, OTHER)
    before = home.stat()
    pid = begin_as(started, OTHER, **lab_in(home))
    for purge, code in (((), 0), (("--purge",), 2)):
        assert labkit("down", *purge).exit_code == code
    wait_until(lambda: not alive([pid]), what="end", timeout_s=10)
    assert home.stat() == before


@as_root
@pytest.mark.parametrize("theirs", [False, True])
def test_only_settings_that_root_wrote_name_a_user_whose_processes_are_ended(home, started, theirs):
    """In a container root cannot read what the servers' environment says."""
    uid = OWN_UIDS[7]
    home.mkdir()
    (home / "lab.json").write_text(json.dumps({"format": 3, "run_as": [uid, uid]}))
    if theirs:
        os.chown(home, OTHER, OTHER)
    pid = begin_as(started, uid)
    assert strays.end_unusable_lab(home) == (0 if theirs else 1)
    assert bool(alive([pid])) == theirs


@pytest.mark.parametrize(
    ("place", "lab_id"),
    [
        ("var", "var"),  # a folder with the name of the lab that the process makes up
        ("var/labkit/0123456789abcdef", "0123456789abcdef"),  # others can write to it
    ],
)
def test_nothing_is_removed_where_a_process_only_says_that_its_files_are(
    home, started, tmp_path, place, lab_id
):
    precious = tmp_path / place / "log" / "audit.log"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    (tmp_path / place).chmod(0o777)
    begin(started, **lab_in(home, lab_id), HOME=str(tmp_path / place))
    assert strays.end_removed_lab(home) == 1
    assert precious.exists()


def test_a_lab_that_is_there_is_not_ended(home, started):
    pid = begin(started, **lab_in(home))
    home.mkdir()
    (home / "lab.json").write_text("{}")
    assert strays.end_removed_lab(home) == 0
    assert start_time(pid) is not None


def test_the_same_folder_by_another_name_is_the_same_lab(home, started, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    pid = begin(started, **lab_in(tmp_path / "link" / "home"))
    assert strays.marked(home) == [pid]


def test_servers_that_postgres_forks_are_found_by_the_data_directory_they_stand_in(
    home, started, tmp_path
):
    """They write their titles over their environment."""
    data = home / "data" / "mars-1"
    data.mkdir(parents=True)
    (tmp_path / "postgres").symlink_to(shutil.which("sleep"))
    server = begin(started, [str(tmp_path / "postgres"), "60"], cwd=data)
    other = begin(started, [str(tmp_path / "postgres"), "60"], cwd=tmp_path)
    begin(started, cwd=data)  # a shell of the user's, say
    shutil.rmtree(home)
    assert strays.marked(home) == [server]
    assert strays.end_removed_lab(home) == 1
    assert alive([server, other]) == [other]


def test_what_the_servers_wrote_after_the_removal_is_removed_and_nothing_else(home, started):
    begin(started, **lab_in(home))
    for name in ("data/us-west-2-1/base/1", "conf/us-east-1-1.pgpass", "mine.txt", "data/mine"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")
    strays.end_removed_lab(home)
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert left == ["data/mine", "mine.txt"]


def test_processes_without_shared_memory_have_no_segments():
    assert segments([os.getpid(), 1 << 30]) == set()
