"""A lab that the operating system's limits have no room for is refused before it is started."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import doctor
from labkit.cluster.engines.postgresql import config, room
from labkit.cluster.engines.postgresql.layout import Layout
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.limits import (
    LEAST_CONNECTIONS,
    UNLIMITED,
    Limits,
    balancer_connections,
    memory_mib,
    too_low,
)
from labkit.cluster.machines.programs import haproxy
from labkit.doctor.check import Feature, Level
from labkit.errors import ClusterError
from labkit.topology import DEFAULT, Topology


def shape(regions: int, nodes: int) -> Topology:
    names = [f"r{i}" for i in range(regions)]
    links = [{"between": pair, "rtt_ms": 5} for pair in combinations(names, 2)]
    listed = [{"name": name, "nodes": nodes} for name in names]
    return Topology.model_validate({"region": listed, "link": links, "survive": "none"})


@pytest.mark.parametrize("limit", [300, 1024, 4096])
@pytest.mark.parametrize(("regions", "nodes"), [(1, 1), (3, 3), (3, 9), (9, 9)])
def test_a_balancer_starts_with_as_many_connections_as_the_limit_allows(
    tmp_path: Path, limit: int, regions: int, nodes: int
) -> None:
    topology = shape(regions, nodes)
    count = balancer_connections(config.BALANCER_CONNECTIONS, topology, limit)
    if count < LEAST_CONNECTIONS:
        assert "open files" in too_low(topology, Limits(open_files=limit))
        return
    layout = Layout(tmp_path, topology, 21000, wan=True)
    (tmp_path / "run").mkdir()
    text = config.haproxy(layout, Secrets(), "r0")
    # a port that is taken ends it after its limits were checked
    text = "\n".join(line for line in text.splitlines() if "stats socket" not in line)
    (tmp_path / "h.cfg").write_text(text.replace("bind 127.0.0.1", "bind 192.0.2.1") + "\n")
    done = subprocess.run(
        [haproxy().path, "-db", "-n", str(count), "-f", "h.cfg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert "FD limit" not in done.stderr
    assert "cannot bind" in done.stderr.lower()


def test_the_usual_limit_of_a_container_serves_the_usual_lab() -> None:
    assert too_low(DEFAULT, Limits(open_files=1024), wan_ports=100) == ""
    assert balancer_connections(500, DEFAULT, 1024) > 400
    assert balancer_connections(500, DEFAULT, UNLIMITED) == 500


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(open_files=64), r"open files of a process, the limit here leaves 64.*ulimit -n"),
        (Limits(processes=100), r"processes and threads .*leaves 100.*ulimit -u"),
        (Limits(processes=-5), r"leaves 0"),
        (Limits(addresses_bytes=1 << 30), r"addresses .*leaves 1,024.*ulimit -v"),
        (Limits(file_bytes=0), r"of a file.*leaves 0.*ulimit -f"),
        (Limits(stack_bytes=64 << 10), r"stack .*leaves 64.*ulimit -s"),
    ],
)
def test_a_limit_that_is_too_low_is_named_with_both_numbers(
    limits: Limits, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = too_low(DEFAULT, limits)
    assert "a lab of 9 nodes needs" in message
    monkeypatch.setattr(Limits, "here", lambda _uid: limits)
    check = doctor.limits(tmp_path)
    assert (check.level, check.needed_for) == (Level.FAIL, (Feature.EMBEDDED,))
    layout = Layout(tmp_path, DEFAULT, 21000, wan=False)
    with pytest.raises(ClusterError, match=said):
        room.require_room(layout, Secrets(), os.getuid(), len(DEFAULT.nodes))
    room.require_room(layout, Secrets(), os.getuid(), 0)  # it runs


@pytest.mark.parametrize("name", ["open_files", "processes"])
def test_a_larger_shape_needs_more(name: str) -> None:
    largest = shape(9, 9)
    nearly = replace(Limits(), **{name: 1500})
    assert too_low(DEFAULT, nearly, wan_ports=100) == ""
    assert too_low(largest, nearly, wan_ports=1700) != ""
    assert memory_mib(largest) > 7 * memory_mib(DEFAULT)
    assert room.free_bytes(largest, fresh=True) == 9 * room.free_bytes(DEFAULT, fresh=True)


def test_a_full_disk_refuses_what_needs_room_and_no_healing_that_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = SimpleNamespace(free=100 << 20)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _path: left)
    layout = Layout(tmp_path, DEFAULT, 21000, wan=True)
    with pytest.raises(ClusterError, match="100 MiB left and starting 9 nodes needs about 1024"):
        room.require_disk(layout, 9)
    layout.served.parent.mkdir(parents=True, exist_ok=True)
    layout.served.touch()
    with pytest.raises(ClusterError, match="starting 9 nodes needs about 256"):
        room.require_disk(layout, 9)
    room.require_disk(layout, 1)
    left.free = 0
    room.require_disk(layout, 0)


def test_a_lab_that_lacks_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory_left_mib", lambda: 500)
    layout = Layout(tmp_path, DEFAULT, 21000, wan=True)
    with pytest.raises(ClusterError, match=r"9 nodes need about 648 MiB .* and 500 are left"):
        room.require_room(layout, Secrets(), os.getuid(), 9)
    room.require_room(layout, Secrets(), os.getuid(), 1)


def test_a_lab_with_more_nodes_than_the_cores_can_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory_left_mib", lambda: 100_000)
    monkeypatch.setattr(room, "cores", lambda: 2.0)
    layout = Layout(tmp_path, shape(9, 5), 21000, wan=True)
    with pytest.raises(ClusterError, match="45 nodes needs 4 cores, and 2 are here, enough for 28"):
        room.require_room(layout, Secrets(), os.getuid(), 45)
    room.require_room(layout, Secrets(), os.getuid(), 1)  # the others run
    room.require_room(Layout(tmp_path, shape(3, 9), 21000, wan=True), Secrets(), os.getuid(), 27)


def test_limits_are_those_of_the_processes_that_are_started() -> None:
    script = (
        "from labkit.cluster.limits import Limits, UNLIMITED\n"
        "here = Limits.here(0)\n"
        "print(here.open_files, here.file_bytes, here.stack_bytes)\n"
    )

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 700))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 21))
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 5 << 20))

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lower,
    )
    assert done.stdout.split() == ["700", str(1 << 20), str(4 << 20)]
