"""`labkit compare`: runs side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from labkit import files
from labkit.cli import completion
from labkit.cli.show import VERDICT_STYLE, AsJson, console, new_table, print_json, say
from labkit.errors import BadInput
from labkit.plain import plain

if TYPE_CHECKING:
    from labkit.report.compare import Comparison

MADE_BY = b'<meta name="generator" content="labkit compare">'
"""In the head of each page that is written here."""


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            autocompletion=completion.runs,
            help="Folders or names of runs, a part that is enough to tell it, `last`, `last-1`. "
            "One run alone: its experiments.",
        ),
    ],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write it as a page that opens offline, too."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: two backends, two survival goals, two commits."""
    if html is not None:
        _require_ours(html)
    from labkit.report.compare import compare as compared
    from labkit.run.finished import find_run, of_whole_runs, side_by_side

    named = [find_run(name) for name in runs]
    for number, run in enumerate(named):
        if run.folder in [other.folder for other in named[:number]]:
            raise BadInput(f"{run.name} is named twice: a run differs in nothing from itself")
    summaries = side_by_side(named)
    of_runs = of_whole_runs(named)
    found = compared(summaries, of_runs)
    if as_json:
        print_json(asdict(found))
    else:
        for renderable in comparison_tables(found):
            console().print(renderable)
    if html is not None:
        from labkit.report.compare_page import compare_html

        files.write_text(html, compare_html(summaries, of_runs))
        say(html, err=as_json)


def _require_ours(html: Path) -> None:
    """Refuse to replace a file that is not a page of `labkit compare`.

    Raises:
        BadInput: it is another file; the message names it.
    """
    if not os.path.lexists(html):
        return
    if html.is_symlink() or not html.is_file() or MADE_BY not in html.read_bytes()[:2000]:
        raise BadInput(
            f"{html} is there already, and is no page of `labkit compare`: give --html another name"
        )


def comparison_tables(found: Comparison) -> Iterable[Table]:
    """List what was measured, and then the settings that differ."""
    change = ["change", "by chance?"] if found.with_change else []
    numbers = new_table("", *found.names, *change)
    verdicts = [Text(verdict, VERDICT_STYLE[verdict]) for verdict in found.verdicts]
    numbers.add_row("verdict", *verdicts, *("" for _ in change))
    if found.of_runs:
        whole = [Text(verdict, VERDICT_STYLE[verdict]) for verdict in found.of_runs]
        numbers.add_row("verdict of the whole run", *whole, *("" for _ in change))
    for number in found.numbers:
        changed = [number.change(), number.chance()] if change else []
        numbers.add_row(number.label, *number.cells(), *changed)
    yield numbers
    if found.settings:
        headings = ("set differently", *found.names)
        settings = new_table(*(Text(f"\n{plain(heading)}") for heading in headings))
        for label, texts in found.settings:
            settings.add_row(label, *texts)
        yield settings
