"""What `labkit notebook` shows: the user's copy, without questions, tables as they are meant."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
from pages import TIMEOUT_S, Folder, Watched
from playwright.sync_api import expect
from test_live_board import run_all_cells
from test_strangers import labkit_notebook

from labkit.notebooks import notebooks

UNIT = str(Path(__file__).parents[1] / "unit")
"""Where a run is made up."""
ALIGNED = """() => [...document.querySelectorAll(".labkit-report .lk-scroll :is(th, td)")].map(
    (cell) => [cell.classList.contains("lk-number"), getComputedStyle(cell).textAlign])"""


def test_a_result_reads_from_the_left_and_nothing_is_asked_or_open_to_debug(
    watched: Watched, tmp_path: Path
) -> None:
    find = f"import sys\nsys.path.insert(0, {UNIT!r})"
    cell = f"{find}\nfrom histories import failover_run\nfailover_run()"
    folder = tmp_path / "notebooks"
    folder.mkdir()
    Folder(folder).write("result.ipynb", cell)
    with labkit_notebook(folder, tmp_path) as (url, _):
        page = watched.page
        page.goto(url.replace("/lab?", "/lab/tree/result.ipynb?"))
        run_all_cells(page)
        expect(page.locator(".labkit-report")).to_be_visible(timeout=TIMEOUT_S * 1000)
        aligned = {tuple(one) for one in page.evaluate(ALIGNED)}
        assert aligned == {(True, "right"), (False, "left")}
        expect(page.get_by_text("official Jupyter news")).to_have_count(0)
        expect(page.locator(".jp-DebuggerBugButton")).to_have_count(0)
    assert watched.left_the_machine() == []


def test_it_serves_the_users_copy_and_leaves_what_is_installed_alone(tmp_path: Path) -> None:
    before = {name: path.read_bytes() for name, path in notebooks().items()}
    mine = tmp_path / "mine"
    os.environ["LABKIT_NOTEBOOKS"] = str(mine)
    try:
        with labkit_notebook(None, tmp_path) as (url, _):
            base, _, token = url.replace("/lab?", "/?").partition("?token=")
            listed = httpx.get(f"{base}api/contents", params={"token": token}).json()["content"]
            assert {one["name"] for one in listed} == {f"{name}.ipynb" for name in before}
            one = f"{base}api/contents/03_node_loss.ipynb"
            model = httpx.get(one, params={"token": token}).json()
            model["content"]["cells"] = model["content"]["cells"][:1]
            saved = httpx.put(one, params={"token": token}, json=model)
            assert saved.status_code == 200
    finally:
        del os.environ["LABKIT_NOTEBOOKS"]
    assert {name: path.read_bytes() for name, path in notebooks().items()} == before
    assert (mine / "03_node_loss.ipynb").read_bytes() != before["03_node_loss"]
