"""The command line: `labkit up`, `labkit fault kill primary`, `labkit run 03_node_loss`.

app      the program with all commands
outcome  exit codes, and errors as one line
show     tables, progress and JSON
Each other module has the commands about one subject.

A command itself imports whatever takes long to import (pandas, plotly, papermill).
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the `labkit` program."""
    # importing takes a moment and starts nothing: until it is done, Ctrl-C may end it at once
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from labkit import environment

    environment.drop_foreign()
    from labkit.cli import completion
    from labkit.cli.app import app

    signal.signal(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # from now on what a command has started must be stopped; nohup is respected
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if os.environ.get(completion.VARIABLE) == "complete_bash":
        completion.answer_bash(app)
    else:
        app()


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
