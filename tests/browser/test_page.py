"""What `labkit desk` promises of its page, on a cluster in memory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import zmq
from pages import TIMEOUT_S, Folder, Watched, kernels, page_server, served
from playwright.sync_api import Page, Route, expect

from labkit.clock import wait_until

MAP = (
    "from labkit.testing import FakeCluster\nfrom labkit.ui.cluster_map import ClusterMap\n"
    "cluster = FakeCluster()\ncluster.start()\nClusterMap(cluster)"
)

FITS = """() => [...document.querySelectorAll(".lk-where-regions label")]
    .every((card) => card.scrollWidth <= card.clientWidth)"""

DESK = (
    "from labkit.testing import FakeCluster\nfrom labkit.ui.trading_desk import TradingDesk\n"
    "cluster = FakeCluster()\ncluster.start()\nTradingDesk(cluster)"
)
"""On a cluster whose every connection is refused."""

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
    notebook: Path

    def kernels(self) -> list[psutil.Process]:
        return kernels(self.pid)


@contextmanager
def serving(folder: Path, closed_s: int) -> Iterator[Server]:
    """The map's notebook, whose kernel ends when its page has been closed for `closed_s`."""
    notebook = Folder(folder).write("map.ipynb", MAP)
    (folder / "secret.txt").write_text("not for pages")
    with served(page_server(notebook, closed_s), dict(os.environ)) as (url, process):
        yield Server(url, process.pid, notebook)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("notebooks"), closed_s=60) as server:
        yield server


@pytest.fixture
def page(watched: Watched) -> Page:
    expect.set_options(timeout=TIMEOUT_S * 1000)
    return watched.page


def open_map(page: Page, server: Server) -> None:
    page.goto(server.url, wait_until="commit")
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")


def test_without_the_token_there_is_nothing_and_with_it_only_the_notebook(server: Server) -> None:
    base = server.url.partition("?")[0]
    token = {"token": server.url.partition("token=")[2]}
    assert "login" in httpx.get(base).headers["location"]
    for path in ("api/kernels", "api/contents", "voila/files/secret.txt", "files/secret.txt"):
        answer = httpx.get(base + path, params=token, follow_redirects=True)
        assert answer.status_code in (403, 404), path
        assert "not for pages" not in answer.text
    argv = " ".join(psutil.Process(server.pid).cmdline())
    assert token["token"] not in argv


def test_two_browsers_have_a_desk_each_and_a_closed_one_leaves_no_kernel(
    page: Page, watched: Watched, tmp_path: Path
) -> None:
    with serving(tmp_path, closed_s=2) as server:
        open_map(page, server)
        second = page.context.new_page()
        open_map(second, server)
        # one each, and one that waits for the next page
        wait_until(lambda: len(server.kernels()) == 3, what="three kernels", timeout_s=TIMEOUT_S)
        second.close()
        wait_until(lambda: len(server.kernels()) == 2, what="two kernels", timeout_s=TIMEOUT_S)
        # the page that is still open goes on
        page.locator('[data-name="us-east-1/2"]').click()
        page.locator("[data-action=pause]").click()
        expect(page.locator('[data-name="us-east-1/2"]')).to_have_attribute("data-word", "paused")
        assert watched.errors == []
        assert watched.left_the_machine() == []


def test_a_page_that_is_left_or_loaded_again_ends_its_kernel_at_once(
    page: Page, watched: Watched, tmp_path: Path
) -> None:
    with serving(tmp_path, closed_s=600) as server:  # it is not culled while this test runs
        open_map(page, server)
        wait_until(lambda: len(server.kernels()) == 2, what="who waits", timeout_s=TIMEOUT_S)
        before = server.kernels()
        page.reload(wait_until="commit")
        expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")
        # the page's kernel has ended; the one that waited has the page, and another one waits
        wait_until(
            lambda: len(server.kernels()) == 2 and len({*server.kernels()} & {*before}) == 1,
            what="the left page's kernel to end",
            timeout_s=TIMEOUT_S,
        )
        page.goto("about:blank")
        wait_until(lambda: len(server.kernels()) == 1, what="only who waits", timeout_s=TIMEOUT_S)
        assert watched.errors == []


def test_only_a_page_of_the_desk_can_end_a_kernel(
    page: Page, server: Server, tmp_path: Path
) -> None:
    open_map(page, server)
    base = server.url.partition("?")[0]
    [kernel_id] = {
        message.split("/api/kernels/")[1].split("/")[0]
        for message in page.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
        if "/api/kernels/" in message
    }
    shutdown = f"{base}voila/api/shutdown/{kernel_id}"
    cookies = {str(cookie["name"]): str(cookie["value"]) for cookie in page.context.cookies(base)}
    xsrf = cookies["_xsrf"]
    foreign = {"Origin": "http://attacker.example"}
    for given in (
        {},
        {"data": {"_xsrf": xsrf}},
        {"data": {"_xsrf": xsrf}, "cookies": {"_xsrf": xsrf}},
        {"cookies": cookies},
        {"data": {"_xsrf": "wrong"}, "cookies": cookies},
        {"data": {"_xsrf": xsrf}, "cookies": cookies, "headers": foreign},
        {"params": {"token": "wrong"}},
    ):
        answer = httpx.post(shutdown, **given)  # type: ignore[arg-type]
        assert answer.status_code in (302, 403, 404), given
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")
    answer = httpx.post(shutdown, data={"_xsrf": xsrf}, cookies=cookies)
    assert answer.status_code == 204


def test_what_a_kernel_says_can_be_read_at_its_ports_by_nobody_else(
    page: Page, server: Server
) -> None:
    open_map(page, server)
    with zmq.Context() as context:
        for kernel in server.kernels():
            line = kernel.cmdline()
            connection = json.loads(Path(line[line.index("-f") + 1]).read_text())
            with context.socket(zmq.SUB) as spy:
                spy.linger = 0
                spy.subscribe(b"")
                spy.connect(f"tcp://127.0.0.1:{connection['iopub_port']}")
                assert not spy.poll(3000)  # the map says something every second


def test_a_page_gets_the_kernel_that_waited_unless_that_has_died(
    page: Page, tmp_path: Path
) -> None:
    with serving(tmp_path, closed_s=60) as server:
        wait_until(lambda: len(server.kernels()) == 1, what="who waits", timeout_s=TIMEOUT_S)
        [waiting] = server.kernels()
        open_map(page, server)
        assert waiting in server.kernels()
        wait_until(lambda: len(server.kernels()) == 2, what="the next one", timeout_s=TIMEOUT_S)
        [other] = set(server.kernels()) - {waiting}
        other.send_signal(signal.SIGKILL)
        open_map(page.context.new_page(), server)


def test_a_dead_kernel_is_told(page: Page, server: Server) -> None:
    open_map(page, server)
    for kernel in server.kernels():
        kernel.send_signal(signal.SIGKILL)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("kernel")
    expect(alert).to_contain_text("What you see is from")
    expect(page.locator(".lk-body")).to_have_attribute("inert", "")
    assert server.kernels() == [], "one that is started again knows nothing of its page"
    page.get_by_role("button", name="Reload the page").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")


@pytest.fixture
def stopped(page: Page, server: Server) -> Iterator[list[psutil.Process]]:
    """Kernels that stop when the page has its cells and asks for its scripts."""
    stopped: list[psutil.Process] = []

    def stop(route: Route) -> None:
        for kernel in server.kernels():
            kernel.suspend()
            stopped.append(kernel)
        route.continue_()

    page.route("**/voila.js", stop, times=1)
    yield stopped
    for kernel in stopped:
        with suppress(psutil.NoSuchProcess):
            kernel.resume()


def test_a_page_whose_kernel_does_not_answer_says_so_and_can_be_loaded_again(
    page: Page, server: Server, stopped: list[psutil.Process]
) -> None:
    page.goto(server.url, wait_until="commit")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The kernel of this page has not answered for 10 s")
    alert.get_by_role("button", name="Reload the page").click()
    expect(page.locator('[data-name="us-west-2/1"]')).to_have_attribute("data-word", "primary")
    expect(alert).to_be_hidden()
    assert stopped


def test_a_part_of_the_page_that_voila_gave_up_is_told(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path, closed_s=60) as server:
        gone = (
            "from IPython.display import display\n"
            "view = {'model_id': 'gone', 'version_major': 2, 'version_minor': 0}\n"
            "display({'application/vnd.jupyter.widget-view+json': view}, raw=True)"
        )
        Folder(tmp_path).write(server.notebook.name, gone)
        page.goto(server.url, wait_until="commit")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("A part of this page is missing")
        expect(alert.get_by_role("button", name="Reload the page")).to_be_visible()


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


def test_a_database_that_refuses_everybody_is_told_and_leaves_the_page_usable(
    page: Page, tmp_path: Path
) -> None:
    with serving(tmp_path, closed_s=60) as server:
        Folder(tmp_path).write(server.notebook.name, DESK)
        page.goto(server.url, wait_until="commit")
        expect(page.locator(".lk-ticket .lk-age")).to_contain_text("refused")
        # longer than a kernel may be silent: it has nothing new to tell, and lives all the same
        page.wait_for_timeout(8000)
        expect(page.locator(".lk-pane")).to_have_count(7)
        expect(page.locator(".lk-silent")).to_have_count(0)
        expect(page.locator(".lk-where-quotes")).to_contain_text("does not answer")
        assert page.evaluate(FITS)
        page.get_by_label("Shares").fill("7")
        page.locator(".lk-where-name", has_text="eu-west-1").click()
        expect(page.locator(".lk-here")).to_contain_text("eu-west-1")


def test_what_the_backend_cannot_do_cannot_be_pressed_and_the_page_says_why(
    page: Page, tmp_path: Path
) -> None:
    with serving(tmp_path, closed_s=60) as server:
        without_wan = MAP.replace("FakeCluster()", "FakeCluster(wan=False)")
        Folder(tmp_path).write(server.notebook.name, without_wan)
        open_map(page, server)
        page.locator('.lk-map [data-name="us-east-1"]').click()
        for kind in ("kill", "stop", "pause"):
            expect(page.locator(f"[data-action={kind}]")).to_be_enabled()
        for kind in ("partition", "slow"):
            expect(page.locator(f"[data-action={kind}]")).to_be_disabled()
        expect(page.locator(".lk-chosen")).to_contain_text("has no WAN")


def test_an_error_in_the_notebook_is_told(page: Page, server: Server) -> None:
    broken = "from labkit.errors import NotRunning\nraise NotRunning('no lab: labkit up')"
    Folder(server.notebook.parent).write(server.notebook.name, broken)
    page.goto(server.url, wait_until="commit")
    expect(page.get_by_text("no lab: labkit up").last).to_be_visible()


def test_a_desk_that_ends_leaves_nothing_where_temporary_files_are(
    page: Page, tmp_path: Path
) -> None:
    there = tmp_path / "tmp"
    there.mkdir()
    notebook = Folder(tmp_path).write("desk.ipynb", DESK)
    with served(page_server(notebook, 60), os.environ | {"TMPDIR": str(there)}) as (url, _):
        page.goto(url, wait_until="commit")
        expect(page.locator(".lk-pane")).to_have_count(7)
        assert any(there.iterdir())
    assert list(there.iterdir()) == []
