"""How long the trading desk takes to open, whether its chart is drawn, and what an open one costs.

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
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import psutil
from playwright.sync_api import Browser, Error, sync_playwright
from rich.console import Console

from bench.lab import Number, table
from labkit.demo import temporary_lab

LOADS = 20
REST_S = 10.0
"""Between two loads. A page that is opened right after another finds no kernel that waits for it,
and has to wait for one to start: about 6 s where this takes 2.2 s."""
OPEN_S = 30.0
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
        with temporary_lab(), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            with desk() as (url, _):
                sleep(REST_S)
                yield from loads(browser, url)
            with desk() as (url, server):
                yield from cost(browser, url, server)
            browser.close()

    Console().print(table(numbers(), "The trading desk"))


if __name__ == "__main__":
    main()
