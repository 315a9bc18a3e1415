"""A lab in containers is made, found again, and held to what it was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import labkit.cluster
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.containers.settings import Settings
from labkit.errors import BadInput, LabMismatch, TopologyError
from labkit.topology import SurvivalGoal


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.delenv("COCKROACH_VERSION", raising=False)
    return tmp_path / "lab"


def was_started(lab: object) -> ComposeCluster:
    """As a lab is whose first start has come as far as its Compose file."""
    assert isinstance(lab, ComposeCluster)
    lab._compose.file.parent.mkdir()
    lab._compose.file.touch()
    return lab


def test_a_lab_is_found_again_as_it_was_made(home: Path) -> None:
    made = labkit.cluster.create("cockroachdb", wan=False, port_base=30000)
    found = labkit.cluster.attach()
    assert isinstance(made, ComposeCluster)
    assert isinstance(found, ComposeCluster)
    assert found.settings == made.settings
    assert json.loads((home / "lab.json").read_text())["backend"] == "cockroachdb"
    assert not found.settings.wan


@pytest.mark.parametrize("other", [{"wan": False}, {"port_base": 30000}, {"secure": True}])
def test_another_setting_than_the_labs_is_refused(home: Path, other: dict[str, Any]) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    with pytest.raises(LabMismatch, match="down --purge"):
        labkit.cluster.create("cockroachdb", **other)


def test_another_version_than_the_labs_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    monkeypatch.setenv("COCKROACH_VERSION", "v26.2.0")
    with pytest.raises(LabMismatch, match="differs in its version"):
        labkit.cluster.create()


def test_an_image_that_could_not_be_pulled_is_replaced_by_the_one_that_is_named_next(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = labkit.cluster.create("cockroachdb")
    monkeypatch.setenv("HAPROXY_IMAGE", "mirror.example/haproxy:3.2")
    again = labkit.cluster.create("cockroachdb")
    assert isinstance(again, ComposeCluster)
    assert "mirror.example/haproxy:3.2" in again.settings.image_names
    assert again.settings.lab_id == was_started(lab).settings.lab_id
    monkeypatch.setenv("HAPROXY_IMAGE", "haproxy:3.0")
    with pytest.raises(LabMismatch, match="differs in its images"):
        labkit.cluster.create("cockroachdb")


def test_another_backend_than_the_labs_is_refused(home: Path) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    with pytest.raises(LabMismatch, match="cockroachdb backend"):
        labkit.cluster.create("embedded")
    assert isinstance(labkit.cluster.create(), ComposeCluster)


def test_a_lab_that_never_was_started_gives_way_to_what_may_work_here(home: Path) -> None:
    first = labkit.cluster.create("cockroachdb", wan=False)
    again = labkit.cluster.create("cockroachdb", port_base=30000)
    assert isinstance(first, ComposeCluster)
    assert isinstance(again, ComposeCluster)
    assert again.settings == first.settings.model_copy(update={"port_base": 30000})
    assert again.secrets
    other = labkit.cluster.create("embedded")
    assert other.backend == "embedded"
    assert "cockroach" not in (home / "lab.json").read_text()
    assert not (home / "secrets.json").exists()


def test_a_goal_weaker_than_a_majority_does_not_exist(home: Path) -> None:
    with pytest.raises(TopologyError, match="always waits for a majority"):
        labkit.cluster.create("cockroachdb", survive=SurvivalGoal.NONE)


def test_the_embedded_backend_cannot_be_secured(home: Path) -> None:
    with pytest.raises(BadInput, match="--secure"):
        labkit.cluster.create("embedded", secure=True)
    assert not home.exists()


def test_a_second_lab_has_a_project_of_its_own(home: Path, tmp_path: Path) -> None:
    first = ComposeCluster.create(tmp_path / "one").settings
    second = ComposeCluster.create(tmp_path / "two").settings
    assert len({first.project, second.project, "labkit"}) == 3


def test_dsns_differ_and_hold_no_password(home: Path) -> None:
    for lab in (
        ComposeCluster.create(home / "insecure"),
        ComposeCluster.create(home / "secure", secure=True),
    ):
        assert lab.secrets.trader not in lab.dsn("us-west-2")
        assert "follower_reads" in lab.dsn("us-west-2", read_only=True)
        assert "follower_reads" not in lab.dsn("us-west-2")
    assert "passfile=" in lab.dsn("us-west-2")


def test_settings_of_another_format_are_refused(home: Path) -> None:
    home.mkdir()
    Settings(project="labkit", format=99).save(home)
    with pytest.raises(LabMismatch, match="state format 99"):
        Settings.load(home)
