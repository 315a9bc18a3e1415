"""What a run leaves behind: everything recorded, measured and found.

A result is saved as three files of its run folder: `result.json` (this module's `Summary`; its
JSON schema is docs/result.schema.json), `samples.parquet` and `faults.jsonl` (the history).

Write the schema anew after a change:

    python -m labkit.verdict.result > docs/result.schema.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import psutil
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    JsonValue,
    ValidationError,
    computed_field,
)

from labkit.errors import BadInput
from labkit.history import History
from labkit.measurement.latency import Latency
from labkit.measurement.outages import Healthy
from labkit.measurement.recovery import Recovery
from labkit.measurement.service import Failures, Service
from labkit.measurement.staleness import Staleness
from labkit.measurement.waterfall import Waterfall
from labkit.topology import Topology
from labkit.verdict.checkers import Finding, Verdict, worst
from labkit.verdict.seal import RESULT_FILE as RESULT_FILE
from labkit.verdict.seal import broken_seal, seal, write_result
from labkit.verdict.sound import contradictions, impossible_numbers

if TYPE_CHECKING:
    from labkit.verdict.report import Report

SCHEMA_VERSION = 2
"""Raised when a reader of the last version would misread the new one."""
LARGEST_BYTES = 64 << 20
"""Of a `result.json`; one with a hundred trials has about 5 MiB."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]


class Machine(BaseModel):
    """What a run was measured on.

    Attributes:
        cpu: the processor's model, empty where the machine does not tell.
        memory_gib: of the machine, None in results of older versions.
    """

    model_config = ConfigDict(frozen=True)

    cores: int
    platform: str
    cpu: str = ""
    memory_gib: float | None = None

    @property
    def words(self) -> str:
        """`2 cores (Xeon), 23 GiB, Linux-6.18`."""
        cpu = f" ({self.cpu})" if self.cpu else ""
        memory = f", {self.memory_gib:.0f} GiB" if self.memory_gib is not None else ""
        return f"{self.cores} cores{cpu}{memory}, {self.platform}"

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine; cores are those that this process may use."""
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        return cls(
            cores=cores or 1,
            platform=platform.platform(),
            cpu=_cpu(),
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        )


def _cpu() -> str:
    """Return the processor's model."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    return names[0] if names else platform.processor()


class Measurements(BaseModel):
    """What was found and measured: of one trial, or of a whole run.

    Attributes:
        recovery: a row a fault and region, then one for all regions.
        rpo_s: acknowledged work that is missing, in seconds; None when nobody could look.
        latency: of each kind of operation a row a region and phase, then those of all regions.
        service: availability lost, a row for each region and phase; none in a closed loop.
        failures: what was not acknowledged, a row a region, phase, kind and error.
        staleness: a row a region that read from a replica.
        waterfalls: what each fault's outage was made of, in the order of injection.
        findings: of the steady state, the faults, the checkers and the requirements.
    """

    model_config = ConfigDict(frozen=True)

    started_at: UtcDatetime
    finished_at: UtcDatetime
    findings: tuple[Finding, ...]
    recovery: tuple[Recovery, ...]
    rpo_s: float | None
    latency: tuple[Latency, ...]
    staleness: tuple[Staleness, ...] = ()
    waterfalls: tuple[Waterfall, ...] = ()
    service: tuple[Service, ...] = ()
    failures: tuple[Failures, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return worst(finding.verdict for finding in self.findings)

    def finding(self, checker: str) -> Finding | None:
        """Return what a checker found; None if it did not look."""
        return next((f for f in self.findings if f.checker == checker), None)


class Trial(Measurements):
    """One of several trials of the same experiment.

    Attributes:
        number: from 1.
        fault: what was injected, such as "kill us-west-2/1"; None when nothing was.
        inject_after_s: from the moment the steady state was seen until the injection.
        folder: of its files, inside the run folder.
    """

    number: int
    fault: str | None
    inject_after_s: float
    folder: str


class Spread(BaseModel):
    """One number over all trials; names as `labkit.verdict.requirements.MEASURES`.

    Each trial counts with its worst region. None stands for a number that is not known, or has
    no end (an outage that did not): it counts as worse than every other.

    Attributes:
        low, high: between these two lies the true median, with a confidence of `level`
            (`labkit.measurement.chance.median_interval`): two trials, each with its own error.
        median_error, worst_error: how far off `median` and `worst` may be by the errors of trials.
    """

    model_config = ConfigDict(frozen=True)

    measure: str
    median: float | None
    worst: float | None
    trials: int
    low: float | None
    high: float | None
    level: float
    median_error: float = 0.0
    worst_error: float = 0.0


class Summary(Measurements):
    """`result.json`: a run without its single operations.

    With trials, `recovery`, `latency` and `findings` are those of all trials together.

    Attributes:
        workload: what the clients did, such as {"rate_per_s": 60, "seed": 1}.
        healthy: how `recovery` tells service from outage.
        versions: of labkit, Python and the servers.
        trials: each by itself; empty when the experiment was done once.
        trials_planned: how many there should have been; 0 when the experiment was done once.
        trials_ended: why there were no more, where there are fewer.
        spread: median and worst of the trials.
    """

    schema_version: Literal[2] = 2
    scenario: str
    backend: str
    topology: Topology
    parameters: dict[str, JsonValue]
    workload: dict[str, JsonValue]
    healthy: Healthy
    versions: dict[str, str]
    machine: Machine
    trials: tuple[Trial, ...] = ()
    trials_planned: int = 0
    trials_ended: str = ""
    spread: tuple[Spread, ...] = ()

    def to_json(self) -> str:
        """Return the content of `result.json`."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @classmethod
    def load(cls, folder: Path) -> Summary:
        """Read the `result.json` of a run folder.

        Raises:
            BadInput: there is none, this version of labkit cannot read it, or it is damaged: a
                number that cannot be, a finding or requirement taken away, a contradiction, or it
                is not the file that the run left.
        """
        summary, wrong = cls.look_at(folder)
        if wrong:
            more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
            raise BadInput(
                f"{folder / RESULT_FILE}: damaged, or of an older labkit: {wrong[0]}{more}; "
                "`labkit judge` judges the run again from its files"
            )
        return summary

    @classmethod
    def look_at(cls, folder: Path) -> tuple[Self, tuple[str, ...]]:
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
                raise BadInput(
                    f"{path}: schema version {version}, this labkit reads {SCHEMA_VERSION}"
                )
            json.dumps(data, ensure_ascii=False).encode()  # halves of characters are no text
            summary = cls.model_validate(data)
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
    def report(self) -> Report:
        """The result for people; ask it what is required."""
        from labkit.verdict.report import Report  # the report is made of results

        return Report(self)

    @property
    def worst_trial(self) -> Result:
        """The trial in which service was gone longest; without trials the run itself."""

        def gone_s(trial: Result) -> float:
            rtos_s = [row.rto_s for row in trial.summary.recovery]
            return max((float("inf") if rto is None else rto for rto in rtos_s), default=0.0)

        return max(self.trials, key=gone_s, default=self)

    def __repr__(self) -> str:
        return f"<Result of {self.summary.scenario} on {self.summary.backend}: {self.verdict}>"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    def with_findings(self, findings: Iterable[Finding]) -> Result:
        """Add findings; one of the same checker is replaced."""
        new = {finding.checker: finding for finding in (*self.findings, *findings)}
        summary = self.summary.model_copy(update={"findings": tuple(new.values())})
        return replace(self, summary=summary)

    def save(self, folder: Path) -> Result:
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
    def load(cls, folder: Path) -> Result:
        """Read back what `save` wrote.

        Raises:
            BadInput: it is not there or damaged, or this version of labkit cannot read it.
        """
        summary = Summary.load(folder)
        try:
            history = History.load(folder)
        except OSError as error:
            raise BadInput(f"{folder}: only a part of a result is there: {error}") from error
        trials = tuple(cls.load(folder / trial.folder) for trial in summary.trials)
        return cls(summary, history, folder, trials)


def schema_json() -> str:
    """Return the JSON schema of `result.json`."""
    schema = Summary.model_json_schema(by_alias=True, mode="serialization")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_json())
