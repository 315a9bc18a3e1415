"""What `labkit desk` promises of its page, on a cluster in memory."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from conftest import TIMEOUT_S, Folder, Watched, free_port
from playwright.sync_api import Page, expect
from test_desk import served

from labkit.clock import wait_until

SERVE = """
import sys
from pathlib import Path
from labkit.ui import page_server
page_server.CLOSED_S = int(sys.argv[3])
page_server.serve_page(Path(sys.argv[1]), port=int(sys.argv[2]), browser=False, on_ready=print)
"""
MAP = (
    "from labkit.testing import FakeCluster\nfrom labkit.ui.cluster_map import ClusterMap\n"
    "cluster = FakeCluster()\ncluster.start()\nClusterMap(cluster)"
)

CUT = """
window.sockets = [];
window.cut = false;
window.WebSocket = class extends WebSocket {
  constructor(url, ...more) {
    super(window.cut ? "ws://127.0.0.1:1/" : url, ...more);
    window.sockets.push(this);
  }
};
"""
"""A page whose connections the test can end, and keep from coming back."""


@dataclass
class Server:
    url: str
    pid: int

    def kernels(self) -> list[psutil.Process]:
        children = psutil.Process(self.pid).children(recursive=True)
        return [child for child in children if "ipykernel_launcher" in child.cmdline()]


@pytest.fixture(params=[60])
def server(folder: Folder, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Its parameter: after how many seconds a closed page's kernel ends."""
    notebook = folder.write("map.ipynb", MAP)
    (folder.path / "secret.txt").write_text("not for pages")
    command = [sys.executable, "-c", SERVE, str(notebook), str(free_port())]
    command.append(str(request.param))
    with served(command, dict(os.environ)) as (url, process):
        yield Server(url, process.pid)


@pytest.fixture
def page(watched: Watched, server: Server) -> Page:
    expect.set_options(timeout=TIMEOUT_S * 1000)
    return watched.page


def open_map(page: Page, server: Server) -> None:
    page.goto(server.url, wait_until="commit")
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")


def test_without_the_token_there_is_nothing_and_with_it_only_the_notebook(server: Server) -> None:
    base = server.url.partition("?")[0]
    token = {"token": server.url.partition("token=")[2]}
    assert "login" in httpx.get(base).headers["location"]
    assert server.kernels() == []
    for path in ("api/kernels", "api/contents", "voila/files/secret.txt", "files/secret.txt"):
        answer = httpx.get(base + path, params=token, follow_redirects=True)
        assert answer.status_code in (403, 404), path
        assert "not for pages" not in answer.text
    argv = " ".join(psutil.Process(server.pid).cmdline())
    assert token["token"] not in argv


@pytest.mark.parametrize("server", [2], indirect=True)
def test_two_browsers_have_a_desk_each_and_a_closed_one_leaves_no_kernel(
    page: Page, watched: Watched, server: Server
) -> None:
    open_map(page, server)
    second = page.context.new_page()
    open_map(second, server)
    assert len(server.kernels()) == 2
    second.close()
    wait_until(lambda: len(server.kernels()) == 1, what="one kernel", timeout_s=TIMEOUT_S)
    # the page that is still open goes on
    page.locator('[data-name="us-east-1/2"]').click()
    page.locator("[data-action=pause]").click()
    expect(page.locator('[data-name="us-east-1/2"]')).to_have_attribute("data-word", "paused")
    assert watched.errors == []
    assert watched.left_the_machine() == []


def test_a_dead_kernel_is_told(page: Page, server: Server) -> None:
    open_map(page, server)
    for kernel in server.kernels():
        kernel.send_signal(signal.SIGKILL)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("kernel")
    expect(alert).to_contain_text("What you see is from")
    expect(page.locator(".lk-body")).to_have_attribute("inert", "")
    page.get_by_role("button", name="Open it again").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")


def test_a_lost_connection_is_told_and_the_page_goes_on_when_it_is_back(
    page: Page, server: Server
) -> None:
    page.add_init_script(CUT)
    open_map(page, server)
    page.evaluate("cut = true; sockets.forEach((socket) => socket.close())")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("What you see is from")
    page.evaluate("cut = false")
    expect(alert).to_be_hidden()
    page.locator('[data-name="us-east-1/2"]').click()
    page.locator("[data-action=kill]").click()
    expect(page.locator('[data-name="us-east-1/2"]')).to_have_attribute("data-word", "down")


def test_an_error_in_the_notebook_is_one_readable_line(
    page: Page, folder: Folder, server: Server
) -> None:
    folder.write(
        "map.ipynb", "from labkit.errors import NotRunning\nraise NotRunning('no lab: labkit up')"
    )
    page.goto(server.url, wait_until="commit")
    expect(page.get_by_text("no lab: labkit up")).to_be_visible()
