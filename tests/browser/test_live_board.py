"""The live board as a reader sees it: what is drawn, not what was sent."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
from pages import CELLS, TIMEOUT_S, Folder, Watched
from playwright.sync_api import Page, Route

from labkit.clock import wait_until
from labkit.ui import live_board

VOILA_FONTS = "https://cdn.jsdelivr.net/npm/@fortawesome/"
"""voila's own default template asks for these; labkit does not."""

# what is on the screen of the latency panel: slowest and p50 of each region, a path for
# every stretch between two gaps
LINES = """() => [...document.querySelectorAll(".lk-chart .xy .scatterlayer .trace")]
    .map((trace) => [...trace.querySelectorAll(".js-line")]
        .map((path) => path.getAttribute("d")).join(" "))"""
BANDS = """() => [...document.querySelectorAll(".lk-chart .layer-below .shapelayer path")]
    .map((path) => path.getBoundingClientRect().width)"""


def wait_for_motion(page: Page) -> None:
    """Wait until every latency line is drawn, and then drawn otherwise."""
    page.wait_for_function(f"({LINES})().filter((d) => d?.length > 20).length === 6")
    before = page.evaluate(LINES)
    page.wait_for_function(
        f"(before) => ({LINES})().every((d, i) => d && d !== before[i])", arg=before
    )


def wait_for_phase(page: Page, phase: str) -> None:
    page.locator(".lk-phase", has_text=phase).wait_for()


def watch_a_fault(page: Page, folder: Folder) -> None:
    """Steady, fault, recovery: each is drawn."""
    wait_for_phase(page, "steady")
    wait_for_motion(page)
    assert page.evaluate(BANDS) == []

    folder.say("fault")
    wait_for_phase(page, "fault")
    page.wait_for_function(f"({BANDS})().filter((width) => width > 5).length === 2")
    narrow = page.evaluate(BANDS)[0]
    page.wait_for_function(f"(narrow) => ({BANDS})()[0] > narrow", arg=narrow)
    page.get_by_text("kill us-west-2/1 ·").wait_for()
    assert "—" in page.locator(".lk-card").first.inner_text()
    # failed orders are marked in the lower panel, for every region
    page.wait_for_function("document.querySelectorAll('.xy2 .points .point').length > 3")

    folder.say("heal")
    wait_for_phase(page, "recovery")
    page.get_by_text("healed after").wait_for()
    wait_for_motion(page)


def run_all_cells(page: Page) -> None:
    page.get_by_text("| Idle").wait_for()  # before, JupyterLab would ask which kernel to start
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def lab_url(base: str, notebook: str, env: dict[str, str]) -> str:
    return f"{base}/lab/tree/{notebook}?token={env['JUPYTER_TOKEN']}"


def test_jupyterlab_draws_the_run_and_keeps_a_figure_of_it(
    watched: Watched, folder: Folder, jupyterlab: str, jupyter_env: dict[str, str]
) -> None:
    page = watched.page
    folder.write("board.ipynb", *CELLS)
    page.goto(lab_url(jupyterlab, "board.ipynb", jupyter_env))
    run_all_cells(page)
    watch_a_fault(page, folder)

    folder.say("end")
    # in the same output, the figure takes the widget's place
    page.locator(".lk-board").wait_for(state="detached")
    page.wait_for_function("document.querySelector('.jp-OutputArea .js-line')?.getAttribute('d')")
    assert page.locator(".jp-OutputArea .js-plotly-plot").count() == 1
    assert watched.left_the_machine() == []
    assert watched.errors == []


def test_voila_draws_the_whole_run_although_its_page_comes_late(
    watched: Watched, folder: Folder, voila: str
) -> None:
    page = watched.page

    def come_late(route: Route) -> None:
        missed = live_board._SENT_ROWS + 10  # more than the messages repeat
        wait_until(lambda: folder.samples() > missed, what="the feed", timeout_s=TIMEOUT_S)
        route.continue_()

    page.route("**/voila.js", come_late)
    page.goto(voila, wait_until="commit")
    watch_a_fault(page, folder)

    folder.say("end")
    wait_for_phase(page, "done")
    assert all(page.evaluate(LINES))
    # none is missing, not even those from before the page was there
    page.wait_for_function(
        "(n) => document.querySelector('.lk-chart').data[0].x.length === n",
        arg=min(folder.samples(), live_board._KEPT_ROWS),
    )
    assert [url for url in watched.left_the_machine() if not url.startswith(VOILA_FONTS)] == []
    assert [error for error in watched.errors if VOILA_FONTS not in error] == []
    modules = [url for url in watched.requests if httpx.URL(url).path.endswith(".mjs")]
    assert len(modules) == 1


def test_without_plotly_the_board_says_so_and_its_numbers_go_on(
    watched: Watched, folder: Folder, voila: str
) -> None:
    page = watched.page
    page.route("**/labkit/*.mjs", lambda route: route.abort())
    page.goto(voila, wait_until="commit")
    page.get_by_text("There is no chart, the numbers go on: plotly.js did not load").wait_for()
    clock = page.locator(".lk-clock").inner_text()
    page.wait_for_function(
        "(clock) => document.querySelector('.lk-clock').textContent !== clock", arg=clock
    )
    folder.say("fault")
    page.locator(".lk-card.lk-silent.lk-failing").wait_for()


def test_a_saved_notebook_shows_the_run_without_a_kernel(
    watched: Watched, folder: Folder, jupyterlab: str, jupyter_env: dict[str, str]
) -> None:
    for word in ("fault", "heal", "end"):
        folder.say(word)
    source = folder.write(
        "source.ipynb",
        CELLS[0],
        "from pathlib import Path\n"
        "(Path('end')).unlink()\n"
        "threading.Timer(2, Path('end').touch).start()\n"
        "feed.feed(board)",
    )
    saved = folder.path / "saved.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", source, saved],
        check=True, cwd=folder.path, env=jupyter_env, capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    notebook = json.loads(saved.read_text())
    (output,) = notebook["cells"][1]["outputs"]
    kinds = ["application/vnd.plotly.v1+json", "image/svg+xml", "text/plain"]
    assert sorted(output["data"]) == kinds
    assert "kill us-west-2/1" in "".join(output["data"]["text/plain"])
    assert len(json.dumps(notebook["metadata"]["widgets"])) < 40_000

    page = watched.page
    page.goto(lab_url(jupyterlab, saved.name, jupyter_env))
    page.wait_for_function("document.querySelector('.jp-OutputArea .js-line')?.getAttribute('d')")
    assert page.locator(".jp-OutputArea .js-plotly-plot").count() == 1
    assert watched.left_the_machine() == []
    assert watched.errors == []
