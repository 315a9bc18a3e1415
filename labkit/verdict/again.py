"""Judging a run again from the files that it left: `labkit judge`.

Whoever doubts a result need not believe `result.json`: the evidence is beside it. What comes out
must be what was said; where it is not, nothing is proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from labkit.history import SAMPLES_FILE, History, Terms, reading
from labkit.trading.audit import OPENING, FinalRead, read_in
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.judge import judge
from labkit.verdict.limits import GATE, REQUIRE, gates, requirements
from labkit.verdict.measures import MEASURES
from labkit.verdict.result import Result, look_at
from labkit.verdict.run import About, RunRecord
from labkit.verdict.seal import broken_seals
from labkit.verdict.sound import COMPLETED
from labkit.verdict.steady import SteadyState
from labkit.verdict.summary import Measurements, Summary
from labkit.verdict.trials import TrialRun, together, trial_of
from labkit.workload.ledger import read_ledger

JUDGED_AGAIN = "judged_again"
"""What the finding is called that says whether a run was judged as before."""
_MEASURED = (
    *("recovery", "rpo_s", "latency", "staleness", "waterfalls", "service", "failures"),
    *("trials", "spread", "healthy"),
)


def judged_again(folder: Path) -> Result:
    """Judge a run from its samples, ledger, faults, and the two reads of the database.

    Returns:
        The result, with a finding `JUDGED_AGAIN`: PASS where the files are those that the run
        left and everything is as `result.json` has it; else UNKNOWN, and its offenders say what
        differs. Limits that were required are held to again.

    Raises:
        BadInput: a file is damaged, or `result.json` cannot be read at all.
        OSError: there is no result, or no samples.
    """
    stored, wrong = look_at(folder)
    found = _again(folder, stored)
    trials = [folder / trial.folder for trial in stored.trials]
    offenders = [
        *wrong,
        *(line for part in (folder, *trials) for line in broken_seals(part) if line not in wrong),
        *_differences(stored, found.summary),
    ]
    said = Finding(JUDGED_AGAIN, Verdict.PASS, "the same as result.json has it")
    if offenders:
        said = Finding(
            JUDGED_AGAIN,
            Verdict.UNKNOWN,
            f"its files do not bear result.json out: {offenders[0]}",
            tuple(offenders[:10]),
            len(offenders),
        )
    return found.with_findings([said])


def _again(folder: Path, stored: Summary) -> Result:
    result = _trials(folder, stored) if stored.trials else _one(folder, stored)
    # why a run was broken off, only `result.json` knows
    kept = [found for found in stored.findings if found.checker == COMPLETED]
    return result.with_findings([*kept, *_limits(stored, result.summary)])


def _one(folder: Path, stored: Summary) -> Result:
    history = History.load(folder)
    terms = history.terms
    with reading(folder / SAMPLES_FILE):
        found = {} if terms is None else dict(_steady(history, terms))
    return judge(
        RunRecord(
            About.of(stored),
            history,
            started_at=stored.started_at,
            finished_at=stored.finished_at,
            ledger=read_ledger(folder),
            final=read_in(folder),
            opening=read_in(folder, OPENING),
            steady_before=found.get("before"),
            steady_after=found.get("after"),
        )
    )


def _steady(history: History, terms: Terms) -> Iterator[tuple[str, Finding]]:
    """Look again at the seconds in which the steady state was judged, "before" and "after"."""
    steady = SteadyState(**terms.steady)
    for when, (since_s, until_s) in terms.looks.items():
        yield (
            when,
            steady.check(
                history.ops, regions=history.regions, since_s=since_s, until_s=until_s, when=when
            ),
        )


def _trials(folder: Path, stored: Summary) -> Result:
    runs = []
    for trial in stored.trials:
        there = folder / trial.folder
        summary, _ = look_at(there)
        result = _again(there, summary)
        line = trial_of(
            result,
            number=trial.number,
            inject_after_s=trial.inject_after_s,
            folder=trial.folder,
        )
        runs.append(TrialRun(line, result, read_ledger(there)))
    first: FinalRead | None = read_in(folder / stored.trials[0].folder, OPENING)
    return together(
        runs,
        planned=stored.trials_planned,
        ended=stored.trials_ended,
        final=read_in(folder),
        opening=first,
    )


def _limits(stored: Summary, summary: Summary) -> Iterator[Finding]:
    """Hold the run to what was required of it, again."""
    for said in stored.findings:
        if said.checker.startswith((REQUIRE, GATE)) and said.limit is None:
            yield replace(said, verdict=Verdict.UNKNOWN, summary="its limit is not there")
        elif said.checker.startswith(REQUIRE):
            name = said.checker.removeprefix(REQUIRE)
            yield from requirements(summary, {name: said.limit or 0.0}, elsewhere=said.elsewhere)
        elif said.checker.startswith(GATE):
            name = said.checker.removeprefix(GATE)
            if name in MEASURES:
                yield from gates([summary], {name: said.limit or 0.0})[0]


def _differences(stored: Summary, again: Summary) -> Iterator[str]:
    """Return what is not in both, or not the same in both."""
    names = dict.fromkeys(found.checker for found in (*stored.findings, *again.findings))
    for name in names:
        if name == JUDGED_AGAIN:
            continue
        one, other = stored.finding(name), again.finding(name)
        if one is None or other is None:
            yield f"{name}: {'not in result.json' if one is None else 'nothing in the files'}"
        elif (one.verdict, one.count) != (other.verdict, other.count):
            yield (
                f"{name}: {_words(one)} in result.json, {_words(other)} by its files: "
                f"{other.summary}"
            )
    for part in _MEASURED:
        if _without_findings(getattr(stored, part)) != _without_findings(getattr(again, part)):
            yield f"{part}: another in result.json than by its files"


def _without_findings(value: object) -> object:
    """Return a part of a result; of trials only the numbers, the whole has their findings."""
    if isinstance(value, tuple):
        return tuple(
            one.model_copy(update={"findings": ()}) if isinstance(one, Measurements) else one
            for one in value
        )
    return value


def _words(finding: Finding) -> str:
    return f"{finding.verdict} ({finding.count:,})" if finding.count else str(finding.verdict)
