"""State folders: whose they are, and what a removal takes and leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.cluster import folder
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.errors import BadInput, ClusterError
from labkit.topology import DEFAULT

REGIONS = DEFAULT.region_names
BACKENDS = [EmbeddedCluster, BinaryCluster, ComposeCluster]

WRITTEN = (
    "lab.json",
    "secrets.json",
    "pgpass",
    "served",
    "lock",
    "run.json",
    ".lab.json.4711",
    "processes/us-west-2-1.json",
    "processes/.wan.json.12",
    "watchdogs/4711.json",
    "log/members.log",
    "log/haproxy.eu-west-1.log",
    "run/us-east-1.sock",
    "conf/eu-west-1-3.yml",
    "conf/eu-west-1-3.pgpass",
    "conf/haproxy.us-west-2.cfg",
    "conf/haproxy-us-west-2.cfg",
    "conf/wan.json",
    "data/us-west-2-1/PG_VERSION",
    "data/us-west-2-1/base/1/2",
    "data/crdb2-eu-west-1/MANIFEST",
    "data/.first/PG_VERSION",
    "initdb.4711/data/PG_VERSION",
    "etcd/us-west-2/member/snap/db",
    "compose/cockroachdb.yml",
    "compose/labkit/wan/plan.py",
    "certs/ca.crt",
    "node-certs/node.key",
    "authority/ca.key",
)
"""What labs of every backend leave, an example of each kind."""


def fill(home: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"what is in {name}")


def everything(home: Path) -> dict[str, bytes | str]:
    """Every file, folder and link under a folder, with what is in it."""
    found: dict[str, bytes | str] = {}
    for path in home.rglob("*"):
        name = str(path.relative_to(home))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else "folder"
    return found


# whose a folder is


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "theirs", ["notes.txt", "data/PG_VERSION", "etcd/member/wal", "lock", ".bashrc", "log/x.log"]
)
def test_a_folder_that_holds_somebodys_files_is_refused_and_not_touched(tmp_path, backend, theirs):
    fill(tmp_path, (theirs,))
    before, mode = everything(tmp_path), tmp_path.stat().st_mode
    with pytest.raises(BadInput) as refused:
        backend.create(tmp_path)
    assert theirs.partition("/")[0] in str(refused.value)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert everything(tmp_path) == before
    assert tmp_path.stat().st_mode == mode


def test_only_some_of_many_names_are_listed(tmp_path):
    fill(tmp_path, tuple(f"{number}.txt" for number in range(9)))
    with pytest.raises(BadInput, match=r"0\.txt, 1\.txt, .* and 4 more\)"):
        EmbeddedCluster.create(tmp_path)


def test_a_lab_json_that_is_not_labkits_is_refused_and_not_touched(tmp_path):
    (tmp_path / "lab.json").write_text('{"experiment": "mice"}')
    with pytest.raises(ClusterError, match=r"lab\.json"):
        EmbeddedCluster.create(tmp_path)
    assert everything(tmp_path) == {"lab.json": b'{"experiment": "mice"}'}


@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a file"])
def test_what_is_no_folder_is_refused(tmp_path, kind):
    home = tmp_path / "home"
    if kind == "file":
        home.write_text("mine")
    else:
        home.symlink_to(tmp_path / "target")
        if kind == "link to a file":
            (tmp_path / "target").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(BadInput, match="is not a folder"):
        EmbeddedCluster.create(home)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("there", [(), ("lost+found",), (".lab.json.77",), None])
def test_an_empty_or_new_folder_becomes_a_state_folder(tmp_path, there):
    home = tmp_path / "home"
    if there is not None:
        home.mkdir(mode=0o755)
        for name in there:
            (home / name).mkdir()
    assert EmbeddedCluster.create(home).home == home
    assert home.stat().st_mode & 0o707 == 0o700  # root lets its servers pass through
    assert EmbeddedCluster.create(home).settings == EmbeddedCluster.attach(home).settings


def test_a_link_to_an_empty_folder_becomes_one_too(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    lab = EmbeddedCluster.create(tmp_path / "home")
    assert lab.purge() == ()
    assert everything(tmp_path) == {"disk": "folder", "home": "-> disk"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("link", [False, True])
def test_an_empty_folder_that_was_there_before_its_lab_is_afterwards_as_it_was(
    tmp_path, backend, link
):
    (tmp_path / "disk").mkdir(mode=0o755)
    home = tmp_path / "disk"
    if link:
        home = tmp_path / "home"
        home.symlink_to("disk")
    before = home.stat()
    backend.create(home)
    backend.create(home, wan=False)  # made again as it is asked for
    assert home.stat().st_mode & 0o007 == 0
    assert backend.attach(home).forget_unused()
    after = home.stat()
    assert everything(home) == {}
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)


def test_a_folder_that_a_killed_command_made_is_removed_with_the_next_lab(tmp_path):
    home = tmp_path / "home"
    fill(home, (".lab.json.4711",))
    assert EmbeddedCluster.create(home).purge() == ()
    assert not home.exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_lab_whose_settings_cannot_be_written_leaves_nothing(tmp_path, monkeypatch, there):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    home = tmp_path / "home"
    if there:
        home.mkdir(mode=0o755)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ClusterError, match="is the disk full"):
        EmbeddedCluster.create(home)
    assert home.exists() == there
    assert not there or (everything(home), home.stat().st_mode & 0o777) == ({}, 0o755)


# whose folder root may use

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone is refused")


@as_root
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("theirs", ["home", "parent", "link", "target", "by mode", "sticky"])
def test_root_uses_no_state_folder_that_another_user_could_replace_by_a_link(
    tmp_path, backend, theirs
):
    parent = tmp_path / "parent"
    home = parent / "home"
    parent.mkdir()
    if theirs in ("link", "target"):
        (tmp_path / "disk").mkdir()
        home.symlink_to(tmp_path / "disk")
    else:
        home.mkdir()
    if theirs in ("by mode", "sticky"):
        what = parent if theirs == "by mode" else home
        what.chmod(0o1777 if theirs == "sticky" else 0o775)
        os.chown(what, 0, 61_999)
    else:
        what = {"home": home, "parent": parent, "link": home, "target": tmp_path / "disk"}[theirs]
        os.chown(what, 61_999, 61_999, follow_symlinks=False)
    before = everything(tmp_path)
    for use in (backend.create, backend.attach):
        with pytest.raises(BadInput, match=r"could lead root's files elsewhere.*LABKIT_HOME") as no:
            use(home)
        assert str(what) in str(no.value)
    assert everything(tmp_path) == before


@as_root
def test_root_uses_a_folder_of_its_own_in_one_where_everybody_may_make_some(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    home = tmp_path / "tmp" / "home"
    assert EmbeddedCluster.create(home).home == home


def test_a_lab_that_was_never_started_gives_way_in_the_folder_that_it_locked(tmp_path):
    home = tmp_path / "home"
    lab = EmbeddedCluster.create(home)
    with folder.locked(home):
        pass
    assert lab.forget_unused()
    assert BinaryCluster.create(home).backend == "cockroach-binary"


# what a removal takes


def test_all_that_labkit_wrote_is_removed_and_the_folder_with_it(tmp_path):
    home = tmp_path / "home"
    fill(home, WRITTEN)
    assert folder.remove(home, REGIONS) == ()
    assert not home.exists()


def test_what_is_not_labkits_is_left_and_named(tmp_path):
    theirs = (
        "notes.txt",
        "data/mine.txt",
        "data/us-west-2/1",  # no node is called so
        "data/mars-1/base",  # nor so
        "etcd/mars/member/wal",
        "conf/deep/er/x.yml",
        "log/notes.md",
        "sub/data/us-west-2-1/PG_VERSION",
        "compose/override.yml",
        "runs/20260101T000000Z-x-embedded/report.html",
    )
    fill(tmp_path, (*WRITTEN, *theirs))
    left = folder.remove(tmp_path, REGIONS)
    assert set(files_of(tmp_path)) == set(theirs)
    for name in theirs:
        assert (tmp_path / name).read_text() == f"what is in {name}"
        assert any(name == one or (one[-1] == "/" and name.startswith(one)) for one in left), name


@pytest.mark.parametrize(
    "name", ["data", "etcd", "data/us-west-2-1", "conf", "log/wan.log", "pgpass", "x", "processes"]
)
def test_no_link_is_followed_or_removed(tmp_path, name):
    home, precious = tmp_path / "home", tmp_path / "precious"
    fill(precious, ("us-west-2-1/PG_VERSION", "us-west-2/member/wal", "wan.json", "wan.log"))
    before = everything(precious)
    fill(home, ("lab.json",))
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).symlink_to(precious)
    assert folder.remove(home, REGIONS) == (name,)
    assert (home / name).is_symlink()
    assert everything(precious) == before


def test_a_link_inside_a_data_directory_is_not_followed(tmp_path):
    """PostgreSQL keeps tablespaces behind links of `pg_tblspc`."""
    home, precious = tmp_path / "home", tmp_path / "precious"
    fill(precious, ("table",))
    fill(home, WRITTEN)
    (home / "data" / "us-west-2-1" / "16384").symlink_to(precious)
    assert folder.remove(home, REGIONS) == ()
    assert (precious / "table").read_text() == "what is in table"


def test_the_data_of_a_first_start_is_removed_and_nothing_else(tmp_path):
    theirs = ("data/mine.txt", "etcd/notes/x", "conf/wan.json")
    ours = ("data/us-west-2-1/PG_VERSION", "data/.first/PG_VERSION", "etcd/us-west-2/member/wal")
    fill(tmp_path, (*theirs, *ours))
    folder.remove_data(tmp_path, REGIONS)
    assert set(files_of(tmp_path)) == set(theirs)


@pytest.mark.parametrize("name", ["data", "etcd", "data/us-west-2-1"])
def test_a_first_start_is_refused_where_its_data_would_go_through_a_link(tmp_path, name):
    home, precious = tmp_path / "home", tmp_path / "precious"
    fill(precious, ("us-west-2-1/PG_VERSION",))
    (home / name).parent.mkdir(parents=True)
    (home / name).symlink_to(precious)
    before = everything(tmp_path)
    with pytest.raises(ClusterError, match="move it away"):
        folder.remove_data(home, REGIONS)
    assert everything(tmp_path) == before


NAMES = st.sampled_from(
    ["data", "etcd", "conf", "log", "us-west-2-1", "us-west-2", "a.yml", "wan.json", "lab.json"]
) | st.text("abc.-_ \n\u00e9", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(theirs=st.sets(PATHS, max_size=8))
def test_whatever_stands_beside_a_lab_is_left_byte_by_byte(tmp_path_factory, theirs):
    home = tmp_path_factory.mktemp("home")
    fill(home, WRITTEN)
    ours = {*everything(home)}
    for name in theirs:
        try:
            fill(home, (name,))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # a file stands where a folder would have to
    made = {name: what for name, what in files_of(home).items() if name not in ours}
    known, trees = folder._patterns(folder.FILES, REGIONS), folder._patterns(folder.TREES, REGIONS)
    kept = {
        name
        for name in made
        if not known.fullmatch(name) and not any(trees.fullmatch(part) for part in heads(name))
    }
    left = folder.remove(home, REGIONS)
    assert files_of(home) == {name: made[name] for name in kept}
    assert bool(left) == bool(kept)
    assert home.exists() == bool(kept)


def files_of(home: Path) -> dict[str, bytes | str]:
    return {name: what for name, what in everything(home).items() if what != "folder"}


def heads(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_cannot_be_removed_is_named(tmp_path):
    fill(tmp_path / "home", WRITTEN)
    (tmp_path / "home" / "conf").chmod(0o500)
    try:
        with pytest.raises(ClusterError, match="cannot be removed"):
            folder.remove(tmp_path / "home", REGIONS)
    finally:
        (tmp_path / "home" / "conf").chmod(0o700)
