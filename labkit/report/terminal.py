"""A result in a terminal, the verdict first."""

from __future__ import annotations

import io

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from labkit.plain import PlainTable, one_line, plain
from labkit.report import words
from labkit.verdict.finding import Verdict
from labkit.verdict.summary import Summary

_TEXT_WIDTH = 110
_STYLE = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "bold yellow"}


def plain_report(summary: Summary) -> str:
    """Return the report of a run as plain text."""
    out = Console(file=io.StringIO(), width=_TEXT_WIDTH, color_system=None)
    with out.capture() as captured:
        out.print(terminal_report(summary))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def terminal_report(summary: Summary) -> RenderableType:
    """Return the report of a run for rich to print, verdict first."""
    verdict = summary.verdict
    headline = Text.assemble(
        (f"{words.HEADWORD[verdict]}.", _STYLE[verdict]), " ", one_line(words.plain_words(summary))
    )
    return Group(
        Text(plain(f"{summary.scenario} on {summary.backend}"), style="dim"),
        headline,
        Padding(_headlines(summary), (1, 0, 0, 0)),
        *([_trials(summary)] if summary.trials else []),
        *([_recovery(summary)] if summary.recovery and not summary.trials else []),
        *(_waterfall(cells) for cells in words.waterfalls(summary)),
        *(_latency(latency) for latency in words.latency_tables(summary.latency)),
        *([_service(summary)] if summary.service else []),
        *([_failures(summary)] if summary.failures else []),
        _findings(summary),
    )


def _table(title: str, *, gap: bool = False) -> PlainTable:
    heading = Text("\n" * gap + plain(title), justify="left")
    return PlainTable(title=heading, title_style="bold", box=SIMPLE_HEAD)


def _headlines(summary: Summary) -> PlainTable:
    table = PlainTable(
        box=None, padding=(0, 2), collapse_padding=True, pad_edge=False, show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    for label, value in words.headlines(summary):
        table.add_row(label, value)
    return table


def _trials(summary: Summary) -> PlainTable:
    table = _table("Trials, each with its worst region", gap=True)
    for heading in words.TRIAL_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("fault", "verdict") else "right")
    for cells in words.trial_cells(summary):
        table.add_row(*cells, style="bold" if not cells[0].isdigit() else "")
    return table


def _recovery(summary: Summary) -> PlainTable:
    table = _table("Recovery", gap=True)
    for heading in words.RECOVERY_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("fault", "region") else "right")
    for row in summary.recovery:
        table.add_row(*words.recovery_cells(row))
    return table


def _waterfall(cells: words.WaterfallTable) -> PlainTable:
    table = _table(f"What the outage was made of: {cells.fault}, seconds since the injection")
    table.add_column("stage")
    for region in cells.regions:
        table.add_column(region, justify="right")
    for stage, row in cells.rows:
        table.add_row(stage, *row)
    return table


def _service(summary: Summary) -> PlainTable:
    table = _table(words.SERVICE_TITLE)
    for heading in words.SERVICE_HEADINGS:
        table.add_column(heading, justify="left" if heading in ("region", "phase") else "right")
    for row in words.service_rows(summary.service):
        table.add_row(*row)
    return table


def _failures(summary: Summary) -> PlainTable:
    table = _table("What was not acknowledged")
    for heading in words.FAILURE_HEADINGS:
        table.add_column(heading, justify="right" if heading == "count" else "left")
    for row in words.failure_rows(summary.failures):
        table.add_row(*row)
    return table


def _latency(latency: words.LatencyTable) -> PlainTable:
    table = _table(latency.title)
    table.add_column("region")
    table.add_column("phase")
    for heading in words.LATENCY_HEADINGS:
        table.add_column(heading, justify="right")
    for region, phase, cells in latency.rows:
        table.add_row(region, phase, *cells)
    return table


def _findings(summary: Summary) -> PlainTable:
    table = _table("What was checked")
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("finding")
    for finding in summary.findings:
        lines = [finding.summary, *(f"  {offender}" for offender in finding.offenders)]
        if finding.count > len(finding.offenders) > 0:
            lines.append(f"  and {finding.count - len(finding.offenders):,} more")
        table.add_row(
            words.check_name(finding.checker),
            Text(words.HEADWORD[finding.verdict].lower(), style=_STYLE[finding.verdict]),
            Text("\n".join(map(plain, lines))),
        )
    return table
