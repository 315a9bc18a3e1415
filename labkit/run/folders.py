"""A run folder: where it is, while its run goes on, and when it is broken off.

A run writes what it is about into `result.json` before it does anything, and every fault into
`faults.jsonl` as it happens; clients write their operations and the ledger themselves. So whatever
ends a run, even `kill -9`, what it had recorded by then becomes a whole run folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from labkit import files
from labkit.assets import runs_folder
from labkit.cluster.base import Cluster, HasStateFolder
from labkit.cluster.marks import Claim, claimed, marked
from labkit.errors import BadInput
from labkit.events import EVENTS_FILE
from labkit.history import FAULTS_FILE, SAMPLES_FILE, History, load_faults
from labkit.report.page import REPORT_FILE, write_report
from labkit.topology import Topology
from labkit.trading.audit import READ_FILES
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.judge import judge
from labkit.verdict.result import Result, read_summary
from labkit.verdict.run import About, RunRecord
from labkit.verdict.seal import MORE_FOLDER as MORE_FOLDER
from labkit.verdict.seal import RESULT_FILE, SEAL_FILE
from labkit.verdict.sound import COMPLETED as COMPLETED
from labkit.workload.ledger import LEDGER_FOLDER, read_ledger
from labkit.workload.oplog import OPS_FOLDER
from labkit.workload.running import recorded

RUN_FOLDER = "LABKIT_RUN_FOLDER"
"""The environment variable that names the folder of the run going on."""
TRIAL_FILE = "trial.json"
"""In a run folder, only while trials go on: the number of the trial and how many there are."""
TRIALS_FOLDER = "trials"
"""Inside a run folder: one folder for each trial."""
WATCHDOG_LOG = "watchdog.log"
"""In a run folder: what the watchdog did, where it had to."""
WRITTEN = (
    RESULT_FILE,
    SAMPLES_FILE,
    FAULTS_FILE,
    EVENTS_FILE,
    REPORT_FILE,
    WATCHDOG_LOG,
    LEDGER_FOLDER,
    OPS_FOLDER,
    TRIALS_FOLDER,
    MORE_FOLDER,
    *READ_FILES,
    SEAL_FILE,
)
"""What an experiment writes into its run folder, by name."""
_CHECKOUT = Path(__file__).resolve().parents[1]
"""Where labkit runs from; a folder of packages when it is installed."""


@contextmanager
def going_on(cluster: Cluster, folder: Path) -> Iterator[Claim]:
    """Have a lab and a run folder for the length of a run; the folder's mark says so.

    Raises:
        LabBusy: another run has the lab.
        LabTakenDown: somebody takes the lab down.
        BadInput: the folder cannot be made.
    """
    with claimed(cluster.home if isinstance(cluster, HasStateFolder) else None, folder) as claim:
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"the run folder {folder} cannot be made: {error.strerror}") from error
        try:
            with marked(folder):
                yield claim
        finally:
            if made and not any(folder.iterdir()):  # nothing was begun
                folder.rmdir()


def begin(folder: Path, about: About) -> None:
    """Write what the run is about; as long as nothing replaces it, the run was broken off.

    Raises:
        BadInput: another run has the folder, or somebody's files stand where the run would write.
    """
    if (folder / RESULT_FILE).exists():
        raise BadInput(f"{folder}: has another run; each run needs a folder of its own")
    there = [name for name in WRITTEN if os.path.lexists(folder / name)]
    if there:
        raise BadInput(
            f"{folder} has {', '.join(there)} already, which a run would overwrite: each run needs "
            "a folder of its own"
        )
    now = datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    history = History.from_frame(History.of([]).ops, regions=about.topology.region_names)
    result = judge(RunRecord(about, history, started_at=now, finished_at=now))
    _broken_off(result, "it ended before anything was measured").save(folder)


def complete(folder: Path, why: str, history: History | None = None) -> Result:
    """Make a whole run folder of one whose run was broken off: verdict UNKNOWN.

    Args:
        folder: as `begin` made it.
        why: in a few words.
        history: what was recorded; by default what the clients wrote.

    Raises:
        BadInput: nothing was begun there.
    """
    begun = read_summary(folder)
    if history is None:
        history = recorded(folder, begun.topology.region_names)
    result = judge(
        RunRecord(
            About.of(begun),
            history.with_faults(load_faults(folder)),
            started_at=begun.started_at,
            finished_at=datetime.now(UTC),
            ledger=read_ledger(folder),
        )
    )
    saved = _broken_off(result, why).save(folder)
    write_report(saved, folder)
    drop_ops(folder)
    return saved


def begin_trial(number: int, of: int) -> None:
    """Tell whoever executes the notebook which trial it is in, from 1."""
    if chosen := os.environ.get(RUN_FOLDER):
        files.write_text(Path(chosen) / TRIAL_FILE, json.dumps([number, of]))


def end_trials() -> None:
    """Tell whoever executes the notebook that it is in no trial any more. Idempotent."""
    if chosen := os.environ.get(RUN_FOLDER):
        (Path(chosen) / TRIAL_FILE).unlink(missing_ok=True)


def trial_going_on(folder: Path) -> tuple[int, int]:
    """Return the trial that a run is in and how many it has; 0 and 0 if it is in none."""
    try:
        number, of = json.loads((folder / TRIAL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0, 0
    return number, of


def is_open(folder: Path) -> bool:
    """Tell whether a run was begun there and not ended."""
    return (folder / OPS_FOLDER).is_dir()


def drop_ops(folder: Path) -> None:
    """Remove what the clients wrote: `samples.parquet` has it all."""
    shutil.rmtree(folder / OPS_FOLDER, ignore_errors=True)


def _broken_off(result: Result, why: str) -> Result:
    finding = Finding(COMPLETED, Verdict.UNKNOWN, f"the run was broken off: {why}")
    findings = (finding, *result.findings)
    return replace(result, summary=result.summary.model_copy(update={"findings": findings}))


def topology_of(cluster: Cluster) -> Topology:
    """Give the shape of a cluster, with the survival goal that is in force."""
    return cluster.topology.model_copy(update={"survive": cluster.survival_goal()})


def versions_of(cluster: Cluster) -> Mapping[str, str]:
    """Name and version of each server program, and the commit of labkit where it is a checkout."""
    servers = cluster.versions()
    commit = _commit()
    return {**servers, "commit": commit} if commit else servers


@cache
def _commit() -> str:
    """Of the checkout that labkit runs from, with a `+` where files differ; empty without one."""
    if not (_CHECKOUT / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(_CHECKOUT), "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def run_folder(scenario: str, backend: str) -> Path:
    """Choose the folder of the run going on (LABKIT_RUN_FOLDER), or a new one named by time.

    A notebook's second experiment finds the first one's result there, and gets a folder inside it.
    """
    chosen = os.environ.get(RUN_FOLDER)
    if chosen:
        folder = Path(chosen)
        if not (folder / RESULT_FILE).exists():
            return folder
        number = 2 + max(
            (int(path.name.partition("-")[0]) - 1 for path in more_folders(folder)), default=0
        )
        return folder / MORE_FOLDER / f"{number}-{scenario}"
    return new_folder(scenario, backend)


def new_folder(scenario: str, backend: str) -> Path:
    """Name a run folder by the time, the scenario and the backend; nothing has the name yet."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{scenario}-{backend}"
    names = (name, *(f"{name}-{number}" for number in range(2, 100)))
    return next(
        folder for folder in (runs_folder() / name for name in names) if not os.path.lexists(folder)
    )


def more_folders(folder: Path) -> list[Path]:
    """List the folders of a notebook's second and further experiments, in their order."""
    found = [
        path
        for path in (folder / MORE_FOLDER).glob("*-*")
        if path.is_dir() and path.name.partition("-")[0].isdecimal()
    ]
    return sorted(found, key=lambda path: int(path.name.partition("-")[0]))
