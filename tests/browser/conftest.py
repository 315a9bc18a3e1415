"""Chromium, and the two servers that show a notebook, each on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chromium import NEEDED, chromium
from pages import CELLS, TIMEOUT_S, Folder, Watched
from playwright.sync_api import Browser
from ports import free_port

from labkit.clock import wait_until

DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests; skip them in one line where there is no Chromium."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(NEEDED)


@pytest.fixture(scope="module")  # while it is there, an event loop runs in this thread
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def watched(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1400, "height": 1100})
    context.set_default_timeout(TIMEOUT_S * 1000)
    watched = Watched(context.new_page())
    watched.page.on("request", watched.on_request)
    watched.page.on("console", watched.on_console)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    yield watched
    watched.page.screenshot(path=tmp_path / "page.png")  # the first thing to look at on a failure
    context.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "notebooks"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def jupyter_env(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the user's Jupyter settings or kernels counts."""
    token = secrets.token_urlsafe()
    # voila takes its token from a file; neither server's is in argv, which everybody can read
    (tmp_path / "config").mkdir(mode=0o700)
    (tmp_path / "config" / "voila.json").write_text(json.dumps({"Voila": {"token": token}}))
    return os.environ | {
        "HOME": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_TOKEN": token,
        "PYTHONPATH": str(Path(__file__).parent),
    }


def serve(
    module: str, args: list[str], ready_path: str, env: dict[str, str], cwd: Path
) -> Iterator[str]:
    """Run a server until the test is over; yields its base URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = cwd.parent / f"{module}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*DIES_WITH_US, sys.executable, "-m", module, "--no-browser", f"--port={port}", *args],
            cwd=cwd, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            token = {"token": env["JUPYTER_TOKEN"]}
            return httpx.get(f"{url}{ready_path}", params=token, timeout=5).status_code < 400
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, what=module, timeout_s=TIMEOUT_S, hint=lambda: log.read_text()[-500:])
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: server and kernels
            process.wait()


@pytest.fixture
def jupyterlab(folder: Folder, jupyter_env: dict[str, str]) -> Iterator[str]:
    args = [
        "--ServerApp.ip=127.0.0.1",
        "--allow-root",
    ]
    yield from serve("jupyterlab", args, "/api/status", jupyter_env, folder.path)


@pytest.fixture
def voila(folder: Folder, jupyter_env: dict[str, str]) -> Iterator[str]:
    folder.write("board.ipynb", *CELLS)
    args = ["--Voila.ip=127.0.0.1", "board.ipynb"]
    # its page runs the notebook whenever it is asked for: ask for something else
    for url in serve("voila", args, "/voila/static/voila.js", jupyter_env, folder.path):
        yield f"{url}/?token={jupyter_env['JUPYTER_TOKEN']}"
