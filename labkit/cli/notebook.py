"""The command that opens JupyterLab on the notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labkit.cli.show import say
from labkit.errors import BadInput
from labkit.notebooks import Copied, copy_notebooks, users_folder


def notebook(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Open this folder as it is, and copy nothing (default: your copy of labkit's "
            "notebooks, in ~/labkit-notebooks or LABKIT_NOTEBOOKS)."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where JupyterLab listens, on 127.0.0.1.")
    ] = 8888,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")
    ] = True,
) -> None:
    """Open JupyterLab on your copy of the notebooks, on 127.0.0.1 with a token; Ctrl-C ends it.

    The copy is yours: a notebook that you changed stays as it is when labkit has a newer one, which
    is then put beside it.
    """
    if folder is None:
        copied = copy_notebooks(users_folder())
        _tell(copied)
        folder = copied.folder
    elif not folder.is_dir():
        raise BadInput(f"{folder} is no folder: `labkit notebook` alone opens your copy")
    from labkit.ui.notebook_server import serve_notebooks

    serve_notebooks(folder.absolute(), port=port, browser=browser)


def _tell(copied: Copied) -> None:
    say(f"your notebooks are in {copied.folder}")
    if copied.new:
        say(f"copied: {', '.join(copied.new)}")
    if copied.renewed:
        say(f"renewed, as you had not changed them: {', '.join(copied.renewed)}")
    for yours, newer in (copied.beside or {}).items():
        say(f"you changed {yours}: it stays, and labkit's newer one is {newer}")
