"""The output of commands: tables and plain lines for people, JSON for programs.

Answers go to standard output, progress to standard error. Only a terminal gets spinners, and
colours unless NO_COLOR is set.
"""

from __future__ import annotations

import json
from math import isfinite
from time import monotonic
from types import TracebackType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.status import Status
from rich.text import Text

from labkit.cluster.status import ClusterStatus, NodeStatus, ServiceStatus, State
from labkit.plain import PlainTable, plain

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
"""The option of every command whose answer a program may want."""

PIPE_WIDTH = 200
"""The width without a terminal, in columns: wide enough that no cell is broken into lines."""

VERDICT_STYLE = {"pass": "green", "fail": "red", "unknown": "yellow", "damaged": "red"}
STYLE = {State.RUNNING: "green", State.PAUSED: "yellow", State.DOWN: "red"}


def console(*, stderr: bool = False) -> Console:
    """Open standard output, or standard error, as it is now.

    Texts are printed as they are: rich would take `[notebook]` for markup and leave it out.
    """
    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found.width = PIPE_WIDTH
    return found


def say(line: object, *, err: bool = False) -> None:
    """Print one line, with control characters shown as escapes."""
    typer.echo(plain(line), err=err)


def print_json(data: object) -> None:
    """Print data as JSON for a program, with null for NaN and the infinities."""
    typer.echo(json.dumps(_numbers_only(data), indent=2, allow_nan=False))


def _numbers_only(data: object) -> object:
    if isinstance(data, dict):
        return {key: _numbers_only(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_numbers_only(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


def counted(number: int, thing: str) -> str:
    """Say `1 node`, `9 nodes`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


class Stages:
    """A display of stages: a spinner while a stage lasts, and then a line with its duration.

    Without a terminal, a line is printed when a stage begins.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._spinner: Status | None = None
        self._stage = ""
        self._since_s = 0.0

    def __call__(self, stage: str) -> None:
        """Begin a stage, and end the one before."""
        self._close("done", "green")
        self._stage, self._since_s = stage, monotonic()
        if self._console.is_terminal:
            self._spin(stage)
        else:
            self._console.print(Text(plain(stage)), soft_wrap=True)

    def detail(self, where: str, line: str) -> None:
        """Show the progress of the stage beside the spinner, or as a line without a terminal."""
        if self._console.is_terminal:
            self._spin(f"{self._stage} {where} {line}")
        elif line:
            self._console.print(Text(plain(f"{where} {line}")), soft_wrap=True)

    def __enter__(self) -> Self:
        """Show nothing until the first stage begins."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the last stage; an error of the block marks it as failed."""
        self._close(*(("done", "green") if error is None else ("failed", "red")))
        if self._spinner is not None:
            self._spinner.stop()

    def _spin(self, text: str) -> None:
        line = Text(plain(text), no_wrap=True, overflow="ellipsis")
        if self._spinner is None:
            self._spinner = self._console.status(line)
            self._spinner.start()
        else:
            self._spinner.update(line)

    def _close(self, word: str, style: str) -> None:
        if self._stage and self._console.is_terminal:
            took = f"{monotonic() - self._since_s:.1f} s"
            self._console.print(
                Text(f"{word:>6}", style), Text(plain(self._stage)), Text(took, "dim")
            )
        self._stage = ""


def print_status(status: ClusterStatus) -> None:
    """Print the status of a cluster as tables."""
    out = console()
    goal = status.survival_goal or "unknown"
    health = ("in service", "green") if status.healthy else ("not in service", "red")
    wan = "on" if status.wan else "off"
    out.print(
        Text.assemble(health, f" - backend {status.backend}, survival goal {goal}, WAN {wan}")
    )
    nodes = new_table("region", "node", "role", "lag", "state", "health")
    for node in status.nodes:
        lag = node.behind if node.lag_bytes is None else f"{node.lag_bytes:,} B"
        nodes.add_row(node.region, node.name, node.role, lag, *_condition(node))
    out.print(nodes)
    services = new_table("region", "service", "ports", "state", "health")
    for part in (*status.balancers, *status.coordinators):
        ports = ", ".join(f"{name} {port}" for name, port in part.ports.items())
        services.add_row(part.region or "all", part.name, ports, *_condition(part))
    out.print(services)
    if status.links:
        links = new_table("link", "delay", "jitter", "state")
        for link in status.links:
            state = Text("cut", "red") if link.cut else Text("open", "green")
            ends = f"{link.source} > {link.target}"
            links.add_row(ends, f"{link.delay_ms:g} ms", f"{link.jitter_ms:g} ms", state)
        out.print(links)


def new_table(*columns: str | Text) -> PlainTable:
    """Make an empty table that reads well in a terminal and in a file."""
    table = PlainTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _condition(part: NodeStatus | ServiceStatus) -> tuple[Text, Text]:
    health = Text("ok", "green") if part.healthy else Text(part.detail or "unwell", "red")
    return Text(part.state, STYLE[part.state]), health
