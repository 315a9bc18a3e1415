from __future__ import annotations

from pathlib import Path

import plotly
import pytest

from labkit.ui.assets import ensure_plotly_module


def test_the_module_is_the_installed_plotly_and_exports_it(tmp_path: Path) -> None:
    module = ensure_plotly_module((tmp_path,))
    text = module.read_text()
    assert module.name.startswith(f"plotly-{plotly.__version__}-")
    assert module.suffix == ".mjs"
    assert "* plotly.js v" in text
    assert text.endswith("export default module.exports;\n")


def test_a_second_call_finds_the_same_file_and_writes_nothing(tmp_path: Path) -> None:
    module = ensure_plotly_module((tmp_path,))
    written = module.stat().st_ino
    assert ensure_plotly_module((tmp_path,)) == module
    assert module.stat().st_ino == written
    assert list(tmp_path.iterdir()) == [module]


def test_it_goes_to_the_next_folder_where_the_first_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    module = ensure_plotly_module((tmp_path / "file" / "labkit", tmp_path / "user" / "labkit"))
    assert module.parent == tmp_path / "user" / "labkit"


def test_it_is_found_where_it_stands_already(tmp_path: Path) -> None:
    module = ensure_plotly_module((tmp_path / "user",))
    assert ensure_plotly_module((tmp_path / "environment", tmp_path / "user")) == module


def test_no_writable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        ensure_plotly_module((tmp_path / "file" / "labkit",))


def test_a_write_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        ensure_plotly_module((tmp_path,))
    assert list(tmp_path.iterdir()) == []
