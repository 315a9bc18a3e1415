"""The notebooks as a reader has them: in JupyterLab on a real cluster, and saved without either."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.reader import NotJSONError
from pages import TIMEOUT_S, Folder, Watched, served
from playwright.sync_api import Page, expect
from ports import free_port
from test_desk import PICTURES, fill, outcome, part
from test_live_board import lab_url, run_all_cells, wait_for_motion

from labkit.clock import wait_until
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.lab import bring_up
from labkit.notebooks import notebooks
from labkit.ui.saving import WIDGET

pytestmark = pytest.mark.cluster

BRIEFLY = {"hold_s": 10, "steady_s": 3, "rate_per_s": 30, "max_rto_s": 60, "beside": ""}
PLOTLY = "application/vnd.plotly.v1+json"
DRAWN = """() => [...document.querySelectorAll(".jp-OutputArea .jp-RenderedPlotly")]
    .filter((output) => output.querySelector(".js-plotly-plot path[d]") ||
        [...output.querySelectorAll("img")].some((image) => image.naturalWidth > 300)).length"""
"""Figures on the page; of one that it has drawn before, JupyterLab's plotly shows its own picture
until somebody points at it."""


@pytest.fixture
def jupyter_env(
    jupyter_env: dict[str, str], lab: EmbeddedCluster, tmp_path: Path
) -> dict[str, str]:
    """That of all tests here, with the lab; every cell is kept on the page, seen or not."""
    tracker = tmp_path / "config/lab/user-settings/@jupyterlab/notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    bring_up(lab)
    return jupyter_env | {"LABKIT_HOME": str(lab.home), "LABKIT_RUNS": str(tmp_path / "runs")}


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    expect.set_options(timeout=TIMEOUT_S * 1000)
    yield
    expect.set_options(timeout=5000)


def outputs(notebook: Path) -> list[dict[str, object]]:
    """The data of every output of a saved notebook, by MIME type."""
    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except NotJSONError:  # it is being saved: the server empties the file, then fills it
        return []
    found = [output for cell in cells for output in cell.get("outputs", ())]
    return [dict(output["data"]) for output in found if "data" in output]


def assert_figures_and_tables_are_there_without_a_kernel(
    watched: Watched, notebook: Path, url: str
) -> None:
    """In JupyterLab, and on a page that nbconvert made: nothing is missing, no box is dead."""
    saved = outputs(notebook)
    figures = [data for data in saved if PLOTLY in data]
    tables = [data for data in saved if "text/html" in data]
    assert figures
    assert tables
    assert not [data for data in saved if WIDGET in data]
    assert notebook.stat().st_size <= 3_000_000

    page = watched.page
    page.goto(f"{url}&reset")  # no tabs of before
    page.wait_for_function(f"(n) => ({DRAWN})() === n", arg=len(figures))
    expect(page.locator(".jp-OutputArea .jp-RenderedHTML")).to_have_count(len(tables))
    expect(page.locator(".jupyter-widgets, .lk-board")).to_have_count(0)

    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--output", "page.html", notebook],
        cwd=notebook.parent, check=True, capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    page.route("http*://**", lambda route: route.abort())  # it asks a CDN for formulas
    page.goto((notebook.parent / "page.html").as_uri())
    # ours, or the one that JupyterLab's plotly took when it saved
    pictures = page.locator(".jp-OutputArea :is(.jp-RenderedSVG, .jp-RenderedImage) img")
    expect(pictures).to_have_count(len(figures))
    for number in range(len(figures)):
        box = pictures.nth(number).bounding_box()
        assert box
        assert box["width"] > 300
        assert box["height"] > 150
    expect(
        page.locator(".jp-OutputArea .jp-RenderedHTMLCommon:has(table, section)")
    ).not_to_have_count(0)
    assert page.locator("script[type='application/vnd.jupyter.widget-view+json']").count() == 0


def test_a_node_loss_reaches_its_verdict_and_what_is_saved_of_it_outlives_the_kernel(
    watched: Watched, folder: Folder, jupyterlab: str, jupyter_env: dict[str, str]
) -> None:
    notebook = folder.path / "03_node_loss.ipynb"
    original = notebooks()["03_node_loss"]
    papermill.execute_notebook(original, notebook, BRIEFLY, prepare_only=True, progress_bar=False)
    url = lab_url(jupyterlab, notebook.name, jupyter_env)
    page = watched.page
    page.goto(url)
    run_all_cells(page)
    wait_for_motion(page)
    page.locator(".lk-phase", has_text="fault").wait_for()

    # the board gives way to a figure of what it showed, and the verdict is said
    page.locator(".lk-board").wait_for(state="detached")
    expect(page.locator(".jp-OutputArea pre", has_text="pass").last).to_have_text("pass\n")
    page.locator(".jp-Notebook-cell").last.wait_for()
    wait_until(lambda: idle(page), what="the last cell", timeout_s=TIMEOUT_S)
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "jupyterlab-node-loss.png")
    assert watched.errors == []
    assert watched.left_the_machine() == []

    saved = save_by_hand(page, notebook, outputs_at_least=6)
    url = lab_url(jupyterlab, saved.name, jupyter_env)
    assert_figures_and_tables_are_there_without_a_kernel(watched, saved, url)


def save_by_hand(page: Page, notebook: Path, *, outputs_at_least: int) -> Path:
    """Save the notebook that the page shows; returns a copy, which no kernel belongs to."""
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Save Notebook(?! As)")).first.click()
    copy = notebook.with_name("saved.ipynb")

    def whole() -> bool:
        copy.write_bytes(notebook.read_bytes())
        return len(outputs(copy)) >= outputs_at_least

    wait_until(whole, what="the saved notebook", timeout_s=TIMEOUT_S)
    return copy


def idle(page: Page) -> bool:
    """Whether every cell has run."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    return "[*]:" not in prompts and "[ ]:" not in prompts


@pytest.mark.long
def test_a_headless_run_leaves_its_figures_to_those_who_have_no_kernel(
    watched: Watched, folder: Folder, jupyterlab: str, jupyter_env: dict[str, str], tmp_path: Path
) -> None:
    command = [str(Path(sys.executable).with_name("labkit")), "run", "05_load_balancer_loss"]
    subprocess.run([*command, "--short"], env=jupyter_env, check=True, capture_output=True)
    (made,) = (tmp_path / "runs").iterdir()
    executed = folder.path / "executed.ipynb"
    executed.write_bytes((made / "notebook.ipynb").read_bytes())
    url = lab_url(jupyterlab, executed.name, jupyter_env)
    assert_figures_and_tables_are_there_without_a_kernel(watched, executed, url)


def test_the_desk_trades_in_jupyterlab(
    watched: Watched, folder: Folder, jupyterlab: str, jupyter_env: dict[str, str]
) -> None:
    notebook = folder.path / "01_trading_desk.ipynb"
    notebook.write_bytes(notebooks()[notebook.stem].read_bytes())
    page = watched.page
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.goto(lab_url(jupyterlab, notebook.name, jupyter_env))
    run_all_cells(page)
    expect(page.locator(".lk-price")).not_to_have_text("—")
    expect(page.locator('.lk-node[data-word="primary"]')).to_have_count(1)
    fill(page, shares=3, symbol="MSFT")
    page.locator(".lk-submit", has_text="Buy 3 MSFT").click()
    expect(outcome(page, "acked")).to_contain_text("Buy 3 MSFT")
    page.wait_for_function(
        "[...document.querySelectorAll('.lk-price-chart .points path')].length > 0"
    )
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.locator(".lk-desk").screenshot(path=PICTURES / "jupyterlab-desk.png")
    assert watched.left_the_machine() == []
    assert watched.errors == []

    saved = save_by_hand(page, notebook, outputs_at_least=1)
    page.goto(f"{lab_url(jupyterlab, saved.name, jupyter_env)}&reset")
    picture = page.locator(".jp-OutputArea .jp-RenderedSVG img")
    picture.wait_for()
    assert (picture.bounding_box() or {})["width"] > 300
    expect(page.locator(".jupyter-widgets, .lk-desk")).to_have_count(0)
    assert not [data for data in outputs(saved) if WIDGET in data]


@pytest.mark.long
def test_the_desk_shows_leaseholders_and_offers_only_what_cockroachdb_can(
    watched: Watched, processes: BinaryCluster
) -> None:
    bring_up(processes)
    command = [str(Path(sys.executable).with_name("labkit")), "desk", "--no-browser"]
    env = {**os.environ, "LABKIT_HOME": str(processes.home)}
    page = watched.page
    with served([*command, f"--port={free_port()}"], env) as (url, _):
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(url, wait_until="commit")
        expect(page.locator(".lk-price")).not_to_have_text("—")
        holders = page.locator('.lk-node[data-word="leaseholder"]')
        holders.first.wait_for()
        expect(holders.first).to_have_attribute("title", re.compile(r"leads \d+ range"))
        fill(page, shares=3, symbol="MSFT")
        page.locator(".lk-submit", has_text="Buy 3 MSFT").click()
        expect(outcome(page, "acked")).to_contain_text("Buy 3 MSFT")
        name = holders.first.get_attribute("data-name")
        assert name
        part(page, name).click()
        for action in ("kill", "stop", "pause"):
            expect(page.locator(f"[data-action={action}]")).to_be_enabled()
        page.locator("[data-action=kill]").click()
        expect(part(page, name)).to_have_attribute("data-word", "down")
        # its ranges are led by others
        holders.first.wait_for()
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / "desk-cockroachdb.png", full_page=True)
        page.locator("[data-action=heal]").click()
        expect(part(page, name)).not_to_have_attribute("data-word", "down")
        assert watched.errors == []
