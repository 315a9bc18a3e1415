"""What the tests of pages share."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import nbformat
import psutil
from playwright.sync_api import ConsoleMessage, Page, Request
from ports import free_port

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


SERVE = """
import sys
from pathlib import Path
from labkit.ui import page_server
page_server.CLOSED_S = int(sys.argv[3])
page_server.serve_page(Path(sys.argv[1]), port=int(sys.argv[2]), browser=False, on_ready=print)
"""
"""A page that counts as closed after its third argument's seconds; `labkit desk` waits longer."""


def page_server(notebook: Path, closed_s: int) -> list[str]:
    """The command that serves a notebook as `labkit desk` does its own."""
    # -P: as of a command, nothing is imported from here; -u: somebody waits for its first line
    return [sys.executable, "-Pu", "-c", SERVE, str(notebook), str(free_port()), str(closed_s)]


@contextmanager
def served(command: list[str], env: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of pages until the block ends; its URL is in the first line with one."""
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout
            url = next(
                word for line in process.stdout for word in line.split() if word.startswith("http:")
            )
            yield url, process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def kernels(pid: int) -> list[psutil.Process]:
    """A server's kernels; what they started for the lab is the lab's."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # of a zombie the command line is gone, too
            if "ipykernel_launcher" in child.cmdline():
                found.append(child)
    return found
