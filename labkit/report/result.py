"""A result as people see it: in a notebook, and as text."""

from __future__ import annotations

from typing import Self

from rich.console import RenderableType

from labkit.report.html import fragment_html
from labkit.report.terminal import plain_report, terminal_report
from labkit.verdict import result as judged


class Result(judged.Result):
    """A run, which a notebook shows with the verdict first; `print` writes it as text."""

    @classmethod
    def of(cls, result: judged.Result) -> Self:
        """Return the same run, to be shown."""
        return cls(**vars(result))

    @property
    def report(self) -> Self:
        """The result itself: older notebooks write `result.report.require(...)`."""
        return self

    def __str__(self) -> str:
        return plain_report(self.summary)

    def __rich__(self) -> RenderableType:
        return terminal_report(self.summary)

    def _repr_html_(self) -> str:
        return fragment_html(self.summary)
