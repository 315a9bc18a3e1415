"""The measurements and findings of a run: the content of `result.json`.

Its JSON schema is docs/result.schema.json. Write it anew after a change:

    python -m labkit.verdict.summary > docs/result.schema.json
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC
from pathlib import Path
from typing import Annotated, Literal

import psutil
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    JsonValue,
    computed_field,
)

from labkit.measurement.latency import Latency
from labkit.measurement.outages import Healthy
from labkit.measurement.phases import Phase
from labkit.measurement.recovery import Recovery
from labkit.measurement.service import Failures, Service
from labkit.measurement.staleness import Staleness
from labkit.measurement.waterfall import Waterfall
from labkit.measurement.windows import ALL_REGIONS
from labkit.record import OpKind
from labkit.topology import Topology
from labkit.verdict.finding import Finding, Verdict, worst

SCHEMA_VERSION = 2
"""Raised when a reader of the last version would misread the new one."""

UtcDatetime = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]


class Machine(BaseModel):
    """The machine that a run was measured on.

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
    """The findings and numbers of one trial, or of a whole run.

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

    @property
    def outages(self) -> tuple[Recovery, ...]:
        """What each fault did to each single region."""
        return tuple(row for row in self.recovery if row.region != ALL_REGIONS)

    @property
    def settled_latency(self) -> tuple[Latency, ...]:
        """Latency of orders in each single region: after the fault, or of a run without one."""
        settled = (Phase.AFTER, Phase.WHOLE)
        return tuple(
            row
            for row in self.latency
            if row.kind == OpKind.ORDER and row.phase in settled and row.region != ALL_REGIONS
        )

    @property
    def worst_recovery(self) -> Recovery | None:
        """The region that took longest to recover, unrecovered first; None without a fault."""

        def gone_s(row: Recovery) -> tuple[float, float]:
            # without an outage, by how long one may have been unseen
            return (float("inf") if row.rto_s is None else row.rto_s), row.rto_error_s

        return max(self.outages, key=gone_s, default=None)

    @property
    def worst_write_gap(self) -> Recovery | None:
        """The region whose write gap was longest; None when no gap could be measured."""
        known = [row for row in self.outages if row.write_gap_s is not None]
        return max(known, key=lambda row: row.write_gap_s or 0.0, default=None)

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
    """One number over all trials; names as `labkit.verdict.measures.MEASURES`.

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


def schema_json() -> str:
    """Return the JSON schema of `result.json`."""
    schema = Summary.model_json_schema(by_alias=True, mode="serialization")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_json())
