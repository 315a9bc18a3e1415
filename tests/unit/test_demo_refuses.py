"""`labkit demo` starts nothing where it could not keep the run."""

from pathlib import Path

import pytest

import labkit.demo
from labkit.assets import require_runs_folder
from labkit.errors import BadInput


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
