"""Commands around notebooks: run, demo, runs, notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from labkit.assets import asset
from labkit.cli.bars import Bars, where
from labkit.cli.outcome import Exit, complain
from labkit.cli.show import AsJson, Stages, console, new_table, print_json
from labkit.errors import BadInput, LabError, RunError

if TYPE_CHECKING:
    from labkit.run_folders import Run
    from labkit.runs import Progress
    from labkit.verdict.result import Summary

EXIT_OF: dict[str | None, int] = {None: Exit.OK, "pass": Exit.OK, "fail": 1, "unknown": 2}
"""By verdict; None is a notebook that measures nothing."""
STYLE = {"pass": "green", "fail": "red", "unknown": "yellow"}


def run(
    notebook: Annotated[
        str, typer.Argument(help="A path, or a name such as 03_node_loss or node_loss.")
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME=VALUE", help="A parameter of the notebook; repeat."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a notebook on the lab without a browser, and say what came out.

    Exit code 0: passed, or it measures nothing. 1: a requirement does not hold. 2: not proven
    either way. 3: it could not be run.
    """
    from labkit.runs import run_notebook

    try:
        with Bars(notebook) as bars:
            found = run_notebook(notebook, _parameters(parameter or []), bars)
    except LabError as error:  # not 2, which BadInput is elsewhere: that is a verdict here
        complain(error)
        raise typer.Exit(Exit.COULD_NOT) from error
    _finish(found, as_json)


def demo(as_json: AsJson = False) -> None:
    """Measure one node loss in a lab of its own, and remove that lab again.

    A lab that you have is not touched. Exit codes as of `labkit run`.
    """
    from labkit.demo import demo as run_demo

    try:
        with Stages() as stages:
            found = run_demo(stages, lambda progress: _tell(stages, progress))
    except LabError as error:
        complain(error)
        raise typer.Exit(Exit.COULD_NOT) from error
    _finish(found, as_json)


def runs(as_json: AsJson = False) -> None:
    """List the runs, the newest first."""
    from labkit.run_folders import list_runs

    found = list_runs()
    if as_json:
        print_json([_to_json(one) for one in found])
    elif not found:
        typer.echo("no runs yet: `labkit run 03_node_loss` makes one")
    else:
        table = new_table("run", "verdict", "trials", "RTO", "lost acks")
        for one in found:
            verdict = one.verdict or "none"
            for place, summary in enumerate(one.summaries or (None,)):
                numbers = _headlines(summary)
                table.add_row(
                    *((one.name, Text(verdict, STYLE.get(verdict, ""))) if not place else ("", "")),
                    str(len(summary.trials) or 1) if summary else "",
                    numbers.get("RTO", ""),
                    numbers.get("Lost acks", ""),
                )
        console().print(table)


def notebook(
    port: Annotated[int, typer.Option(help="Where JupyterLab listens, on 127.0.0.1.")] = 8888,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")
    ] = True,
) -> None:
    """Open JupyterLab on the lab's notebooks, on 127.0.0.1 with a token; Ctrl-C ends it."""
    if find_spec("jupyterlab") is None:
        raise RunError("JupyterLab is not installed: `pip install 'labkit[notebook]'`")
    argv = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    argv += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={asset('notebooks')}"]
    if not browser:
        argv.append("--no-browser")
    if os.geteuid() == 0:
        argv.append("--allow-root")
    os.execv(sys.executable, argv)  # noqa: S606 - becomes JupyterLab


def _parameters(given: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput(f"parameter {text!r}: write it as NAME=VALUE")
        if name in values:
            raise BadInput(f"parameter {name!r} is given twice")
        values[name] = value
    return values


def _tell(stages: Stages, progress: Progress) -> None:
    stages.detail(where(progress), progress.line)


def _finish(found: Run, as_json: bool) -> None:
    if as_json:
        print_json(_to_json(found))
    else:
        _print(found)
    raise typer.Exit(EXIT_OF[found.verdict])


def _print(found: Run) -> None:
    out = console()
    if not found.summaries:
        out.print("It ran to its end and measured nothing.")
    for summary in found.summaries:
        from labkit.verdict.report import terminal_report

        out.print(terminal_report(summary))
    from labkit.run_folders import reports

    for path in reports(found.folder) or [found.folder]:
        out.print(Text(str(path)), soft_wrap=True)


def _headlines(summary: Summary | None) -> dict[str, str]:
    from labkit.verdict.words import headlines

    return dict(headlines(summary)) if summary else {}


def _to_json(found: Run) -> dict[str, object]:
    first = found.summaries[0] if found.summaries else None
    return {
        "name": found.name,
        "folder": str(found.folder),
        "verdict": found.verdict,
        "scenario": first.scenario if first else None,
        "backend": first.backend if first else None,
        "started_at": first.started_at.isoformat() if first else None,
        "trials": len(first.trials) if first else 0,
        "headlines": _headlines(first),
        "experiments": [
            {"scenario": one.scenario, "verdict": one.verdict, "headlines": _headlines(one)}
            for one in found.summaries
        ],
    }
