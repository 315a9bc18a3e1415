"""A run as it was judged: its summary and every operation, and what is required of it.

A result is saved as three files of its run folder: `result.json` (the `Summary`),
`samples.parquet` and `faults.jsonl` (the history).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from labkit.errors import BadInput, VerdictFailed, VerdictUnknown
from labkit.history import History
from labkit.measurement.waterfall import Waterfall
from labkit.verdict.finding import Finding, Verdict, worst
from labkit.verdict.limits import REQUIRE, requirements
from labkit.verdict.seal import RESULT_FILE, broken_seal, seal, write_result
from labkit.verdict.sound import contradictions, impossible_numbers
from labkit.verdict.summary import SCHEMA_VERSION, Summary

LARGEST_BYTES = 64 << 20
"""Of a `result.json`; one with a hundred trials has about 5 MiB."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A run: its summary and every operation.

    Attributes:
        folder: where it was saved, None before that.
        trials: each as a result of its own; empty when the experiment was done once.
    """

    summary: Summary
    history: History
    folder: Path | None = None
    trials: tuple[Result, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return self.summary.verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what the steady state, the faults, the checkers and the requirements say."""
        return self.summary.findings

    @property
    def waterfall(self) -> Waterfall | None:
        """Return what the outage of the first fault was made of; None without a fault.

        With trials: that of the trial in which service was gone longest.
        """
        return next(iter(self.worst_trial.summary.waterfalls), None)

    @property
    def worst_trial(self) -> Result:
        """The trial in which service was gone longest; without trials the run itself."""

        def gone_s(trial: Result) -> float:
            rtos_s = [row.rto_s for row in trial.summary.recovery]
            return max((float("inf") if rto is None else rto for rto in rtos_s), default=0.0)

        return max(self.trials, key=gone_s, default=self)

    def __repr__(self) -> str:
        return f"<Result of {self.summary.scenario} on {self.summary.backend}: {self.verdict}>"

    def require(self, *, elsewhere: bool = False, **limits: float) -> Self:
        """Hold the result to limits: `result = result.require(rto_s=15, lost_acks=0)`.

        Every number must be at most its limit, in the worst region and under the worst fault;
        `labkit.verdict.measures.MEASURES` lists what there is. Findings that no limit speaks
        of must pass too. Where the result was saved, its `result.json` is written again with the
        outcomes, before anything is raised.

        Args:
            elsewhere: `rto_s`, `write_gap_s` and `unavailable_s` are those of the regions that the
                fault was not aimed at. For faults that promise nothing to the region they hit.
            limits: a number for each requirement.

        Returns:
            The result with the outcomes in it; its verdict includes them.

        Raises:
            BadInput: no such requirement, or a limit that is not a number of 0 or more.
            VerdictFailed: something required is proven false; a line for each.
            VerdictUnknown: nothing is false, but something is not proven; a line for each.
        """
        judged = self.with_findings(
            [
                *self._required_before(),
                *requirements(self.summary, limits, elsewhere=elsewhere),
            ]
        )
        judged.save_summary()
        limited = {REQUIRE + name for name in limits}
        broken = [
            finding
            for finding in judged.findings
            if finding.verdict is not Verdict.PASS and REQUIRE + finding.checker not in limited
        ]
        if broken:
            failed = worst(finding.verdict for finding in broken) is Verdict.FAIL
            raise (VerdictFailed if failed else VerdictUnknown)(
                "\n".join(f"{finding.checker}: {finding.summary}" for finding in broken)
            )
        return judged

    def _required_before(self) -> list[Finding]:
        """Return what was required of the saved result; a new requirement does not undo it."""
        if self.folder is None:
            return []
        try:
            saved, _ = look_at(self.folder)
        except BadInput:
            return []
        return [found for found in saved.findings if found.limit is not None]

    def with_findings(self, findings: Iterable[Finding]) -> Self:
        """Add findings; one of the same checker is replaced."""
        new = {finding.checker: finding for finding in (*self.findings, *findings)}
        summary = self.summary.model_copy(update={"findings": tuple(new.values())})
        return replace(self, summary=summary)

    def save(self, folder: Path) -> Self:
        """Write the three files into a run folder, which is made when it is not there.

        Returns:
            The same result, which now knows its folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.history.save(folder)
        seal(folder)
        saved = replace(self, folder=folder)
        saved.save_summary()
        return saved

    def save_summary(self) -> None:
        """Write `result.json` again where this result was saved; does nothing before that."""
        if self.folder is not None:
            write_result(self.folder, self.summary.to_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read back what `save` wrote.

        Raises:
            BadInput: it is not there or damaged, or this version of labkit cannot read it.
        """
        summary = read_summary(folder)
        try:
            history = History.load(folder)
        except OSError as error:
            raise BadInput(f"{folder}: only a part of a result is there: {error}") from error
        trials = tuple(cls.load(folder / trial.folder) for trial in summary.trials)
        return cls(summary, history, folder, trials)


def read_summary(folder: Path) -> Summary:
    """Read the `result.json` of a run folder.

    Raises:
        BadInput: there is none, this version of labkit cannot read it, or it is damaged: a
            number that cannot be, a finding or requirement taken away, a contradiction, or it
            is not the file that the run left.
    """
    summary, wrong = look_at(folder)
    if wrong:
        more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise BadInput(
            f"{folder / RESULT_FILE}: damaged, or of an older labkit: {wrong[0]}{more}; "
            "`labkit judge` judges the run again from its files"
        )
    return summary


def look_at(folder: Path) -> tuple[Summary, tuple[str, ...]]:
    """Read the `result.json` of a run folder, even one that cannot be true.

    Returns:
        What it says, and what tells that it cannot be believed, a line each: it cannot be,
        contradicts itself, or is not the file that the run left.

    Raises:
        BadInput: there is none, or this version of labkit cannot read it.
    """
    path = folder / RESULT_FILE
    try:
        if not path.is_file():
            raise BadInput(f"{path}: no result there")
        if path.stat().st_size > LARGEST_BYTES:
            raise BadInput(f"{path}: not a result: larger than {LARGEST_BYTES >> 20} MiB")
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BadInput(f"{path}: schema version {version}, this labkit reads {SCHEMA_VERSION}")
        json.dumps(data, ensure_ascii=False).encode()  # halves of characters are no text
        summary = Summary.model_validate(data)
        wrong = [
            *impossible_numbers(data),
            *contradictions(summary, data.get("verdict")),
            *broken_seal(folder, RESULT_FILE),
        ]
    except OSError as error:
        raise BadInput(f"{path}: no result there ({error.strerror})") from error
    except RecursionError as error:
        raise BadInput(f"{path}: not a result: too deeply nested") from error
    except (ValueError, TypeError, AttributeError, ValidationError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadInput(f"{path}: not a result: {why[:300]}") from error
    return summary, tuple(wrong)
