"""A result for people: in a notebook, in a terminal, and as a gate that can say no."""

from __future__ import annotations

import io
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from labkit.errors import BadInput, VerdictFailed, VerdictUnknown
from labkit.plain import PlainTable, one_line, plain
from labkit.verdict import words
from labkit.verdict.checkers import Finding, Verdict, worst
from labkit.verdict.requirements import PREFIX, requirements
from labkit.verdict.result import Result, Summary

TEMPLATES = Environment(
    loader=PackageLoader("labkit.verdict"),
    autoescape=True,
    finalize=lambda value: value if isinstance(value, Markup) else plain(value),
    trim_blocks=True,
    lstrip_blocks=True,
)
"""Escapes everything a template prints, and shows control characters."""

_TEXT_WIDTH = 110
_STYLE = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "bold yellow"}


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What a result says, verdict first."""

    result: Result

    def require(self, *, elsewhere: bool = False, **limits: float) -> Report:
        """Hold the result to limits: `require(rto_s=15, lost_acks=0, duplicates=0)`.

        Every number must be at most its limit, in the worst region and under the worst fault;
        `labkit.verdict.requirements.MEASURES` lists what there is. Findings that no limit speaks
        of must pass too. Where the result was saved, its `result.json` is written again with the
        outcomes, before anything is raised.

        Args:
            elsewhere: `rto_s`, `write_gap_s` and `unavailable_s` are those of the regions that the
                fault was not aimed at. For faults that promise nothing to the region they hit.
            limits: a number for each requirement.

        Returns:
            The report with the outcomes in it; as the last line of a notebook's cell it is shown.

        Raises:
            BadInput: no such requirement, or a limit that is not a number of 0 or more.
            VerdictFailed: something required is proven false; a line for each.
            VerdictUnknown: nothing is false, but something is not proven; a line for each.
        """
        judged = self.result.with_findings(
            [
                *self._required_before(),
                *requirements(self.result.summary, limits, elsewhere=elsewhere),
            ]
        )
        judged.save_summary()
        limited = {PREFIX + name for name in limits}
        broken = [
            finding
            for finding in judged.findings
            if finding.verdict is not Verdict.PASS and PREFIX + finding.checker not in limited
        ]
        if broken:
            failed = worst(finding.verdict for finding in broken) is Verdict.FAIL
            raise (VerdictFailed if failed else VerdictUnknown)(
                "\n".join(f"{finding.checker}: {finding.summary}" for finding in broken)
            )
        return Report(judged)

    def _required_before(self) -> list[Finding]:
        """Return what was required of the saved result; a new requirement does not undo it."""
        if self.result.folder is None:
            return []
        try:
            saved, _ = Summary.look_at(self.result.folder)
        except BadInput:
            return []
        return [found for found in saved.findings if found.limit is not None]

    def __str__(self) -> str:
        out = Console(file=io.StringIO(), width=_TEXT_WIDTH, color_system=None)
        with out.capture() as captured:
            out.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())

    __repr__ = __str__

    def __rich__(self) -> RenderableType:
        return terminal_report(self.result.summary)

    def _repr_html_(self) -> str:
        return TEMPLATES.get_template("fragment.html.j2").render(context(self.result.summary))


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


def context(summary: Summary) -> dict[str, object]:
    """Return what the templates are filled with."""
    return {
        "summary": summary,
        "open_loop": summary.workload.get("concurrency") is None,
        "headword": words.HEADWORD[summary.verdict],
        "plain_words": one_line(words.plain_words(summary)),
        "headlines": words.headlines(summary),
        "trial_headings": words.TRIAL_HEADINGS,
        "trials": words.trial_cells(summary),
        # with trials each has its own row above; a row a region of each would be a wall
        "recovery": [words.recovery_cells(row) for row in summary.recovery if not summary.trials],
        "waterfalls": words.waterfalls(summary),
        "recovery_headings": words.RECOVERY_HEADINGS,
        "service_title": words.SERVICE_TITLE,
        "service_headings": words.SERVICE_HEADINGS,
        "service": words.service_rows(summary.service),
        "latency_headings": words.LATENCY_HEADINGS,
        "latencies": words.latency_tables(summary.latency),
        "failure_headings": words.FAILURE_HEADINGS,
        "failures": words.failure_rows(summary.failures),
        "HEADWORD": words.HEADWORD,
        "check_name": words.check_name,
    }


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
