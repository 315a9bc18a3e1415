"""The command that judges a run again from its files: `labkit judge`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from labkit.cli import completion
from labkit.cli.outcome import Exit, complain
from labkit.cli.show import AsJson, console, print_json
from labkit.errors import LabError


def judge(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            autocompletion=completion.runs,
            help="Folder or name of a run, a part that is enough to tell it, `last`, `last-1`.",
        ),
    ] = "last",
    as_json: AsJson = False,
) -> None:
    """Judge a run again from its files: samples, ledger, faults, and what the database held.

    The verdict must be the one in `result.json`; if they differ, nothing is proven. Exit code 0:
    passed. 1: failed. 2: not proven, or the files say something else than `result.json`. 3: the
    files cannot be used.
    """
    from labkit.report.terminal import terminal_report
    from labkit.run.finished import experiments, find_run
    from labkit.verdict.again import judged_again
    from labkit.verdict.finding import Verdict, worst

    found = find_run(run)
    try:
        results = [judged_again(folder) for folder in experiments(found.folder)]
    except (LabError, OSError) as error:
        complain(f"{found.name} cannot be judged: {error}")
        raise typer.Exit(Exit.COULD_NOT) from error
    for line in found.misplaced:
        complain(line)
    verdict = worst(
        [*(one.verdict for one in results), *(Verdict.UNKNOWN for _ in found.misplaced)]
    )
    if as_json:
        print_json(
            {
                "name": found.name,
                "folder": str(found.folder),
                "verdict": verdict,
                "experiments": [
                    {
                        "scenario": one.summary.scenario,
                        "verdict": one.verdict,
                        "findings": {
                            finding.checker: {
                                "verdict": finding.verdict,
                                "summary": finding.summary,
                                "offenders": list(finding.offenders),
                            }
                            for finding in one.findings
                        },
                    }
                    for one in results
                ],
            }
        )
    else:
        for one in results:
            console().print(terminal_report(one.summary))
        console().print(Text(str(found.folder)), soft_wrap=True)
    raise typer.Exit({Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 2}[verdict])
