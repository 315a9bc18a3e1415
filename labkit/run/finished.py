"""The folders that runs leave: found, listed, and made whole after a run that was broken off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from labkit.assets import runs_folder
from labkit.errors import BadInput
from labkit.history import SAMPLES_FILE
from labkit.report.page import REPORT_FILE, write_report
from labkit.run import folders
from labkit.run.folders import MORE_FOLDER, TRIALS_FOLDER
from labkit.verdict.finding import Finding, Verdict, worst
from labkit.verdict.limits import gates
from labkit.verdict.result import Result, read_summary
from labkit.verdict.seal import RESULT_FILE, lost_experiments
from labkit.verdict.summary import Summary
from labkit.workload.ledger import LEDGER_FOLDER

SHOWN = 8
"""Runs that a message lists."""


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: of the run; a notebook's further experiments have theirs inside it.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name: time, scenario, backend."""
        return self.folder.name

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """One an experiment, in their order.

        Empty when the run measured nothing: a notebook that only shows things, or one that broke
        down before. A result that cannot be read is none; `damaged` names it.
        """
        return tuple(found for found in self._results if isinstance(found, Summary))

    @cached_property
    def damaged(self) -> tuple[str, ...]:
        """Return what is there of a result and is none: a line each, which names the file.

        A damaged or edited result, or one of another version of labkit; an experiment without a
        result, one that was removed, and a number that no experiment has.
        """
        return (*(found for found in self._results if isinstance(found, str)), *self.misplaced)

    @cached_property
    def misplaced(self) -> tuple[str, ...]:
        """List experiments that should not be there and those that are missing, one per line."""
        more = folders.more_folders(self.folder)
        found = [
            f"{path}: an experiment under a name that labkit does not give"
            for path in sorted((self.folder / MORE_FOLDER).glob("*"))
            if path not in more and ((path / RESULT_FILE).exists() or _measured(path))
        ]
        found += [
            f"{self.folder / name}: an experiment of the run was there, and is not"
            for name in lost_experiments(self.folder)
        ]
        there = [int(folder.name.partition("-")[0]) for folder in more]
        due = range(2, len(there) + 2)
        if sorted(there) != [*due]:
            found.append(f"{self.folder / MORE_FOLDER}: has experiments {there}, not {[*due]}")
        return tuple(found)

    @property
    def verdict(self) -> Verdict | None:
        """The worst of its experiments, None without a measurement. What is damaged is UNKNOWN."""
        found = [summary.verdict for summary in self.summaries]
        found += [Verdict.UNKNOWN for _ in self.damaged]
        return worst(found) if found else None

    @cached_property
    def _results(self) -> tuple[Summary | str, ...]:
        more = folders.more_folders(self.folder)
        found: list[Summary | str] = []
        for folder in (self.folder, *more):
            if (folder / RESULT_FILE).exists():
                try:
                    found.append(read_summary(folder))
                except BadInput as error:
                    found.append(str(error))
            elif folder in more or more or _measured(folder):
                found.append(f"{folder / RESULT_FILE}: no result there, and a run left its files")
        return tuple(found)


def _measured(folder: Path) -> bool:
    """Tell whether a run left in a folder what only a measurement leaves."""
    return any((folder / name).exists() for name in (SAMPLES_FILE, LEDGER_FOLDER, TRIALS_FOLDER))


def list_runs() -> list[Run]:
    """Every run folder, the newest first.

    Raises:
        BadInput: the place of runs is no folder.
    """
    folders = runs_folder()
    if not folders.is_dir():
        if folders.exists():
            raise BadInput(f"{folders} is no folder: LABKIT_RUNS names the one with the runs")
        return []
    found = [path for path in folders.iterdir() if path.is_dir() and path.name[:1].isdigit()]
    return [Run(folder) for folder in sorted(found, reverse=True)]


def find_run(name: str) -> Run:
    """Find a run by the path of its folder, by its name, or by a part of the name.

    `last` is the newest run, `last-1` the one before it.

    Raises:
        BadInput: there is none, or there are several; lists the nearest.
    """
    if not name.strip():  # as a path it is the current folder, and a part of every name
        raise BadInput("no run has an empty name: `labkit runs` lists them, `last` is the newest")
    if _is_folder(name):
        return Run(Path(name).absolute())
    known = list_runs()
    if not known:
        raise BadInput(f"no run {name!r}: there are no runs in {runs_folder()}")
    back = name.removeprefix("last")
    if name.startswith("last") and (not back or (back[:1] == "-" and back[1:].isdigit())):
        age = int(back[1:] or 0)
        if age < len(known):
            return known[age]
        there = "1 run is" if len(known) == 1 else f"{len(known)} runs are"
        raise BadInput(f"no run {name!r}: {there} there")
    exact = [run for run in known if run.name == name]
    found = exact or [run for run in known if name in run.name]
    if len(found) == 1:
        return found[0]
    names = [run.name for run in found or known]
    some = names if len(names) <= SHOWN else get_close_matches(name, names, SHOWN, cutoff=0.0)
    left = f" and {len(names) - len(some)} more (`labkit runs`)" if len(names) > len(some) else ""
    several = "several runs match" if found else "no run"
    raise BadInput(f"{several} {name!r}: {'' if found else 'there are '}{', '.join(some)}{left}")


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # a name that no file system takes
        return False


def make_whole(folder: Path, why: str) -> None:
    """Complete the experiments of a run folder that were broken off, and write every report anew.

    Args:
        why: what broke it off, in a few words.
    """
    for experiment in experiments(folder):
        for part in (*sorted((experiment / TRIALS_FOLDER).glob("*")), experiment):
            with suppress(BadInput):  # `Run.damaged` names it
                if folders.is_open(part):
                    folders.complete(part, why)
        # with what the notebook required in it
        if _summary(experiment) is not None:
            with suppress(BadInput):
                write_report(Result.load(experiment), experiment)


def hold_to(run: Run, limits: Mapping[str, float]) -> list[Finding]:
    """Hold a run to limits from outside; its results and reports have the outcomes then.

    Returns:
        A finding for each gate and each experiment it looked at; empty when nothing was measured.
    """
    results = [Result.load(folder) for folder in experiments(run.folder) if _summary(folder)]
    held = gates([result.summary for result in results], limits)
    for result, findings in zip(results, held, strict=True):
        judged = result.with_findings(findings)
        judged.save_summary()
        assert judged.folder is not None
        write_report(judged, judged.folder)
    return [finding for findings in held for finding in findings]


def side_by_side(runs: Sequence[Run]) -> dict[str, Summary]:
    """Choose the experiments that a comparison is about, and name each so that it is told apart.

    One run gives all its experiments; several runs give the first experiment of each, and
    `of_whole_runs` says what the verdict of all of them is.

    Raises:
        BadInput: a run measured nothing, or is damaged, or there are fewer than two experiments.
    """
    for run in runs:
        if run.damaged:
            raise BadInput(f"{run.name} cannot be compared: {run.damaged[0]}")
        if not run.summaries:
            raise BadInput(f"{run.name} measured nothing, so there is nothing to compare")
    if len(runs) == 1:
        found = list(runs[0].summaries)
        if len(found) < 2:
            raise BadInput(f"{runs[0].name} has one experiment: name a second run to compare with")
        names = [summary.scenario for summary in found]
    else:
        found = [run.summaries[0] for run in runs]
        names = [_name(summary, found) for summary in found]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    return dict(zip(names, found, strict=True))


def of_whole_runs(runs: Sequence[Run]) -> tuple[Verdict, ...]:
    """Give the verdict of each run, where `side_by_side` leaves experiments of one out."""
    if len(runs) == 1 or all(len(run.summaries) == 1 for run in runs):
        return ()
    return tuple(run.verdict or Verdict.UNKNOWN for run in runs)


def _name(summary: Summary, others: Sequence[Summary]) -> str:
    """Name a run by what tells it from the others, else by when it was begun."""
    told = [of(summary) for of in _NAMED_BY if len({of(other) for other in others}) > 1]
    if not told:
        told = [
            f"{name} {value}"
            for name, value in summary.parameters.items()
            if len({str(other.parameters.get(name)) for other in others}) > 1
        ]
    return ", ".join(told) or f"{summary.started_at:%Y-%m-%d %H:%M:%S}"


_NAMED_BY: tuple[Callable[[Summary], str], ...] = (
    lambda summary: summary.scenario,
    lambda summary: summary.backend,
    lambda summary: f"survive {summary.topology.survive}",
    lambda summary: summary.versions.get("commit", ""),
)


def reports(folder: Path) -> list[Path]:
    """Every report of a run folder, one an experiment."""
    found = [experiment / REPORT_FILE for experiment in experiments(folder)]
    return [report for report in found if report.exists()]


def experiments(folder: Path) -> Iterator[Path]:
    """List the folders of a notebook's experiments: the run folder itself, and those inside it.

    Their names begin with a number; a folder of another name is not of labkit.
    """
    yield folder
    yield from folders.more_folders(folder)


def _summary(folder: Path) -> Summary | None:
    try:
        return read_summary(folder) if (folder / RESULT_FILE).exists() else None
    except BadInput:
        return None
