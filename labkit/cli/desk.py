"""`labkit desk`: the trading desk in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from labkit.assets import asset
from labkit.cli.show import Stages, say


def desk(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where the desk listens, on 127.0.0.1.")
    ] = 8866,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")
    ] = True,
) -> None:
    """Open the trading desk in a browser: trade, watch the cluster, break it.

    The desk starts the lab if none runs. It takes a lab that runs as it is, broken or not. It
    listens on 127.0.0.1, asks for a token, and serves any number of browsers. Ctrl-C ends the desk,
    not the lab.
    """
    from labkit.lab import connect
    from labkit.ui.page_server import serve_page

    with Stages() as stages:
        connect(as_it_is=True, on_stage=stages)
    serve_page(
        asset("notebooks", "01_trading_desk.ipynb"), port=port, browser=browser, on_ready=_tell
    )


def _tell(url: str) -> None:
    say(f"the trading desk is at {url}")
    typer.echo("Ctrl-C ends it; the lab, and faults that were not healed, stay: `labkit status`")
