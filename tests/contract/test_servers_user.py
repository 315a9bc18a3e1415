"""Who the servers of a running lab are, and what others see of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from labkit.cluster import strays
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.identity import NOBODY, Identity

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux"),
]


def status(pid: int) -> dict[str, str]:
    """What Linux says of a process; empty for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {key: value.strip() for key, _, value in (s.partition(":") for s in text.splitlines())}


def test_every_process_runs_as_the_labs_user_without_any_right_of_roots(
    lab: EmbeddedCluster,
) -> None:
    user = lab.table.identity
    found = [said for pid in (*lab.pids(), *strays.of_table(lab.table)) if (said := status(pid))]
    assert len(found) > 9
    for said in found:
        assert set(said["Uid"].split()) == {str(user.uid)}, said["Name"]
        assert set(said["Gid"].split()) == {str(user.gid)}, said["Name"]
        if user.dropped:
            held = {int(said[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
            assert held == {0}, said["Name"]
            assert (said["NoNewPrivs"], said["Groups"]) == ("1", ""), said["Name"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_reads_nothing_of_a_lab(lab: EmbeddedCluster) -> None:
    nobody = Identity.of_root(NOBODY, NOBODY)
    found = nobody.run("find", lab.home, lab.layout.place, "-readable")
    assert found.stdout == ""
    for pid in lab.pids():
        assert nobody.run("cat", f"/proc/{pid}/environ").returncode != 0
        assert nobody.run("kill", "-0", str(pid)).returncode != 0


def test_the_servers_read_nothing_outside_that_is_roots_alone(lab: EmbeddedCluster) -> None:
    user = lab.table.identity
    if not user.dropped:
        pytest.skip("its owner's servers may read what their owner may")
    secret = lab.home / "secrets.json"
    assert subprocess.run(["test", "-r", secret], check=False).returncode == 0
    assert not user.may("-r", secret)
    assert not user.may("-x", lab.home.parent)
