"""The copy of the notebooks that people work on: what is theirs stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import labkit

from labkit.errors import RunError
from labkit.notebooks import COPIED, copy_notebooks, users_folder

A, B = "00_a.ipynb", "01_b.ipynb"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks that labkit ships."""
    folder = tmp_path / "installed" / "notebooks"
    folder.mkdir(parents=True)
    for name in (A, B):
        (folder / name).write_text(f"{name} of the first release")
    (folder / "Untitled.ipynb").write_text("nobody's")
    monkeypatch.setattr("labkit.notebooks.asset", lambda *parts: folder)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "home" / "labkit-notebooks"


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != COPIED}


def test_the_first_time_every_notebook_is_copied_and_nothing_else(
    shipped: Path, mine: Path
) -> None:
    assert copy_notebooks(mine).new == (A, B)
    assert content(mine) == {name: f"{name} of the first release" for name in (A, B)}
    again = copy_notebooks(mine)
    assert (again.new, again.renewed, again.beside) == ((), (), {})


def test_an_upgrade_renews_what_nobody_changed_and_puts_the_rest_beside(
    shipped: Path, mine: Path
) -> None:
    copy_notebooks(mine)
    (mine / A).write_text("my work")
    (mine / "mine.ipynb").write_text("my notebook")
    for name in (A, B):
        (shipped / name).write_text(f"{name} of the second release")
    (shipped / "02_c.ipynb").write_text("new in the second release")
    done = copy_notebooks(mine)
    assert (done.new, done.renewed) == (("02_c.ipynb",), (B,))
    assert done.beside
    [(yours, newer)] = done.beside.items()
    assert yours == A
    assert content(mine) == {
        A: "my work",
        newer: f"{A} of the second release",
        B: f"{B} of the second release",
        "02_c.ipynb": "new in the second release",
        "mine.ipynb": "my notebook",
    }


def test_a_newer_notebook_is_put_beside_once(shipped: Path, mine: Path) -> None:
    copy_notebooks(mine)
    (mine / A).write_text("my work")
    (shipped / A).write_text("second release")
    assert copy_notebooks(mine).beside
    for path in mine.glob("*.newer-*"):
        path.unlink()  # its reader has seen it
    assert not copy_notebooks(mine).beside
    (shipped / A).write_text("third release")
    assert copy_notebooks(mine).beside
    assert (mine / A).read_text() == "my work"


def test_work_in_a_notebook_put_beside_stays_too(shipped: Path, mine: Path) -> None:
    copy_notebooks(mine)
    (mine / A).write_text("my work")
    (shipped / A).write_text("second release")
    done = copy_notebooks(mine)
    assert done.beside
    (mine / done.beside[A]).write_text("more work")
    (mine / COPIED).unlink()
    copy_notebooks(mine)
    assert (mine / done.beside[A]).read_text() == "more work"


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"00_a.ipynb": 3}', "\x00\xff"])
def test_without_labkits_record_every_file_counts_as_the_users(
    shipped: Path, mine: Path, damage: str
) -> None:
    mine.mkdir(parents=True)
    (mine / A).write_text("my work")
    (mine / COPIED).write_text(damage)
    assert copy_notebooks(mine).new == (B,)
    assert (mine / A).read_text() == "my work"
    assert json.loads((mine / COPIED).read_text()).keys() == {A, B}


def test_links_and_folders_of_a_notebooks_name_are_left_alone(
    shipped: Path, mine: Path, tmp_path: Path
) -> None:
    copy_notebooks(mine)
    elsewhere = tmp_path / "elsewhere.ipynb"
    (mine / A).rename(elsewhere)
    (mine / A).symlink_to(elsewhere)
    (mine / B).unlink()
    (mine / B).mkdir()
    for name in (A, B):
        (shipped / name).write_text("second release")
    copy_notebooks(mine)
    assert (mine / A).is_symlink()
    assert (mine / B).is_dir()
    assert elsewhere.read_text() == f"{A} of the first release"


def test_a_link_to_nowhere_is_the_users_too(shipped: Path, mine: Path) -> None:
    mine.mkdir(parents=True)
    (mine / A).symlink_to("/nonexistent")
    copy_notebooks(mine)
    assert (mine / A).readlink() == Path("/nonexistent")


@pytest.mark.parametrize("place", ["/proc/labkit-notebooks", "/dev/null/x", "/dev/null"])
def test_a_folder_that_cannot_be_made_is_one_line(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_NOTEBOOKS", place)
    done = labkit("notebook", "--no-browser")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert place in done.stderr
    assert "LABKIT_NOTEBOOKS=FOLDER" in done.stderr


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def expanduser(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LABKIT_NOTEBOOKS", raising=False)
    monkeypatch.setattr(Path, "expanduser", expanduser)
    with pytest.raises(RunError, match="no home"):
        users_folder()


def test_a_folder_that_is_named_is_opened_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Path] = []
    monkeypatch.setattr(
        "labkit.ui.notebook_server.serve_notebooks", lambda folder, **_: served.append(folder)
    )
    monkeypatch.chdir(tmp_path)
    assert labkit("notebook", ".", "--no-browser").exit_code == 0
    assert served == [tmp_path]
    assert list(tmp_path.iterdir()) == []
    refused = labkit("notebook", "nothing-here")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
