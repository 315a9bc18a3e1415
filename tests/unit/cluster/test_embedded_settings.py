import json
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.settings import Secrets, Settings
from labkit.cluster.folder import write_whole
from labkit.cluster.settings import FORMAT
from labkit.errors import ClusterError, LabMismatch, NotRunning, TopologyError
from labkit.topology import DEFAULT, SurvivalGoal, Topology

TWO_REGIONS = Topology.model_validate(
    {
        "region": [{"name": "left"}, {"name": "right"}],
        "link": [{"between": ("left", "right"), "rtt_ms": 10}],
        "survive": "zone",
    }
)


def test_a_lab_is_found_again_with_the_settings_it_was_made_with(tmp_path):
    made = EmbeddedCluster.create(tmp_path / "lab", topology=TWO_REGIONS, wan=False, port_base=5000)
    found = EmbeddedCluster.attach(tmp_path / "lab")
    assert found.settings == made.settings
    assert found.topology == TWO_REGIONS


def test_attaching_where_no_lab_is_says_how_to_make_one(tmp_path):
    with pytest.raises(NotRunning, match="labkit up"):
        EmbeddedCluster.attach(tmp_path)


@pytest.mark.parametrize(
    "asked", [{"wan": False}, {"port_base": 5000}, {"topology": TWO_REGIONS}], ids=str
)
def test_another_setting_than_the_labs_is_refused_and_nothing_changes(tmp_path, asked):
    lab = EmbeddedCluster.create(tmp_path)
    lab.layout.processes.mkdir()  # it was started
    with pytest.raises(LabMismatch, match=next(iter(asked)).replace("_", " ")):
        EmbeddedCluster.create(tmp_path, **asked)
    assert EmbeddedCluster.attach(tmp_path).settings == lab.settings


def test_the_survival_goal_of_a_stopped_lab_is_taken_over(tmp_path):
    EmbeddedCluster.create(tmp_path)
    lab = EmbeddedCluster.create(tmp_path, survive=SurvivalGoal.ZONE)
    assert lab.survival_goal() is SurvivalGoal.ZONE
    assert EmbeddedCluster.attach(tmp_path).survival_goal() is SurvivalGoal.ZONE


def test_a_goal_the_shape_cannot_give_makes_no_lab(tmp_path):
    with pytest.raises(TopologyError, match="at least 3 regions"):
        EmbeddedCluster.create(tmp_path, topology=TWO_REGIONS, survive=SurvivalGoal.REGION)
    with pytest.raises(NotRunning):
        EmbeddedCluster.attach(tmp_path)


def test_a_lab_of_another_format_is_left_alone_and_named(tmp_path):
    data = json.loads(Settings().model_dump_json(by_alias=True))
    data |= {"format": FORMAT + 1, "labkit": "9.9", "something_new": 1}
    (tmp_path / "lab.json").write_text(json.dumps(data))
    with pytest.raises(LabMismatch, match=r"labkit 9\.9"):
        EmbeddedCluster.attach(tmp_path)


def test_a_broken_settings_file_is_one_clear_line(tmp_path):
    (tmp_path / "lab.json").write_text("{not json")
    with pytest.raises(LabMismatch, match=r"lab\.json cannot be read"):
        EmbeddedCluster.attach(tmp_path)


def test_the_state_folder_is_closed_to_other_users(tmp_path):
    lab = EmbeddedCluster.create(tmp_path / "lab")
    Secrets.load(lab.home)
    # root's servers, whose group it has, pass through to what they read
    assert stat.S_IMODE(lab.home.stat().st_mode) == (0o710 if os.geteuid() == 0 else 0o700)
    assert stat.S_IMODE((lab.home / "secrets.json").stat().st_mode) == 0o600


def test_every_lab_has_passwords_of_its_own_and_keeps_them(tmp_path):
    first, second = Secrets.load(tmp_path), Secrets.load(tmp_path)
    assert first == second
    assert first != Secrets()
    assert len({str(value) for value in first.model_dump().values()}) == len(first.model_dump())


def test_a_dsn_names_a_password_file_and_no_password(tmp_path):
    lab = EmbeddedCluster.create(tmp_path)
    assert lab.password() not in lab.dsn("us-west-2")
    assert f"passfile={tmp_path}/pgpass" in lab.dsn("us-west-2")


def test_the_default_topology_survives_a_region():
    assert DEFAULT.survive is SurvivalGoal.REGION


def test_a_file_that_cannot_be_written_is_one_clear_error_and_keeps_its_old_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lab.json"
    write_whole(path, "old")
    with pytest.raises(ClusterError, match="cannot be written"), no_space_left():
        write_whole(path, "new" * 100_000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def no_space_left() -> Iterator[None]:
    """Files may not grow beyond 1 kB: what a full disk is to a writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_lab_that_died_can_be_healed_and_one_that_was_taken_down_is_stopped(
    tmp_path, monkeypatch
):
    lab = EmbeddedCluster.create(tmp_path)
    started = []
    monkeypatch.setattr(lab, "start", started.append)
    with pytest.raises(NotRunning, match="labkit up"):
        lab.heal()
    lab.layout.processes.mkdir()
    dead = {"name": "wan", "pid": 1, "started": 0.5, "argv": []}
    (lab.layout.processes / "wan.json").write_text(json.dumps(dead))
    lab.heal()
    assert len(started) == 1
    with pytest.raises(NotRunning, match="labkit up"):
        lab.add_node("us-west-2")
