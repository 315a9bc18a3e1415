"""The program with all commands, in the order of `labkit --help`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from labkit.cli import (
    compare,
    compose,
    desk,
    doctor,
    faults,
    judge,
    lab,
    load,
    nodes,
    notebook,
    runs,
)
from labkit.cli.outcome import Commands

app = typer.Typer(
    name="labkit",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # a bug shows a plain traceback: no boxes, and above all no values of local variables
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "The lab": (lab.up, lab.status, lab.down, doctor.doctor, lab.dsn, lab.sql),
    "Notebooks and runs": (
        desk.desk,
        runs.demo,
        runs.run,
        runs.runs,
        judge.judge,
        compare.compare,
        notebook.notebook,
    ),
    "Load": (load.load,),
    "Faults": (lab.heal,),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(nodes.node_commands, name="node", rich_help_panel="The lab")
app.add_typer(faults.fault_commands, name="fault", rich_help_panel="Faults")
app.add_typer(compose.compose_commands, name="compose", rich_help_panel="The lab")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(version("labkit"))
        raise typer.Exit


@app.callback()
def labkit(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """A multi-region SQL database on this machine: break it, and measure what clients see.

    Exit codes: 0 done; 1 what was asked about is not so; 2 the command line is refused; 3 it could
    not be done; 130 interrupted. `run` and `demo`: 0 passed, 1 failed, 2 not proven or
    refused, 3 not run.
    """
