"""A lab in containers as a person has it: by the commands, in every form, interrupted, killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import PORT_BASE

from engine.compose import write_override
from engine.daemon import Engine
from labkit.clock import wait_until
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.machines import docker as labkit_engine
from labkit.cluster.machines.compose import OVERRIDE_FILE
from labkit.cluster.machines.docker import PROJECT_LABEL, NoEngine
from labkit.faults.links import Direction
from labkit.faults.partition import Partition
from labkit.run.experiment import Experiment
from labkit.verdict.finding import Verdict
from labkit.verdict.steady import SteadyState
from labkit.workload.trading import TradingWorkload

pytestmark = pytest.mark.docker

LABKIT = str(Path(sys.executable).with_name("labkit"))
MINE = PORT_BASE + 2400


@pytest.fixture
def home(docker_engine: Engine) -> Iterator[Path]:
    """A state folder that is not there, yet; nothing of its lab is left behind."""
    parent = Path(tempfile.mkdtemp(prefix="labkit-"))
    folder = parent / "lab"
    yield folder
    if (folder / "lab.json").exists():
        labkit(folder, "down", "--purge")
    shutil.rmtree(parent)


def begin(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [LABKIT, *arguments],
        env={**os.environ, "LABKIT_HOME": str(home)},
        cwd=home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def labkit(home: Path, *arguments: str, code: int = 0) -> str:
    """Run a command to its end; what it printed."""
    process = begin(home, *arguments)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, out + err
    return out + err


def begun_until(home: Path, stage: str) -> subprocess.Popen[str]:
    """An `up` that has come to a stage."""
    up = begin(home, "up")
    assert up.stderr is not None
    for line in up.stderr:
        if line.startswith(stage):
            return up
    pytest.fail(f"up ended before {stage!r}")


def left_by(lab: ComposeCluster, engine: Engine) -> list[str]:
    """Whatever Docker has of a lab."""
    client = engine.client()
    only = {"label": f"{PROJECT_LABEL}={lab.settings.project}"}
    found = [
        *client.containers.list(all=True, filters=only, ignore_removed=True),
        *client.networks.list(filters=only),
        *client.volumes.list(filters=only),
    ]
    return sorted(one.name for one in found)


def made(home: Path, engine: Engine, **settings: bool) -> ComposeCluster:
    """A lab that was not started."""
    lab = ComposeCluster.create(home, port_base=MINE, **settings)
    if engine.standin:
        write_override(lab)
    return lab


def test_a_secure_lab_is_used_broken_healed_and_taken_down_by_commands(
    home: Path, docker_engine: Engine, tmp_path: Path
) -> None:
    lab = made(home, docker_engine, secure=True)
    flags = ("--backend", "cockroachdb", "--secure", "--port-base", str(MINE))
    assert "9 nodes in 3 regions are in service" in labkit(home, "up", *flags)
    status = json.loads(labkit(home, "status", "--json"))
    assert (status["backend"], status["healthy"], len(status["links"])) == ("cockroachdb", True, 6)
    assert "sslmode=verify-full" in labkit(home, "dsn", "us-east-1")
    assert "12" in labkit(home, "sql", "us-east-1", "-c", "SELECT 5 + 7 AS twelve")
    assert "us-east-1/2" in labkit(home, "fault", "kill", "us-east-1/2")
    assert "us-east-1/2" in labkit(home, "status", code=1)
    assert "every part is in service" in labkit(home, "heal")
    labkit(home, "run", "00_setup", "-p", "samples=2")
    nothing_is_lost_while_a_region_is_not_heard(lab, tmp_path)
    secrets = json.loads((home / "secrets.json").read_text()).values()
    rendered = "".join(path.read_text() for path in (home / "compose").glob("*.*"))
    assert not any(secret in rendered for secret in secrets)
    assert "its data is kept" in labkit(home, "down")
    kept = left_by(lab, docker_engine)
    assert {f"{lab.settings.project}_crdb{n}-us-west-2" for n in (1, 2, 3)} <= set(kept)
    assert not [name for name in kept if "haproxy" in name or "wan" in name]
    assert "the lab is gone" in labkit(home, "down", "--purge")
    # labkit wrote no override file, so it removes none
    left = {str(path.relative_to(home)) for path in home.rglob("*")}
    assert left <= {"compose", f"compose/{OVERRIDE_FILE}"}
    assert left_by(lab, docker_engine) == []


def nothing_is_lost_while_a_region_is_not_heard(lab: ComposeCluster, folder: Path) -> None:
    """The audit of acknowledged orders, with certificates, over links that are cut one way."""
    region = lab.topology.region(lab.leader().region)
    result = Experiment(
        lab,
        # few connections: each is a handshake that the double makes in Python
        TradingWorkload(rate_per_s=20, connections=5, reads_per_order=0),
        steady=SteadyState(p99_ms=3000, success_ratio=0.95),
        fault=Partition(region, direction=Direction.OUT),
        hold_s=8,
        steady_s=3,
        folder=folder,
    ).run()
    for checker in ("fault_took_effect", "lost_acks", "duplicates", "money", "prices"):
        finding = result.summary.finding(checker)
        assert finding is not None
        assert finding.verdict is Verdict.PASS, "\n".join((finding.summary, *finding.offenders))


def test_an_up_that_is_interrupted_leaves_nothing(home: Path, docker_engine: Engine) -> None:
    lab = made(home, docker_engine)
    up = begun_until(home, "join")
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=300)
    assert up.returncode == 130, err
    assert left_by(lab, docker_engine) == []


def test_an_up_that_was_killed_is_gone_on_with_without_a_wan_and_taken_down_whole(
    home: Path, docker_engine: Engine
) -> None:
    lab = made(home, docker_engine, wan=False)
    up = begun_until(home, "join")
    up.kill()
    up.communicate(timeout=60)
    assert "9 nodes in 3 regions are in service" in labkit(home, "up", "--wan", "off")
    assert json.loads(labkit(home, "status", "--json"))["links"] == []
    assert "has no WAN" in labkit(home, "fault", "partition", "us-west-2", code=3)
    up = begin(home, "up")  # one more that dies, in the middle of nothing
    up.kill()
    up.communicate(timeout=60)
    labkit(home, "down", "--purge")
    assert left_by(lab, docker_engine) == []


def test_a_user_who_may_not_use_the_engine_is_told_how_to(docker_engine: Engine) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else for a while")
    os.seteuid(65534)
    try:
        with pytest.raises(NoEngine, match="usermod -aG docker"):
            labkit_engine.Engine.connect()
    finally:
        os.seteuid(0)


def test_an_image_that_cannot_be_pulled_is_named_and_nothing_is_left(
    home: Path, docker_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCKROACH_IMAGE", "127.0.0.1:1/cockroach")  # a registry that is not there
    lab = made(home, docker_engine)
    said = labkit(home, "up", code=3)
    version = lab.settings.version
    assert f"images: the image 127.0.0.1:1/cockroach:{version} cannot be pulled" in said
    assert "COCKROACH_IMAGE" in said
    assert left_by(lab, docker_engine) == []
    monkeypatch.setenv("COCKROACH_IMAGE", "127.0.0.1:2/cockroach")
    assert "127.0.0.1:2/cockroach" in labkit(home, "up", code=3)


def test_what_is_stopped_by_hand_is_noticed_and_healed(containers: ComposeCluster) -> None:
    compose = ["docker", "compose", "-p", containers.settings.project]
    subprocess.run([*compose, "stop", "crdb3-us-west-2", "haproxy-us-west-2"], check=True)
    status = containers.status()
    parts = (*status.nodes, *status.balancers)
    assert [part.name for part in parts if not part.healthy] == ["us-west-2/3", "lb:us-west-2"]
    subprocess.run([*compose, "rm", "--force", "crdb3-us-west-2"], check=True)
    assert containers.status().node("us-west-2/3").detail == "down"
    containers.heal()
    wait_until(lambda: containers.status().healthy, what="health", timeout_s=60)
