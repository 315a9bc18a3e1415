"""`labkit demo` starts nothing where it could not keep the run, and removes what it started."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import labkit.demo
from labkit.assets import require_runs_folder
from labkit.demo import temporary_lab
from labkit.errors import BadInput, ClusterError, LabBusy, PortInUse
from labkit.testing import FakeCluster


def test_runs_that_cannot_be_kept_are_refused_before_a_lab_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "file" / "runs"))
    monkeypatch.setattr(labkit.demo, "temporary_lab", lambda *_: pytest.fail("it was started"))
    with pytest.raises(BadInput, match=r"file cannot be written to: set LABKIT_RUNS"):
        labkit.demo.demo()


def test_a_folder_of_runs_that_is_not_there_yet_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "not" / "yet"))
    require_runs_folder()
    assert not (tmp_path / "not").exists()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    cluster = FakeCluster()
    monkeypatch.setattr(labkit.demo, "create", lambda **_: cluster)
    monkeypatch.setattr(labkit.demo, "bring_up", lambda lab, _: lab.start())
    monkeypatch.setenv("LABKIT_HOME", "/of/the/user")
    return cluster


def refuse(error: BaseException) -> Callable[..., None]:
    def do(*_: object) -> None:
        raise error

    return do


def test_a_temporary_lab_is_removed_whether_its_block_ends_or_fails(fake: FakeCluster) -> None:
    with temporary_lab():
        assert os.environ["LABKIT_HOME"] != "/of/the/user"
    with pytest.raises(ValueError, match="of the block"), temporary_lab():
        raise ValueError("of the block")
    ends = [call.action for call in fake.calls if call.action != "start"]
    assert ends == ["stop", "purge"] * 2
    assert os.environ["LABKIT_HOME"] == "/of/the/user"


def test_an_error_of_the_block_is_not_replaced_by_one_of_the_removal(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "stop", refuse(ClusterError("a process does not end")))
    with pytest.raises(ValueError, match="of the block") as caught, temporary_lab():
        raise ValueError("of the block")
    said, next_step = caught.value.__notes__
    assert said == "a process does not end"
    assert re.match(r"`LABKIT_HOME=/\S+ labkit down --purge`", next_step)
    assert os.environ["LABKIT_HOME"] == "/of/the/user"


def test_an_error_of_the_start_is_not_replaced_by_one_of_the_removal(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labkit.demo, "bring_up", refuse(ClusterError("no etcd")))
    monkeypatch.setattr(fake, "stop", refuse(OSError("the disk is gone")))
    with pytest.raises(ClusterError, match="no etcd") as caught, temporary_lab():
        pytest.fail("there is no lab")
    assert caught.value.__notes__[0] == "the disk is gone"


def test_a_removal_that_fails_alone_says_how_to_repeat_it(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "stop", refuse(ClusterError("a process does not end")))
    with pytest.raises(ClusterError, match="does not end") as caught, temporary_lab():
        pass
    assert "labkit down --purge" in caught.value.__notes__[0]


def test_a_lab_that_its_watchdog_is_still_healing_is_removed_after_that(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, really_stop = [True, True], fake.stop

    def stop() -> None:
        if busy:
            busy.pop()
            raise LabBusy("another labkit command is changing the lab")
        really_stop()

    monkeypatch.setattr(fake, "stop", stop)
    with pytest.raises(ValueError, match="of the block") as caught, temporary_lab():
        raise ValueError("of the block")
    assert not hasattr(caught.value, "__notes__")
    assert fake.calls[-1].action == "purge"


def test_a_temporary_lab_takes_the_next_ports_when_some_are_taken(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def create(port_base: int) -> FakeCluster:
        tried.append(port_base)
        return fake

    def bring_up(cluster: FakeCluster, _: object) -> None:
        if len(tried) < 3:
            raise PortInUse("taken")
        cluster.start()

    monkeypatch.setattr(labkit.demo, "create", create)
    monkeypatch.setattr(labkit.demo, "bring_up", bring_up)
    with temporary_lab():
        assert tried == [21000, 22000, 23000]
