"""How long the trading desk takes to open, whether its chart is drawn, what an open one costs, and
how soon it shows what others did.

    python -m bench.desk

On a lab of its own; needs Chromium.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import psutil
import psycopg
from playwright.sync_api import Browser, Error, sync_playwright
from rich.console import Console

from bench.lab import Number, table
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.demo import temporary_lab
from labkit.trading.orders import Order, Side, place_order

LOADS = 20
REST_S = 10.0
"""Between two loads. A page that is opened right after another finds no kernel that waits for it,
and has to wait for one to start: about 3 s where this takes 2.1 s."""
OPEN_S = 30.0
PRICES = 4
"""Moves of a price, looked at from each region."""
DRAWN = """() => {
  const path = document.querySelector(".lk-price-chart .js-line");
  return Boolean(path?.getAttribute("d")) || document.querySelectorAll(
    ".lk-price-chart .points path").length > 0;
}"""
"""Judged by what is drawn: a counter goes on counting above a frozen picture."""


@contextmanager
def desk() -> Iterator[tuple[str, int]]:
    """The desk's URL, and its server's pid."""
    command = [str(Path(sys.executable).with_name("labkit")), "desk", "--no-browser"]
    with subprocess.Popen([*command, "--port=28866"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            words = (word for line in server.stdout for word in line.split())
            yield next(word for word in words if word.startswith("http:")), server.pid
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


def loads(browser: Browser, url: str) -> Iterator[Number]:
    usable_s, frozen = [], 0
    for _ in range(LOADS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun_s = monotonic()
        page.goto(url, wait_until="commit")
        # its price is there, so the ticket can be sent
        page.locator(".lk-submit:enabled").wait_for(timeout=60_000)
        usable_s.append(monotonic() - begun_s)
        try:
            page.wait_for_function(DRAWN, timeout=15_000)
        except Error:
            frozen += 1
        sleep(REST_S)
        page.close()
    yield Number(f"desk usable, median of {LOADS}", "s", median(usable_s), 3.5)
    yield Number(f"desk usable, worst of {LOADS}", "s", max(usable_s), 6)
    yield Number(f"loads without a chart in {LOADS}", "", frozen, 0)


def cost(browser: Browser, url: str, server: int) -> Iterator[Number]:
    """Of the page's kernel and of the one that waits for the next page."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url, wait_until="commit")
    page.locator(".lk-submit:enabled").wait_for(timeout=60_000)
    sleep(10)  # until its start, and the waiting kernel's, has died down
    begun_s = cpu_s(server)
    sleep(OPEN_S)
    yield Number(
        "kernels of an open desk", "% of a core", 100 * (cpu_s(server) - begun_s) / OPEN_S, 15
    )
    page.close()


def shown_after(browser: Browser, url: str, lab: EmbeddedCluster) -> Iterator[Number]:
    """How soon a page shows what it did not do: a price that another client moved, looked at from
    each region, and nodes and regions that died."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url, wait_until="commit")
    page.locator(".lk-submit:enabled").wait_for(timeout=60_000)
    price_s = []
    for index, region in enumerate(lab.topology.region_names):
        page.locator(".lk-where-name", has_text=region).click()
        page.locator(".lk-here", has_text=region).wait_for()
        row = page.locator(".lk-watch button", has_text="NFLX")
        with psycopg.connect(lab.dsn(region), autocommit=True) as conn:
            for _ in range(PRICES):
                sleep(1)
                order = Order.new("0001000001", "NFLX", Side.BUY, 1, region_index=index)
                moved = place_order(conn, order).unit_price + Decimal("0.10")
                begun_s = monotonic()
                row.get_by_text(f"{moved:,}", exact=True).wait_for()
                price_s.append(monotonic() - begun_s)
    yield Number(f"another client's price is shown, worst of {len(price_s)}", "s", max(price_s), 1)
    map_s = []
    for node in lab.topology.nodes_of(lab.topology.region_names[1])[:2]:
        part = page.locator(f'.lk-map [data-name="{node.name}"]')
        begun_s = monotonic()
        lab.kill(node)
        part.and_(page.locator("[data-word=down]")).wait_for()
        map_s.append(monotonic() - begun_s)
        lab.restart(node)
        part.and_(page.locator("[data-healthy=true]")).wait_for()
    yield Number(f"a killed node on the map, worst of {len(map_s)}", "s", max(map_s), 2)
    lost_s = []
    for region in lab.topology.regions[1:]:
        begun_s = monotonic()
        lab.kill(region)
        page.locator(f'.lk-region.lk-lost[aria-label="{region}"]').wait_for()
        lost_s.append(monotonic() - begun_s)
        lab.heal()
        page.locator(".lk-region.lk-lost").wait_for(state="detached")
    yield Number(f"a killed region on the map, worst of {len(lost_s)}", "s", max(lost_s), 2)
    page.close()


def cpu_s(server: int) -> float:
    return sum(sum(kernel.cpu_times()[:2]) for kernel in kernels(server))


def kernels(server: int) -> list[psutil.Process]:
    children = psutil.Process(server).children(recursive=True)
    return [child for child in children if "ipykernel_launcher" in child.cmdline()]


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        Console().print("no Chromium, so the desk is not measured")
        return

    def numbers() -> Iterator[Number]:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        with temporary_lab() as lab, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            with desk() as (url, _):
                sleep(REST_S)
                yield from loads(browser, url)
            with desk() as (url, server):
                yield from cost(browser, url, server)
                yield from shown_after(browser, url, lab)
            browser.close()

    Console().print(table(numbers(), "The trading desk"))


if __name__ == "__main__":
    main()
