"""A kernel that dies with a fault in the lab, on the real cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from living import alive

from labkit.clock import wait_until
from labkit.cluster import marks, watchdogs
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.lab import bring_up
from labkit.run import folders
from labkit.run.watchdog import disturbed
from labkit.verdict.finding import Verdict
from labkit.verdict.result import Result

CELL = """
import labkit as lab

cluster = lab.connect()
lab.Experiment(
    cluster,
    lab.TradingWorkload(rate_per_s=20),
    steady=lab.SteadyState(p99_ms=3000, success_ratio=0.95),
    fault=lab.{fault},
    hold_s=600,
    steady_s=3,
).run()
"""

FAULTS = {
    "a killed primary": "Kill(cluster.leader())",
    "a frozen region": "Pause(cluster.topology.region('eu-west-1'))",
    "a slow link": "Slow(cluster.topology.region('us-east-1'), delay_ms=300)",
}


@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_kernel_killed_in_the_middle_of_a_fault_leaves_a_steady_lab(
    lab: EmbeddedCluster, tmp_path: Path, fault: str
) -> None:
    bring_up(lab)
    runs = tmp_path / "runs"
    _die_holding(fault, {"LABKIT_HOME": str(lab.home), "LABKIT_RUNS": str(runs)})
    assert disturbed(lab)
    wait_until(lambda: not watchdogs.alive(lab.home), what="end of the watchdog", timeout_s=120)
    (run,) = runs.iterdir()
    last = (run / "watchdog.log").read_text().splitlines()[-2:]
    assert last[0] == "healed"
    assert last[1].startswith("steady for 3.0 s after the fault")
    assert not disturbed(lab)


@pytest.mark.cluster
def test_taking_the_lab_down_ends_its_run_in_order_and_its_watchdog(
    lab: EmbeddedCluster, tmp_path: Path
) -> None:
    bring_up(lab)
    kernel = _holding(
        "Kill(cluster.leader())",
        {"LABKIT_HOME": str(lab.home), "LABKIT_RUNS": str(tmp_path / "runs")},
    )
    try:
        (pid,) = watchdogs.alive(lab.home)
        run = marks.run_of(lab.home)
        assert run is not None
        said: list[str] = []
        lab.stop(said.append)
        assert said[0] == f"ending the run {run}"
        assert not alive(pid)
        assert watchdogs.alive(lab.home) == []
        assert lab.pids() == []
        result = Result.load(Path(run.folder))
        assert result.verdict is Verdict.UNKNOWN
        broken_off = result.summary.finding(folders.COMPLETED)
        assert broken_off is not None
        assert "the lab was taken down by `labkit down`" in broken_off.summary
        assert marks.run_of(lab.home) is None
    finally:
        _kill(kernel)
        lab.start()


def _holding(fault: str, environment: dict[str, str]) -> KernelManager:
    """A kernel whose experiment has just begun to hold its fault."""
    manager = KernelManager(kernel_name="python3", transport="ipc")
    manager.start_kernel(env={**os.environ, **environment})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        client.execute(CELL.format(fault=fault))
        said = ""
        while "holding the fault" not in said:
            message = client.get_iopub_msg(timeout=120)
            said += message["content"].get("text", "")
            assert message["msg_type"] != "error", message["content"]
    except BaseException:
        _kill(manager)
        raise
    finally:
        client.stop_channels()
    return manager


def _die_holding(fault: str, environment: dict[str, str]) -> None:
    _kill(_holding(fault, environment))


def _kill(manager: KernelManager) -> None:
    """kill -9: it cannot say goodbye."""
    manager.signal_kernel(signal.SIGKILL)
    manager.shutdown_kernel(now=True)
