"""How the desk's page gets into a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from urllib.request import url2pathname

import pytest

from labkit.clock import wait_until
from labkit.ui.page_server import open_in_browser


def test_the_browsers_command_line_has_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    url = "http://127.0.0.1:8866/path/?token=secret"
    open_in_browser(url, tmp_path)
    wait_until(lambda: opened, what="a browser", timeout_s=10)
    [way] = opened
    assert "secret" not in way
    assert url in Path(url2pathname(way.removeprefix("file:"))).read_text()
