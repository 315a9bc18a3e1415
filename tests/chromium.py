"""Chromium, and the page of somebody else's site in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, sync_playwright
from ports import free_port

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
FLAGS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium refuses root without it
]
ATTACKER = "attacker.example"
"""A name that its owner has rebound: to a victim's browser it is this machine."""


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        yield browser
        browser.close()


@contextmanager
def victims_browser() -> Iterator[Browser]:
    """Run a browser to which `ATTACKER` is this machine.

    Nothing of the browser's own stands in the way: Chromium would ask before a site may reach
    127.0.0.1, other browsers do not.
    """
    with chromium(
        f"--host-resolver-rules=MAP {ATTACKER} 127.0.0.1",
        "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    ) as browser:
        yield browser


class Attacker(BaseHTTPRequestHandler):
    """A site of somebody else's; notes the cookies that it is sent."""

    cookies: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>attacker</title>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def attackers_site() -> Iterator[int]:
    """Serve the site of somebody else's; gives its port."""
    with ThreadingHTTPServer(("127.0.0.1", free_port()), Attacker) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        yield site.server_port
        site.shutdown()
