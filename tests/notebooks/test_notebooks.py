"""Every notebook, step by step under nbval and headless through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
import yaml
from _pytest.mark.structures import ParameterSet
from engine.fixtures import REAL
from labs import REAL_CLUSTERS

from labkit.assets import asset
from labkit.clock import wait_until
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.status import settled
from labkit.notebooks import notebooks
from labkit.run.notebook import NOTEBOOK_FILE
from labkit.verdict.result import Result, read_summary

BRIEFLY = {"steady_s": 3, "rate_per_s": 30}
SHORT: dict[str, dict[str, object]] = {
    "00_setup": {"samples": 3},
    "01_trading_desk": {},
    "02_consistency": {"samples": 2, "trade_s": 4, "orders": 15},
    "03_node_loss": {**BRIEFLY, "hold_s": 12, "max_rto_s": 60, "beside": ""},
    "04_region_loss": {**BRIEFLY, "hold_s": 12, "max_rto_s": 60},
    "05_load_balancer_loss": {**BRIEFLY, "hold_s": 5, "max_rto_s": 15},
    "06_partition": {**BRIEFLY, "hold_s": 14, "max_gap_s": 60},
    "07_slow_wan": {**BRIEFLY, "hold_s": 5, "samples": 3},
    "08_survival_goals": {**BRIEFLY, "hold_s": 10, "goals": "region", "max_rto_s": 60},
    "09_rolling_restart": {**BRIEFLY, "regions": "us-west-2", "max_rto_s": 60},
    "10_scale": {
        "levels": "30 60 120",
        "hot_levels": "3 6",
        "every_s": 4,
        "read_s": 0.5,
        "rate_per_s": 30,
        "hold_s": 2,
    },
}
"""Every notebook, with what makes it short: papermill puts it in, nbval runs what comes out."""

OTHER: dict[str, dict[str, object]] = {
    "00_setup": {"samples": 2, "symbol": "MSFT"},
    "01_trading_desk": {"backend": "embedded"},
    "02_consistency": {"samples": 1, "trade_s": 2, "orders": 6, "symbol": "DIS", "rate_per_s": 3},
    "03_node_loss": {
        **BRIEFLY,
        "victim": "us-east-1/2",
        "hold_s": 4,
        "max_rto_s": 60,
        "beside": "pause",
        "beside_victims": "primary",
        "beside_hold_s": 6,
    },
    "04_region_loss": {**BRIEFLY, "hold_s": 10, "max_rto_s": 60},
    "05_load_balancer_loss": {**BRIEFLY, "hold_s": 3, "max_rto_s": 15},
    "06_partition": {**BRIEFLY, "hold_s": 9, "max_gap_s": 60, "seed": 7},
    "07_slow_wan": {
        **BRIEFLY,
        "hold_s": 4,
        "samples": 2,
        "delay_ms": 60,
        "jitter_ms": 0,
        "share": 0.5,
    },
    "08_survival_goals": {**BRIEFLY, "hold_s": 9, "goals": "none", "alone_s": 1.5},
    "09_rolling_restart": {**BRIEFLY, "regions": "eu-west-1", "max_rto_s": 60},
    "10_scale": {
        "levels": "20 40",
        "hot_levels": "2 4",
        "every_s": 3,
        "connections": 10,
        "symbol": "NFLX",
        "clients": 2,
        "read_s": 0.5,
        "rate_per_s": 20,
        "hold_s": 1,
    },
}
"""Every notebook, as the command line runs it. They lead elsewhere than `SHORT`: through cells that
it leaves out, to a verdict that says no."""

COCKROACHDB_DIFFERS = {
    "00_setup",  # regions and leaseholders
    "01_trading_desk",  # what the page offers
    "02_consistency",  # follower reads
    "04_region_loss",  # leases, not an election
    "08_survival_goals",  # no NONE
    "09_rolling_restart",  # drain
    "10_scale",  # decommission
}
"""Notebooks with cells, or labkit with steps, that are others on CockroachDB."""

MEASURES_NOTHING = ("00_setup", "01_trading_desk")

LOSES_ORDERS = "08_survival_goals"
"""In OTHER its commits wait for nobody: its verdict must be that orders are lost, which it is there
to show."""


LIKE_ANOTHER = {"05_load_balancer_loss", "06_partition", "07_slow_wan"}
"""Notebooks whose steps are those of 03 and 04, with another fault."""


def runs(*, step_by_step: bool) -> list[ParameterSet]:
    """Which notebook runs on which lab, this way.

    On the embedded lab each runs both ways; step by step, and what is like another, among the long
    tests. In containers those that differ there run, in one way; one of them on processes as well.
    Where there is real CockroachDB, every one runs in every way.
    """
    everywhere = bool(os.environ.get(REAL))
    by_hand = {"01_trading_desk", "08_survival_goals"}  # OTHER is PostgreSQL's for these
    chosen = {
        "embedded": set(notebooks()),
        "cockroachdb": by_hand if step_by_step else COCKROACHDB_DIFFERS - by_hand,
        "cockroach-binary": {"04_region_loss"} if step_by_step else set[str](),
    }
    labs: dict[str, Any] = {backend.values[0]: backend.marks for backend in REAL_CLUSTERS}
    return [
        pytest.param(
            name,
            backend,
            marks=(*marks, pytest.mark.long) if step_by_step or name in LIKE_ANOTHER else marks,
            id=f"{name}-{backend}",
        )
        for backend, marks in labs.items()
        for name in notebooks()
        if name in chosen[backend] or (everywhere and (step_by_step or name not in by_hand))
    ]


NBVAL = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
NBVAL += ["--nbval-lax", "--nbval-cell-timeout=300"]


@pytest.fixture
def environment(lab: EmbeddedCluster, tmp_path: Path) -> dict[str, str]:
    return on(lab, tmp_path)


def on(lab: EmbeddedCluster | ComposeCluster | BinaryCluster, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "LABKIT_HOME": str(lab.home), "LABKIT_RUNS": str(tmp_path / "runs")}


def labkit(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("labkit")), *arguments]


def the_run(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def test_every_notebook_is_tested():
    assert set(notebooks()) == set(SHORT) == set(OTHER)


@pytest.mark.parametrize("name", notebooks())
def test_a_headless_run_has_parameters_that_the_notebook_has_and_other_values(name):
    known = papermill.inspect_notebook(notebooks()[name])
    given = OTHER[name]
    assert given
    for key, value in given.items():
        assert yaml.safe_load(str(known[key]["default"])) != value


@pytest.mark.parametrize("name", notebooks())
def test_saved_notebooks_hold_no_output_but_what_is_compared(name):
    for cell in nbformat.read(notebooks()[name], as_version=4).cells:
        if cell.cell_type == "code" and "nbval-check-output" not in cell.metadata.get("tags", []):
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_says_what_the_reader_will_do_learn_and_need(name):
    first = nbformat.read(notebooks()[name], as_version=4).cells[0].source
    for heading in ("What you will do", "What you will learn", "What you need", "Time"):
        assert heading in first


@pytest.mark.parametrize(
    ("name", "real_cluster"), runs(step_by_step=True), indirect=["real_cluster"]
)
def test_a_notebook_runs_step_by_step(name, real_cluster, tmp_path):
    prepared = tmp_path / f"{name}.ipynb"
    papermill.execute_notebook(
        notebooks()[name], prepared, SHORT[name], prepare_only=True, progress_bar=False
    )
    _keep_expected_outputs(notebooks()[name], prepared)
    done = subprocess.run(
        [*NBVAL, "--rootdir", str(tmp_path), str(prepared)],
        cwd=tmp_path,
        env=on(real_cluster, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def _keep_expected_outputs(original: Path, prepared: Path) -> None:
    """Papermill clears the outputs that nbval is to compare with."""
    expected = {cell["id"]: cell for cell in nbformat.read(original, as_version=4).cells}
    notebook = nbformat.read(prepared, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell["id"] in expected:
            cell.outputs = expected[cell["id"]].outputs
            # nbval compares only with cells that say they were run
            cell.execution_count = 1 if cell.outputs else None
    nbformat.write(notebook, prepared)


@pytest.mark.parametrize(
    ("name", "real_cluster"), runs(step_by_step=False), indirect=["real_cluster"]
)
def test_a_notebook_runs_headless_with_other_parameters(name, real_cluster, tmp_path):
    given = OTHER[name]
    options = [word for key, value in given.items() for word in ("-p", f"{key}={value}")]
    done = subprocess.run(
        labkit("run", name, "--json", *options),
        env=on(real_cluster, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (1 if name == LOSES_ORDERS else 0), done.stdout + done.stderr[-4000:]
    folder = the_run(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {NOTEBOOK_FILE, "kernel.log"} <= names
    assert (folder / NOTEBOOK_FILE).stat().st_size <= 3_000_000
    if name in MEASURES_NOTHING:
        assert json.loads(done.stdout)["verdict"] is None
        return
    assert {"report.html", "result.json", "samples.parquet", "faults.jsonl", "ledger"} <= names
    summary = read_summary(folder)
    assert summary.backend == real_cluster.backend
    assert {key: given[key] for key in given if key in summary.parameters}.items() <= (
        summary.parameters.items()
    )
    if name == LOSES_ORDERS:
        assert summary.finding("lost_acks").count > 0
        assert summary.rpo_s > 0
    else:
        assert json.loads(done.stdout)["verdict"] == "pass"


@contextmanager
def in_the_middle_of_a_fault(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A headless run that has just begun to hold its fault."""
    with subprocess.Popen(
        labkit("run", "03_node_loss", "-p", "hold_s=60", "-p", "steady_s=3", "-p", "rate_per_s=20"),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stderr
        assert any("holding the fault" in line for line in running.stderr)
        # a kernel's sockets are no business of a folder that may be read-only
        assert not [path for path in asset("notebooks").iterdir() if path.is_socket()]
        yield running


@pytest.mark.cluster
def test_ctrl_c_in_the_middle_of_a_fault_leaves_no_fault(lab, environment, tmp_path):
    with in_the_middle_of_a_fault(environment) as running:
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=120)
        assert running.returncode == 130
    assert settled(lab.status, timeout_s=60).missing == ()
    assert_whole_and_broken_off(the_run(tmp_path))


@pytest.mark.cluster
def test_a_kernel_killed_in_the_middle_of_a_fault_leaves_no_fault(lab, environment, tmp_path):
    with in_the_middle_of_a_fault(environment) as running:
        for pid in _kernels(running.pid):
            os.kill(pid, signal.SIGKILL)
        _, said = running.communicate(timeout=120)
        assert running.returncode == 3, said
    assert settled(lab.status, timeout_s=60).missing == ()
    assert_whole_and_broken_off(the_run(tmp_path))
    wait_until(lambda: not _workers(lab), what="end of the workload", timeout_s=30)


def assert_whole_and_broken_off(folder: Path) -> None:
    """Everything that was recorded is there, and the result says that it is not all."""
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "result.json", "samples.parquet", "faults.jsonl", "ledger"} <= names
    assert {NOTEBOOK_FILE, "kernel.log"} <= names
    assert "ops" not in names
    result = Result.load(folder)
    finding = result.summary.finding("completed")
    assert finding is not None
    assert "broken off" in finding.summary
    assert len(result.history.ops) > 0
    assert [fault.fault for fault in result.history.faults] == ["kill"]


def _kernels(pid: int) -> list[int]:
    children = psutil.Process(pid).children(recursive=True)
    return [child.pid for child in children if "ipykernel_launcher" in child.cmdline()]


def _workers(lab: EmbeddedCluster) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if "labkit.workload.worker" in (process.info["cmdline"] or [])
        and (process.info["environ"] or {}).get("LABKIT_HOME") == str(lab.home)
    ]


def test_an_unknown_parameter_is_refused_before_anything_is_run(tmp_path):
    done = subprocess.run(
        labkit("run", "03_node_loss", "-p", "hold=20"),
        env={**os.environ, "LABKIT_HOME": str(tmp_path / "none"), "LABKIT_RUNS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no parameter 'hold'" in done.stderr
    assert "hold_s" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_notebooks_ship_beside_the_package():
    assert asset("notebooks", "00_setup.ipynb").is_file()
