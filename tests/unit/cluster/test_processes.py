import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labkit.clock import wait_until
from labkit.cluster import strays
from labkit.cluster.identity import Identity
from labkit.cluster.machines.processes import Command, Processes
from labkit.cluster.processes import (
    LAB_VARIABLE,
    ProcessTable,
    alive,
    freeze,
    kill_and_wait,
    postgres_pids,
    start_time,
    stopped,
    uninterrupted,
)
from labkit.cluster.shared_memory import remove_ipc, remove_segments
from labkit.cluster.status import State
from labkit.errors import ClusterError
from labkit.wan import socket_owner

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "processes").mkdir()
    (tmp_path / "log").mkdir()
    identity = Identity(os.geteuid(), os.getegid())
    table = ProcessTable(tmp_path / "processes", tmp_path / "log", "test-lab", identity)
    yield table
    kill_and_wait([*(r.pid for r in table.records().values()), *strays.of_table(table)])


def test_a_spawned_process_is_found_by_name_until_it_dies(table):
    record = table.spawn("sleeper", SLEEP)
    assert table.pid("sleeper") == record.pid
    kill_and_wait([record.pid])
    assert table.pid("sleeper") is None


def test_what_is_asked_to_end_does_not_count_as_running_and_is_killed_as_a_stray(table):
    """The command that asked it may be killed, and the next one must not wait for it."""
    said = table.logs / "stubborn.log"
    code = "import signal, time; signal.signal(15, print); print('there', flush=True)\n"
    record = table.spawn("stubborn", [sys.executable, "-uc", code + "while True: time.sleep(1)"])
    wait_until(lambda: "there" in said.read_text(), what="its handler", timeout_s=30)
    machine = Processes(table, lambda _name: Command([]), {})
    stop = threading.Thread(target=machine.stop, args=(["stubborn"], 60))
    stop.start()
    wait_until(lambda: "15" in said.read_text(), what="its signal", timeout_s=30)
    assert alive([record.pid])
    assert machine.states() == {"stubborn": State.DOWN}
    machine.kill_all_but([])
    stop.join()
    assert not alive([record.pid])


def test_what_does_not_end_in_time_is_killed(table):
    said = table.logs / "stubborn.log"
    code = "import signal, time; signal.signal(15, print); print('there', flush=True)\n"
    record = table.spawn("stubborn", [sys.executable, "-uc", code + "while True: time.sleep(1)"])
    wait_until(lambda: "there" in said.read_text(), what="its handler", timeout_s=30)
    Processes(table, lambda _name: Command([]), {}).stop(["stubborn"], 0.1)
    assert not alive([record.pid])


def test_a_reused_pid_is_not_believed(table):
    record = table.spawn("sleeper", SLEEP)
    path = table.folder / "sleeper.json"
    path.write_text(path.read_text().replace(str(record.started), str(record.started - 100)))
    assert table.pid("sleeper") is None


def test_a_process_that_ends_at_once_is_reported_with_its_last_words(table):
    process = table.popen("talker", [sys.executable, "-c", "raise SystemExit('no such thing')"])
    process.wait()
    with pytest.raises(ClusterError, match="talker ended right after its start: no such thing"):
        table.adopt("talker", process.pid, [])


def test_a_broken_record_is_no_process(table):
    (table.folder / "torn.json").write_text('{"name": "to')
    assert table.pid("torn") is None
    assert table.records() == {}


def test_an_unrecorded_process_of_the_lab_is_a_stray_and_another_labs_is_not(table):
    mine = table.popen("lost", SLEEP)
    other = subprocess.Popen(SLEEP, env={**os.environ, LAB_VARIABLE: "another-lab"})
    try:
        wait_until(lambda: mine.pid in strays.of_table(table), what="stray seen", timeout_s=10)
        assert other.pid not in strays.of_table(table)
    finally:
        other.kill()
        other.wait()


def test_the_callers_database_settings_do_not_reach_the_servers(table, monkeypatch):
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("PATRONI_SCOPE", "other")
    monkeypatch.setenv("ETCD_NAME", "other")
    assert not {"PGHOST", "PATRONI_SCOPE", "ETCD_NAME"} & set(table.environment())


def test_a_frozen_process_is_alive_and_stopped(table):
    pid = table.spawn("sleeper", SLEEP).pid
    freeze([pid])
    assert stopped(pid)
    assert alive([pid]) == [pid]
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not stopped(pid), what="continue", timeout_s=5)


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    assert start_time(child.pid) is None
    child.wait()


def test_a_pid_in_a_stale_postmaster_file_that_is_no_postgres_is_left_alone(tmp_path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    assert postgres_pids(tmp_path) == []


def test_ctrl_c_during_clean_up_comes_after_it():
    done = []

    def clean_up():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == ["cleaned up"]


def test_clean_up_works_in_other_threads_too():
    seen = []
    thread = threading.Thread(target=lambda: _note(seen))
    thread.start()
    thread.join()
    assert seen == ["inside"]


def _note(seen):
    with uninterrupted():
        seen.append("inside")


# shared memory


@pytest.fixture
def segment():
    """A System V segment of this user's that no process has."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = libc.shmget(0, 4096, 0o600 | 0o1000)  # IPC_PRIVATE, IPC_CREAT
    if made < 0 or not Path("/proc/sysvipc/shm").exists():
        pytest.skip("no System V segments here")
    yield made
    libc.shmctl(made, 0, None)


def known_segments() -> set[int]:
    return {int(row.split()[1]) for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_a_segment_that_a_dead_server_left_is_removed(segment, tmp_path):
    (tmp_path / "postmaster.pid").write_text("\n" * 6 + f"  5432001 {segment}\n")
    remove_ipc(tmp_path, os.geteuid())
    assert segment not in known_segments()


def test_a_segment_that_another_user_made_is_left(segment, tmp_path):
    """A server can write any id into its file, and root could remove any segment."""
    (tmp_path / "postmaster.pid").write_text("\n" * 6 + f"  5432001 {segment}\n")
    remove_ipc(tmp_path, os.geteuid() + 1)
    assert segment in known_segments()


def test_a_segment_that_a_program_uses_is_left(segment):
    """After a restart of the machine the id in a file is another program's."""
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    address = ctypes.c_void_p(libc.shmat(segment, None, 0))
    remove_segments([segment], {os.geteuid()})
    assert segment in known_segments()
    libc.shmdt(address)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and prctl")
def test_a_process_whose_name_is_no_text_is_known_and_hides_no_other() -> None:
    named = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'\\xff\\xfe', 0, 0, 0)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{named}; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        assert Path(f"/proc/{odd.pid}/comm").read_bytes().startswith(b"\xff")
        assert start_time(odd.pid) is not None
        own = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
        assert os.getpid() in socket_owner._pids_of(own)
        odd.communicate()
