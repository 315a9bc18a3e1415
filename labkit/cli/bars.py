"""The progress of a headless run: a bar for the notebook's cells, and one for a cell's trials."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from labkit.cli.show import console
from labkit.plain import plain

if TYPE_CHECKING:
    from labkit.run.notebook import Progress as RunProgress

LINE_WIDTH = 60
"""So many columns of a notebook's line are shown beside a bar."""


class Bars:
    """Bars in a terminal; elsewhere each line of the notebook is printed."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = False
        self._console = console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[line]}", style="dim", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._cells = self._bars.add_task(plain(title), total=None, line="", visible=True)
        self._trials = self._bars.add_task("trials", total=None, line="", visible=False)

    def __enter__(self) -> Self:
        """Show nothing yet, because the notebook may still be refused."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the bars."""
        self._bars.stop()

    def __call__(self, now: RunProgress) -> None:
        """Show the progress of the run."""
        first, self._begun = not self._begun, True
        if not self._console.is_terminal:
            if first:
                self._console.print(Text(plain(f"notebook {self._title}")), soft_wrap=True)
            if now.line:
                self._console.print(Text(plain(f"{where(now)} {now.line}")), soft_wrap=True)
            return
        if first:
            self._bars.start()
        trials = now.trials > 0
        line = plain(now.line, LINE_WIDTH)
        # a cell, or a trial, that is under way is not done yet
        self._bars.update(
            self._cells,
            total=now.cells,
            completed=max(now.cell - 1, 0),
            line="" if trials else line,
        )
        self._bars.update(
            self._trials,
            total=now.trials,
            completed=max(now.trial - 1, 0),
            line=line,
            visible=trials,
        )


def where(now: RunProgress) -> str:
    """Say which cell is running: `[5/14]`, or `[5/14, trial 2 of 3]`."""
    trial = f", trial {now.trial} of {now.trials}" if now.trials else ""
    return f"[{now.cell}/{now.cells}{trial}]"
