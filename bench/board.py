"""Whether the live board changes what it shows: orders' p99 with a board in a browser, and without.

    python -m bench.board

The same orders again and again on a lab of its own, without a fault, by a notebook that is open in
Chromium; every second run is watched by its board. What the board does to the median of the p99 is
held against what differs between runs without one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nbformat
from playwright.sync_api import sync_playwright
from rich.console import Console

from bench.lab import Number, table
from labkit.clock import wait_until
from labkit.demo import temporary_lab

PAIRS = 5
HOLD_S = 20
FOUND = "found.json"
SETUP = f"""
import json, threading
from pathlib import Path
import labkit as lab
from labkit.history import only_orders
from labkit.measurement.percentiles import nearest_rank
from labkit.measurement.windows import is_ok, latency_s

cluster = lab.connect()
board = lab.LiveBoard(shows_itself=False)


def p99_ms(number, watch):
    result = lab.Experiment(
        cluster,
        lab.TradingWorkload(rate_per_s=60, seed=number),
        steady=lab.SteadyState(p99_ms=2000),
        hold_s={HOLD_S},
        steady_s=3,
        folder=Path(f"run-{{number}}-{{watch is not None}}"),
        say=lambda line: None,
    ).run(watch)
    orders = only_orders(result.history.ops)
    orders = orders[is_ok(orders)]
    return {{
        region: nearest_rank(latency_s(here), 99) * 1000
        for region, here in orders.groupby("region", observed=True)
    }}


def measure():
    found = [[p99_ms(n, watch) for watch in (board, None)] for n in range(1, {PAIRS} + 1)]
    Path("found.tmp").write_text(json.dumps(found))
    Path("found.tmp").rename("{FOUND}")
"""
SHOW = "threading.Thread(target=measure, daemon=True).start()\nboard"
SERVE = """
import sys
from functools import partial
from pathlib import Path
from labkit.ui.page_server import serve_page
tell = partial(print, flush=True)
serve_page(Path(sys.argv[1]), port=28867, browser=False, on_ready=tell)
"""


@contextmanager
def page(notebook: Path) -> Iterator[str]:
    """The notebook as a page; its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(notebook)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def numbers(chromium: str) -> Iterator[Number]:
    with temporary_lab(), TemporaryDirectory() as folder, sync_playwright() as playwright:
        notebook = Path(folder) / "board.ipynb"
        cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, SHOW)]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), notebook)
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        with page(notebook) as url:
            shown = browser.new_page(viewport={"width": 1440, "height": 900})
            shown.goto(url, wait_until="commit")
            shown.locator(".lk-chart .js-line").first.wait_for(state="attached", timeout=120_000)
            found_file = notebook.parent / FOUND
            wait_until(found_file.exists, what="the runs", timeout_s=2 * PAIRS * 90)
        browser.close()
        found = json.loads(found_file.read_text())
    for region in found[0][0]:
        beside, alone = ([run[region] for run in runs] for runs in zip(*found, strict=True))
        yield Number(
            f"p99 with the board less without, {region}",
            "ms",
            median(beside) - median(alone),
            max(alone) - min(alone),
            f"with {_list(beside)}; without {_list(alone)}",
        )


def _list(values_ms: Sequence[float]) -> str:
    return ", ".join(f"{value_ms:.0f}" for value_ms in values_ms)


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        Console().print("no Chromium, so no board is shown")
        return
    title = f"The live board's effect on what it shows, {PAIRS} runs each; goal: the runs' spread"
    Console().print(table(numbers(chromium), title))


if __name__ == "__main__":
    main()
