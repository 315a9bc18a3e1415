"""Runs side by side: what was different about them, and what that changed.

Two backends, two survival goals, two commits, or the experiments of one notebook. A number that a
run has from several trials is their median, with the worst beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from labkit.errors import BadInput
from labkit.measurement.chance import difference
from labkit.measurement.rounding import written
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import OpKind
from labkit.report.words import spread_of
from labkit.verdict.finding import Verdict
from labkit.verdict.limits import number_of, with_error
from labkit.verdict.measures import MEASURES
from labkit.verdict.summary import Summary

SIGNIFICANT = 0.05
"""A difference that chance makes less often than this is larger than chance."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of one run.

    Attributes:
        value: the median of its trials; None where it is not known.
        error: how far off `value` may be.
        trials: what each trial measured, None where it is not known; empty without trials.
        worst: of the trials; None where a run has none, or one is not known.
        worst_error: how far off `worst` may be.
    """

    value: float | None
    error: float = 0.0
    trials: tuple[float | None, ...] = ()
    worst: float | None = None
    worst_error: float = 0.0

    def text(self, unit: str) -> str:
        """`6.2 s ± 0.1 s`, or `6.2 s ± 0.1 s, worst 7.5 s ± 0.1 s` of trials."""
        text = written(self.value, unit, self.error)
        worst = written(self.worst, unit, self.worst_error)
        return f"{text}, worst {worst}" if len(self.trials) > 1 else text


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of every run.

    Attributes:
        label: what it is.
        unit: "s", "ms" or empty for a count.
        numbers: one of each run.
    """

    label: str
    unit: str
    numbers: tuple[Number, ...]

    def cells(self) -> list[str]:
        """Write a text for each run."""
        return [number.text(self.unit) for number in self.numbers]

    def change(self) -> str:
        """From the first run to the last: `+1.25 s (+20 %)`; empty where one is not known."""
        one, other = self.numbers[0], self.numbers[-1]
        first, last = one.value, other.value
        if first is None or last is None:
            return ""
        if first == last:
            return "same"
        by = last - first
        sign = "+" if by > 0 else "-"
        percent = f" ({by / first:+.0%})" if first else ""
        return f"{sign}{written(abs(by), self.unit, one.error + other.error)}{percent}"

    def chance(self) -> str:
        """Say whether the first and the last run differ by more than chance.

        Trials are compared by their ranks (`labkit.measurement.chance.difference`). Of a run that
        was done once nobody knows what it would measure the next time.
        """
        one, other = self.numbers[0], self.numbers[-1]
        if one.value is None or other.value is None or one.value == other.value:
            return ""
        if min(len(one.trials), len(other.trials)) < 2:
            by, errors = abs(other.value - one.value), one.error + other.error
            told = f"{'more' if by > errors else 'no more'} than their errors; " if errors else ""
            return f"{told}one run says nothing of the next"
        found = difference(*([inf if v is None else v for v in n.trials] for n in (one, other)))
        if found.least_p > SIGNIFICANT:
            counts = f"{len(one.trials)} and {len(other.trials)} trials"
            return f"{counts} cannot tell (p is {found.least_p:.2g} at best)"
        larger = "larger than chance" if found.p <= SIGNIFICANT else "may be chance"
        return f"{larger} (p = {found.p:.2g})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        names: one a run.
        verdicts: one a run, of the experiment that is compared.
        of_runs: the verdict of each whole run, where one has further experiments; else empty.
        settings: what was set, where the runs differ: a label and a text a run.
        shared: what was set the same: a label and its text.
        numbers: what was measured.
    """

    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    shared: tuple[tuple[str, str], ...]
    numbers: tuple[Compared, ...]
    of_runs: tuple[Verdict, ...] = ()

    @property
    def with_change(self) -> bool:
        """Tell whether there are two runs, so that one number says what changed."""
        return len(self.names) == 2


def compare(summaries: Mapping[str, Summary], of_runs: Sequence[Verdict] = ()) -> Comparison:
    """Put runs beside each other.

    Args:
        summaries: by the name to show, in the order to show.
        of_runs: as `Comparison.of_runs`.

    Raises:
        BadInput: fewer than two.
    """
    if len(summaries) < 2:
        raise BadInput("a comparison takes two runs or more")
    names, runs = tuple(summaries), tuple(summaries.values())
    set_to = {label: tuple(of(run) for run in runs) for label, of in _settings(runs).items()}
    return Comparison(
        names=names,
        verdicts=tuple(run.verdict for run in runs),
        settings=tuple((label, texts) for label, texts in set_to.items() if len(set(texts)) > 1),
        shared=tuple(
            (label, texts[0])
            for label, texts in set_to.items()
            if len(set(texts)) == 1 and texts[0]
        ),
        numbers=tuple(_numbers(runs)),
        of_runs=tuple(of_runs),
    )


_PERCENTILES = ("p50", "p99")


def _numbers(runs: Sequence[Summary]) -> Iterable[Compared]:
    for name, measure in MEASURES.items():
        if name != "p99_ms":  # that of each region and phase is compared below
            numbers = tuple(_number(name, run) for run in runs)
            yield Compared(measure.label, measure.unit, numbers)
    rows = {(row.region, row.phase): row for run in runs for row in run.latency}
    for region, phase in rows:
        if region != ALL_REGIONS and not _shared_region(region, runs):
            continue
        for percentile in _PERCENTILES:
            numbers = tuple(Number(_latency_ms(run, region, phase, percentile)) for run in runs)
            yield Compared(f"{percentile} {phase}, {region}", "ms", numbers)


def _number(measure: str, run: Summary) -> Number:
    spread = spread_of(run, measure)
    if spread is None:
        return Number(*(with_error(measure, run) or (None,)))
    trials = tuple(number_of(measure, trial) for trial in run.trials)
    return Number(spread.median, spread.median_error, trials, spread.worst, spread.worst_error)


def _shared_region(region: str, runs: Sequence[Summary]) -> bool:
    return all(region in run.topology.region_names for run in runs)


def _latency_ms(run: Summary, region: str, phase: str, percentile: str) -> float | None:
    for row in run.latency:
        if (row.kind, row.region, row.phase) == (OpKind.ORDER, region, phase):
            value: float | None = getattr(row, f"{percentile}_ms")
            return value
    return None


def _settings(runs: Sequence[Summary]) -> dict[str, Callable[[Summary], str]]:
    """Return what a run was set to: one function per label."""
    settings: dict[str, Callable[[Summary], str]] = {
        "scenario": lambda run: run.scenario,
        "backend": lambda run: run.backend,
        "survival goal": lambda run: str(run.topology.survive),
        "topology": lambda run: ", ".join(
            f"{region.name} ({region.nodes})" for region in run.topology.regions
        ),
        "fault": lambda run: (
            ", ".join(
                dict.fromkeys(
                    [trial.fault or "none" for trial in run.trials]
                    or [row.fault for row in run.recovery]
                )
            )
            or "none"
        ),
        "trials": lambda run: str(len(run.trials) or 1),
    }
    for kind in ("workload", "parameters", "versions"):
        for name in dict.fromkeys(name for run in runs for name in getattr(run, kind)):
            settings[f"{kind.removesuffix('s')} {name}"] = _setting(kind, name)
    settings["machine"] = lambda run: run.machine.words
    return settings


def _setting(kind: str, name: str) -> Callable[[Summary], str]:
    def of(run: Summary) -> str:
        value = getattr(run, kind).get(name)
        return "" if value is None else str(value)

    return of
