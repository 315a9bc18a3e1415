"""What the tests of pages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import httpx
import nbformat
from playwright.sync_api import ConsoleMessage, Page, Request

TIMEOUT_S = 120.0
"""Generous: a cold JupyterLab on a busy machine of two cores takes half a minute."""

CELLS = (
    "import threading, feed\nfrom labkit.ui.live_board import LiveBoard\nboard = LiveBoard()",
    "threading.Thread(target=feed.feed, args=(board,), daemon=True).start()\nboard",
)


@dataclass
class Watched:
    """A page, and what it asked and complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def on_request(self, request: Request) -> None:
        if request.url.split(":")[0] not in ("data", "blob"):
            self.requests.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def left_the_machine(self) -> list[str]:
        return [url for url in self.requests if httpx.URL(url).host != "127.0.0.1"]


@dataclass
class Folder:
    """A notebook and, beside it, the files by which a test tells its feed what to do."""

    path: Path

    def write(self, name: str, *cells: str) -> Path:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        path = self.path / name
        nbformat.write(notebook, path)
        return path

    def say(self, word: str) -> None:
        (self.path / word).touch()

    def samples(self) -> int:
        """How many the feed has given to the board."""
        path = self.path / "samples"
        return path.stat().st_size if path.exists() else 0
