"""What root's servers keep of root's rights: nothing. Where they may go is found out by asking."""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from labkit import doctor, privileges
from labkit.clock import wait_until
from labkit.cluster import strays
from labkit.cluster.engines.postgresql import first_data
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.identity import OWN_UIDS, Identity
from labkit.cluster.machines import reach
from labkit.cluster.machines.programs import Program, etcd, haproxy, postgres
from labkit.cluster.processes import HOME_VARIABLE, LAB_VARIABLE, ProcessTable
from labkit.doctor.check import Level
from labkit.errors import ClusterError, LabMismatch

USER = 61_999
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to drop")


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter, as /root is."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for /var/lib."""
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o755)
    monkeypatch.setattr(reach, "ELSEWHERE", (folder,))
    yield folder
    subprocess.run(["rm", "-r", folder], check=True)


def status(prefix: tuple[str, ...]) -> dict[str, str]:
    text = subprocess.check_output([*prefix, "cat", "/proc/self/status"], text=True)
    return {key: value.strip() for key, _, value in (s.partition(":") for s in text.splitlines())}


@as_root
def test_a_program_that_root_starts_as_another_user_has_no_right_of_roots() -> None:
    said = status(Identity.of_root(USER, USER + 1).prefix)
    assert said["Uid"].split() == [str(USER)] * 4
    assert said["Gid"].split() == [str(USER + 1)] * 4
    assert said["Groups"] == ""
    assert {int(said[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert said["NoNewPrivs"] == "1"


@as_root
def test_a_python_process_that_has_become_another_user_names_what_it_imports_late() -> None:
    script = (
        "import sys; from labkit.privileges import become_with_imports;"
        f"become_with_imports('{USER}:{USER}'); import colorsys"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert f"{privileges.LATE_IMPORT}: colorsys" in done.stderr


@as_root
def test_a_user_that_root_may_not_take_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.privileges.held_capabilities", lambda: 0)
    with pytest.raises(ClusterError, match=r"lacks CAP_CHOWN.*ordinary user"):
        Identity.of_root(USER, USER)


def test_the_servers_of_an_ordinary_user_are_its_own(tmp_path: Path) -> None:
    me = Identity(os.geteuid(), os.getegid())
    assert me.prefix == ()
    tool = Program("tool", tmp_path / "tool", (1,))
    assert reach.placed(tool, tmp_path, me) is tool


@as_root
def test_a_lab_of_roots_has_a_user_that_nothing_else_has() -> None:
    user = Identity.of_its_own()
    assert user.uid in OWN_UIDS
    with pytest.raises(KeyError):
        pwd.getpwuid(user.uid)
    assert user.uid not in {one.info["uids"].real for one in psutil.process_iter(["uids"])}


@as_root
def test_a_lab_of_roots_does_not_get_the_user_of_a_lab_that_is_stopped(
    closed: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkit.cluster.identity.OWN_UIDS", OWN_UIDS[:2])
    users = set()
    for name in ("one", "two"):
        lab = EmbeddedCluster.create(closed / name)
        reach.make_servers_folder(lab.home, lab.settings, lab.table.identity)
        users.add(lab.table.identity.uid)
    assert users == {*OWN_UIDS[:2]}
    with pytest.raises(ClusterError, match="no user is left"):
        EmbeddedCluster.create(closed / "three")


@as_root
def test_what_runs_as_the_labs_own_user_is_the_labs_without_a_look_at_its_environment(
    tmp_path: Path,
) -> None:
    table = ProcessTable(tmp_path / "processes", tmp_path / "log", "id", Identity.of_its_own())
    table.folder.mkdir()
    stray = subprocess.Popen([*table.identity.prefix, "sleep", "60"], env={})
    try:
        wait_until(lambda: strays.of_table(table) == [stray.pid], what="stray seen", timeout_s=10)
    finally:
        stray.kill()
        stray.wait()


@as_root
def test_another_lab_that_has_drawn_the_same_user_is_named_and_none_of_its_processes_is_ended(
    shared: Path,
) -> None:
    lab = EmbeddedCluster.create(shared / "lab")
    user = lab.table.identity
    theirs = {LAB_VARIABLE: "other", HOME_VARIABLE: "/srv/other"}
    # a server that PostgreSQL forks has written its title over what it carries
    running = [
        subprocess.Popen([*user.prefix, "sleep", "60"], env=carried) for carried in (theirs, {})
    ]
    try:
        wait_until(
            lambda: strays.other_lab_of(user, lab.settings.lab_id) == "/srv/other",
            what="the other lab seen",
            timeout_s=10,
        )
        assert strays.of_table(lab.table) == []
        with pytest.raises(ClusterError, match=rf"/srv/other runs as uid {user.uid}.*down --purge"):
            reach.make_servers_folder(lab.home, lab.settings, user)
    finally:
        for process in running:
            process.kill()
            process.wait()


@as_root
def test_the_first_data_directory_is_made_for_a_user_without_a_name(shared: Path) -> None:
    lab = EmbeddedCluster.create(shared / "lab")
    user = lab.table.identity
    user.make_folder(lab.layout.all_data, written=True)
    bin_dir = reach.placed(postgres(), lab.home, user).path.parent
    first_data.make(lab.layout, bin_dir, "secret", user)
    made = lab.layout.first_data
    assert (made / "PG_VERSION").read_text() == "18\n"
    assert {path.lstat().st_uid for path in (made, *made.rglob("*"))} == {user.uid}
    assert not list(lab.home.rglob("password"))


def test_a_user_without_a_name_is_told_so_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: USER)
    with pytest.raises(ClusterError, match=r"61999\) is not in /etc/passwd.*labkit:x:61999"):
        EmbeddedCluster.create(tmp_path / "lab")
    assert not (tmp_path / "lab").exists()
    assert doctor.user().level is Level.FAIL


def test_why_a_user_cannot_have_a_lab_is_said_without_an_environment() -> None:
    done = subprocess.run(
        ["/usr/bin/env", "-i", sys.executable, "-I", "-S", privileges.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{privileges.obstacle()}\n"


@as_root
def test_a_lab_in_a_folder_that_only_root_may_enter_has_its_servers_elsewhere(
    closed: Path, shared: Path
) -> None:
    lab = EmbeddedCluster.create(closed / "lab")
    user = lab.table.identity
    assert lab.layout.place.parent == shared / "labkit"
    reach.make_servers_folder(lab.home, lab.settings, user)
    assert user.may("-x", lab.layout.place)
    assert not Identity.of_root(USER, USER).may("-x", lab.layout.place)
    assert EmbeddedCluster.attach(lab.home).layout.place == lab.layout.place
    lab.purge()
    assert not lab.layout.place.exists()
    assert not lab.home.exists()


@as_root
def test_a_start_that_is_refused_for_a_full_disk_makes_no_folder_for_servers(
    closed: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = EmbeddedCluster.create(closed / "lab")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    with pytest.raises(ClusterError, match=r"has 0 MiB left"):
        lab._starter.prepare(9)
    assert list(shared.iterdir()) == []


@as_root
def test_the_umask_does_not_close_the_folder_of_the_servers(closed: Path, shared: Path) -> None:
    before = os.umask(0o077)
    try:
        lab = EmbeddedCluster.create(closed / "lab")
        reach.make_servers_folder(lab.home, lab.settings, lab.table.identity)
    finally:
        os.umask(before)
    assert lab.table.identity.may("-x", lab.layout.place)


def test_a_folder_for_servers_that_labkit_does_not_make_is_refused_and_not_removed(
    tmp_path: Path,
) -> None:
    """Whoever can write a lab.json could else have any folder removed by root."""
    home, precious = tmp_path / "home", tmp_path / "precious"
    precious.mkdir()
    made = EmbeddedCluster.create(home).settings
    for place in (precious, tmp_path / "labkit" / ".." / "labkit" / made.lab_id):
        made.model_copy(update={"servers_at": place}).save(home)
        with pytest.raises(LabMismatch, match=r"first: servers_at: \S+ is no folder"):
            EmbeddedCluster.attach(home)
    assert precious.exists()


def test_a_folder_for_servers_that_others_can_change_is_not_removed(tmp_path: Path) -> None:
    lab = EmbeddedCluster.create(tmp_path / "home")
    place = tmp_path / "labkit" / lab.settings.lab_id
    place.mkdir(parents=True)
    place.chmod(0o777)
    lab.settings.model_copy(update={"servers_at": place}).save(lab.home)
    with pytest.raises(ClusterError, match="root's alone"):
        EmbeddedCluster.attach(lab.home).purge()
    assert place.exists()
    assert (lab.home / "lab.json").exists()


@as_root
def test_a_lab_in_a_folder_that_its_servers_may_enter_has_them_there(shared: Path) -> None:
    lab = EmbeddedCluster.create(shared / "lab")
    assert lab.layout.place == lab.home
    assert lab.table.identity.may("-x", lab.home)
    assert not Identity.of_root(USER, USER).may("-x", lab.home)


@as_root
def test_a_lab_that_an_ordinary_user_made_is_not_started_by_root(
    closed: Path, shared: Path
) -> None:
    lab = EmbeddedCluster.create(closed / "lab")
    lab.settings.model_copy(update={"run_as": None, "servers_at": None}).save(lab.home)
    with pytest.raises(ClusterError, match=r"made by an ordinary user.*LABKIT_HOME"):
        EmbeddedCluster.attach(lab.home).start()


@as_root
def test_a_lab_that_nobody_but_root_can_reach_is_refused(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "ELSEWHERE", (closed,))
    with pytest.raises(ClusterError, match="set LABKIT_HOME"):
        EmbeddedCluster.create(closed / "lab")


@as_root
def test_a_folder_for_servers_that_somebody_else_made_is_refused(
    closed: Path, shared: Path
) -> None:
    lab = EmbeddedCluster.create(closed / "lab")
    (shared / "labkit").symlink_to("/etc")
    with pytest.raises(ClusterError, match="root's alone"):
        reach.make_servers_folder(lab.home, lab.settings, lab.table.identity)


@as_root
@pytest.mark.parametrize("find", [postgres, etcd, haproxy])
def test_a_program_of_an_environment_that_only_root_may_enter_runs_from_a_copy(
    find: object, shared: Path
) -> None:
    assert callable(find)
    user = Identity.of_root(USER, USER)
    copy = reach.placed(find(), shared, user)
    assert copy.path.is_relative_to(shared)
    assert user.run(copy.path, "-v" if copy.name == "haproxy" else "--version").returncode == 0
    for path in copy.root.rglob("*"):
        assert path.stat().st_uid == 0
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022
    assert reach.placed(find(), shared, user) == copy


@as_root
def test_a_program_on_path_is_copied_only_when_it_is_out_of_reach(
    closed: Path, shared: Path
) -> None:
    user = Identity.of_root(USER, USER)
    machines = Program("sh", Path("/bin/sh"), (1,))
    assert reach.placed(machines, shared, user) is machines
    tool = closed / "tool"
    tool.write_text("#!/bin/sh\necho works\n")
    tool.chmod(0o700)
    copy = reach.placed(Program("tool", tool, (1,)), shared, user)
    assert user.run(copy.path).stdout == "works\n"
