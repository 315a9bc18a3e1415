"""The commands that make and list runs: run, demo, runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.text import Text

from labkit.cli import completion
from labkit.cli.bars import Bars, where
from labkit.cli.gates import gate, hold, limits
from labkit.cli.outcome import Exit, complain, foreseen
from labkit.cli.show import VERDICT_STYLE, AsJson, Stages, console, new_table, print_json
from labkit.cluster.marks import running
from labkit.errors import BadInput

if TYPE_CHECKING:
    from labkit.run.finished import Run
    from labkit.run.notebook import Progress
    from labkit.verdict.summary import Summary

EXIT_OF: dict[str | None, int] = {None: Exit.OK, "pass": Exit.OK, "fail": 1, "unknown": 2}
"""The exit code per verdict; None is the verdict of a notebook that measures nothing."""


def run(
    notebook: Annotated[
        str | None,
        typer.Argument(
            autocompletion=completion.notebook_names,
            help="A path, or a name such as 03_node_loss or node_loss.",
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            autocompletion=completion.parameters,
            help="A parameter of the notebook; repeat.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Run every notebook, one after another.")
    ] = False,
    short: Annotated[
        bool,
        typer.Option("--short", help="With short holds and few samples: does it work at all?"),
    ] = False,
    max_rto: Annotated[float | None, gate("rto_s")] = None,
    max_write_gap: Annotated[float | None, gate("write_gap_s")] = None,
    max_unavailable: Annotated[float | None, gate("unavailable_s")] = None,
    max_p99: Annotated[float | None, gate("p99_ms")] = None,
    max_lost: Annotated[int | None, gate("lost_acks")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a notebook on the lab without a browser, and print the verdict.

    Exit code 0: passed, or the notebook measures nothing. 1: a requirement does not hold, or a gate
    fails. 2: not proven either way, or the command line is refused and nothing was run. 3: the
    notebook could not be run. Several notebooks end with the worst code: 3 before 1 before 2.
    """
    asked = limits(
        rto_s=max_rto,
        write_gap_s=max_write_gap,
        unavailable_s=max_unavailable,
        p99_ms=max_p99,
        lost_acks=max_lost,
    )
    chosen = _chosen(notebook, every)
    given = _parameters(parameter or [])
    if every and given:
        raise BadInput("-p goes with one notebook: each has parameters of its own")
    if every:
        _run_all(chosen, short, asked, as_json)
    found = _run_one(chosen[0], given, short)
    held = hold(found, asked)
    if asked and not held.summaries and not held.damaged:
        complain(f"gate not proven: {found.name} measured nothing")
    _finish(held, as_json, unknown=bool(asked) and not held.summaries)


def _chosen(notebook: str | None, every: bool) -> list[str]:
    from labkit.notebooks import notebooks

    if every and notebook is not None:
        raise BadInput(f"--all runs every notebook: leave out {notebook}")
    if not every and notebook is None:
        raise BadInput(f"say which notebook, or --all: there are {', '.join(notebooks())}")
    return list(notebooks()) if notebook is None else [notebook]


def _run_one(notebook: str, given: dict[str, str], short: bool) -> Run:
    from labkit.run.notebook import run_notebook

    with Bars(notebook) as bars:
        return run_notebook(notebook, given, bars, short=short)


def _run_all(chosen: list[str], short: bool, asked: Mapping[str, float], as_json: bool) -> NoReturn:
    """Run every notebook, also after a failure; print a line each, and end with the worst code."""
    rows: list[tuple[str, Run | None, str]] = []
    for name in chosen:
        try:
            rows.append((name, hold(_run_one(name, {}, short), asked), ""))
        except Exception as error:
            known = foreseen(error)
            if known is None:
                raise
            complain(f"{name}: {known[1]}")
            rows.append((name, None, known[1]))
    if as_json:
        print_json(
            [
                {"notebook": name, "error": error or None, **(_to_json(run) if run else {})}
                for name, run, error in rows
            ]
        )
    else:
        table = new_table("notebook", "verdict", "RTO", "lost acks", "report")
        for name, run, _ in rows:
            verdict = (run.verdict or "ran") if run else "broke down"
            numbers = _headlines(run.summaries[0] if run and run.summaries else None)
            table.add_row(
                name,
                Text(verdict, VERDICT_STYLE.get(verdict, "red" if run is None else "")),
                numbers.get("RTO", ""),
                numbers.get("Lost acks", ""),
                str(run.folder) if run else "",
            )
        console().print(table)
    codes = [Exit.COULD_NOT if run is None else EXIT_OF[run.verdict] for _, run, _ in rows]
    raise typer.Exit(max(codes, key=(0, 2, 1, 3).index))


def demo(as_json: AsJson = False) -> None:
    """Measure one node loss in a lab of its own, and remove that lab again.

    It does not touch your lab. The exit codes are those of `labkit run`.
    """
    from labkit.demo import demo as run_demo

    with Stages() as stages:
        found = run_demo(stages, lambda progress: _tell(stages, progress))
    _finish(found, as_json)


def runs(as_json: AsJson = False) -> None:
    """List the runs, the newest first."""
    from labkit.run.finished import list_runs

    found = list_runs()
    if as_json:
        print_json([_to_json(one) for one in found])
    elif not found:
        typer.echo("no runs yet: `labkit run 03_node_loss` makes one")
    else:
        table = new_table("run", "verdict", "trials", "RTO", "lost acks")
        for one in found:
            verdict = "damaged" if one.damaged else one.verdict or "none"
            if running(one.folder):
                verdict = "running"
            for place, summary in enumerate(_finished(one) or (None,)):
                numbers = _headlines(summary)
                table.add_row(
                    *(
                        (one.name, Text(verdict, VERDICT_STYLE.get(verdict, "")))
                        if not place
                        else ("", "")
                    ),
                    str(len(summary.trials) or 1) if summary else "",
                    numbers.get("RTO", ""),
                    numbers.get("Lost acks", ""),
                )
        console().print(table)
        for damage in (line for one in found for line in one.damaged):
            complain(damage)


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


def _finish(found: Run, as_json: bool, *, unknown: bool = False) -> None:
    if as_json:
        print_json(_to_json(found))
    else:
        _print(found)
    raise typer.Exit(EXIT_OF["unknown" if unknown else found.verdict])


def _print(found: Run) -> None:
    out = console()
    for damage in found.damaged:
        complain(damage)
    if not found.summaries and not found.damaged:
        out.print("It ran to its end and measured nothing.")
    for summary in found.summaries:
        from labkit.report.terminal import terminal_report

        out.print(terminal_report(summary))
    from labkit.run.finished import reports

    for path in reports(found.folder) or [found.folder]:
        out.print(Text(str(path)), soft_wrap=True)


def _headlines(summary: Summary | None) -> dict[str, str]:
    from labkit.report.words import headlines

    return dict(headlines(summary)) if summary else {}


def _finished(found: Run) -> tuple[Summary, ...]:
    """List the experiments that have measured something; one of a run that goes on may not have."""
    from labkit.verdict.sound import COMPLETED

    if not running(found.folder):
        return found.summaries
    return tuple(one for one in found.summaries if one.finding(COMPLETED) is None)


def _to_json(found: Run) -> dict[str, object]:
    finished, mark = _finished(found), running(found.folder)
    first = finished[0] if finished else None
    return {
        "name": found.name,
        "folder": str(found.folder),
        "running": {"process": mark.pid, "since": mark.since} if mark else None,
        "verdict": None if mark else found.verdict,
        "damaged": list(found.damaged),
        "scenario": first.scenario if first else None,
        "backend": first.backend if first else None,
        "started_at": first.started_at.isoformat() if first else None,
        "trials": len(first.trials) if first else 0,
        "headlines": _headlines(first),
        "experiments": [
            {
                "scenario": one.scenario,
                "verdict": one.verdict,
                "headlines": _headlines(one),
                "not_passed": {
                    finding.checker: finding.summary
                    for finding in one.findings
                    if finding.verdict != "pass"
                },
            }
            for one in finished
        ],
    }
