"""Runs side by side: what was different about them, and what that changed.

Two backends, two survival goals, two commits, or the experiments of one notebook. A number that a
run has from several trials is their median, with the worst beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from labkit.errors import BadInput
from labkit.history import OpKind
from labkit.measurement.latency import ALL_REGIONS
from labkit.verdict import words
from labkit.verdict.checkers import Verdict
from labkit.verdict.requirements import number_of
from labkit.verdict.result import Summary


@dataclass(frozen=True, slots=True)
class Compared:
    """One number of every run.

    Attributes:
        label: what it is.
        unit: "s", "ms" or empty for a count.
        values: one a run, the median of its trials; None where it is not known.
        worst: of the trials; None where a run has none, or the worst is not known.
        trials: how many stand behind each value.
    """

    label: str
    unit: str
    values: tuple[float | None, ...]
    worst: tuple[float | None, ...]
    trials: tuple[int, ...]

    def cells(self) -> list[str]:
        """A text a run: `6.25 s`, or `6.25 s, worst 7.50 s` of trials."""
        found = []
        for value, worst, trials in zip(self.values, self.worst, self.trials, strict=True):
            text = _text(value, self.unit)
            found.append(f"{text}, worst {_text(worst, self.unit)}" if trials > 1 else text)
        return found

    def change(self) -> str:
        """From the first run to the last: `+1.25 s (+20 %)`; empty where one is not known."""
        first, last = self.values[0], self.values[-1]
        if first is None or last is None:
            return ""
        if first == last:
            return "same"
        by = last - first
        sign = "+" if by > 0 else "-"
        percent = f" ({by / first:+.0%})" if first else ""
        return f"{sign}{_text(abs(by), self.unit)}{percent}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs beside each other.

    Attributes:
        names: one a run.
        verdicts: one a run.
        settings: what was set, where the runs differ: a label and a text a run.
        shared: what was set the same: a label and its text.
        numbers: what was measured.
    """

    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]
    shared: tuple[tuple[str, str], ...]
    numbers: tuple[Compared, ...]

    @property
    def with_change(self) -> bool:
        """Whether there are two runs, so that one number says what changed."""
        return len(self.names) == 2


def compare(summaries: Mapping[str, Summary]) -> Comparison:
    """Put runs beside each other.

    Args:
        summaries: by the name to show, in the order to show.

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
    )


_MEASURES = (
    ("RTO", "s", "rto_s"),
    ("write gap", "s", "write_gap_s"),
    ("unavailable", "s", "unavailable_s"),
    ("lost acks", "", "lost_acks"),
    ("duplicates", "", "duplicates"),
    ("RPO", "s", "rpo_s"),
)
_PERCENTILES = ("p50", "p99")


def _numbers(runs: Sequence[Summary]) -> Iterable[Compared]:
    for label, unit, measure in _MEASURES:
        values, worst = [], []
        for run in runs:
            spread = words.spread_of(run, measure)
            values.append(number_of(measure, run) if spread is None else spread.median)
            worst.append(None if spread is None else spread.worst)
        yield _compared(label, unit, runs, values, worst)
    rows = {(row.region, row.phase): row for run in runs for row in run.latency}
    for region, phase in rows:
        if region != ALL_REGIONS and not _shared_region(region, runs):
            continue
        for percentile in _PERCENTILES:
            values = [_latency_ms(run, region, phase, percentile) for run in runs]
            yield _compared(
                f"{percentile} {phase}, {region}", "ms", runs, values, [None] * len(runs), one=True
            )


def _compared(
    label: str,
    unit: str,
    runs: Sequence[Summary],
    values: Sequence[float | None],
    worst: Sequence[float | None],
    *,
    one: bool = False,
) -> Compared:
    trials = tuple(1 if one else len(run.trials) or 1 for run in runs)
    return Compared(label, unit, tuple(values), tuple(worst), trials)


def _shared_region(region: str, runs: Sequence[Summary]) -> bool:
    return all(region in run.topology.region_names for run in runs)


def _latency_ms(run: Summary, region: str, phase: str, percentile: str) -> float | None:
    for row in run.latency:
        if (row.kind, row.region, row.phase) == (OpKind.ORDER, region, phase):
            value: float | None = getattr(row, f"{percentile}_ms")
            return value
    return None


def _settings(runs: Sequence[Summary]) -> dict[str, Callable[[Summary], str]]:
    """What a run was set to, a function a label."""
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


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return words.UNKNOWN
    if unit == "s":
        return words.seconds(value)
    return f"{words.milliseconds(value)} ms" if unit == "ms" else f"{value:,.0f}"
