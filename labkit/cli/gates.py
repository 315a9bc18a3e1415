"""`--max-rto` and its like: options that turn a run into a gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from labkit.cli.outcome import complain
from labkit.verdict.finding import Verdict
from labkit.verdict.measures import MEASURES

if TYPE_CHECKING:
    from labkit.run.finished import Run

MOST = 10**12
"""An infinite limit would hold for every run."""
_METAVAR = {"s": "SECONDS", "ms": "MS", "": "N"}


def gate(name: str) -> Any:
    """Return the option that holds a run to a limit of one measure."""
    measure = MEASURES[name]
    return typer.Option(
        measure.option,
        metavar=_METAVAR[measure.unit],
        min=0,
        max=MOST,
        rich_help_panel="Gates",
        help=f"The run fails if this is larger: {measure.meaning}.",
    )


def limits(**given: float | None) -> dict[str, float]:
    """Pick the limits that were given, by the name of their measure."""
    return {name: limit for name, limit in given.items() if limit is not None}


def hold(run: Run, asked: Mapping[str, float]) -> Run:
    """Hold a run to its gates, and print a line for each gate that does not pass.

    Returns:
        The run, with a verdict that includes the gates.
    """
    from labkit.run.finished import Run, hold_to

    if not asked:
        return run
    for damage in run.damaged:
        complain(f"gate not proven: {damage}")
    if not run.summaries:
        return run
    for finding in hold_to(run, asked):
        if finding.verdict is not Verdict.PASS:
            word = "failed" if finding.verdict is Verdict.FAIL else "not proven"
            complain(f"gate {word}: {finding.summary}")
    return Run(run.folder)
