"""`--max-rto` and its like: options that turn a run into a gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from labkit.cli.outcome import complain

if TYPE_CHECKING:
    from labkit.run_folders import Run
    from labkit.verdict.gates import Gate

PANEL = "Gates"
MOST = 10**12
"""An infinite limit would hold for every run."""

MaxRto = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=MOST,
        rich_help_panel=PANEL,
        help="The worst region's RTO is at most this.",
    ),
]
MaxWriteGap = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=MOST,
        rich_help_panel=PANEL,
        help="So is the worst region's write gap.",
    ),
]
MaxUnavailable = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=MOST,
        rich_help_panel=PANEL,
        help="The availability that the worst region lost is at most so many order-seconds.",
    ),
]
MaxP99 = Annotated[
    float | None,
    typer.Option(
        "--max-p99",
        metavar="MS",
        min=0,
        max=MOST,
        rich_help_panel=PANEL,
        help="The worst region's p99 after the fault, or of a run without one, is at most this.",
    ),
]
MaxLost = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        max=MOST,
        rich_help_panel=PANEL,
        help="At most N acknowledged orders are lost.",
    ),
]


def limits(**given: float | None) -> dict[Gate, float]:
    """Pick the gates that were given, each with its limit."""
    from labkit.verdict.gates import GATES

    return {gate: limit for gate in GATES if (limit := given.get(gate.measure)) is not None}


def hold(run: Run, asked: Mapping[Gate, float]) -> Run:
    """Hold a run to its gates, and print a line for each gate that does not pass.

    Returns:
        The run, with a verdict that includes the gates.
    """
    from labkit.run_folders import Run, hold_to
    from labkit.verdict.checkers import Verdict

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
