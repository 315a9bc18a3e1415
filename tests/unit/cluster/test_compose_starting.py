"""The stages of a start in containers: each failure names its stage and the next step."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from docker_fakes import compose_says, container

from labkit.cluster.engines.cockroachdb import database
from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.layout import node_service
from labkit.cluster.engines.cockroachdb.starting import start_everything
from labkit.cluster.layout import WAN
from labkit.cluster.machines import compose as program
from labkit.cluster.machines.containers import Containers
from labkit.cluster.machines.docker import Container
from labkit.errors import ClusterError, LabError, LabMismatch, NotReady, PortInUse
from labkit.topology import DEFAULT

WEST, EAST = (DEFAULT.nodes_of(region)[0] for region in DEFAULT.region_names[:2])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.delenv("COCKROACH_VERSION", raising=False)
    return tmp_path / "lab"


def starter(lab: ComposeCluster, **engine: object) -> Any:
    from labkit.cluster.engines.cockroachdb.containers.starting import ComposeStarter

    facts = SimpleNamespace(memory_bytes=64 << 30, version="28", system="Linux")
    fake = {
        "containers": lambda project: {},
        "volumes": lambda project: {},
        "facts": lambda: facts,
        **engine,
    }
    file = lab.home / "compose" / "cockroachdb.yml"
    compose = program.Compose([], lab.settings.project, file, {})
    lab.__dict__["machine"] = Containers(SimpleNamespace(**fake), compose)  # type: ignore[arg-type]
    return ComposeStarter(**lab._parts_of(lab.settings))


def test_a_project_of_somebody_else_is_left_alone(home: Path) -> None:
    lab = ComposeCluster.create(home)
    for whose in ("another", ""):
        other = Container("1", "web", "running", "Up", whose)
        with pytest.raises(LabMismatch, match=r"down --volumes.*LABKIT_HOME"):
            starter(lab, containers=lambda project, other=other: {"web": other}).check(False)


@pytest.mark.parametrize("end", [ComposeCluster.stop, ComposeCluster.purge])
def test_a_lab_whose_project_somebody_else_took_over_is_not_taken_down(
    home: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[ComposeCluster], None]
) -> None:
    """Such as by `docker compose -f compose/cockroachdb.yml up`, after `labkit down`."""
    lab = ComposeCluster.create(home)
    other = Container("1", "crdb1-us-west-2", "exited", "Exited", "standalone")
    starter(lab, containers=lambda project: {other.service: other}).render()
    compose_says(monkeypatch, 1, "", "docker compose was run")
    lab.__dict__["_compose"] = lab.machine.compose
    with pytest.raises(LabMismatch, match=r"project 'labkit-\w+' of another lab.*LABKIT_HOME"):
        end(lab)
    assert (home / "lab.json").exists()


def test_a_port_of_somebody_else_is_named_before_anything_is_started(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        lab = ComposeCluster.create(home, port_base=port - 100)
        with pytest.raises(
            PortInUse, match=rf"port {port} \(us-west-2/1 DB Console\) is taken.*--port-base N"
        ):
            starter(lab).check(False)


def test_data_that_is_half_gone_is_refused(home: Path) -> None:
    lab = ComposeCluster.create(home)
    there = {node_service(node): lab.settings.lab_id for node in DEFAULT.nodes[1:]}
    with pytest.raises(ClusterError, match="data of crdb1-us-west-2 is gone"):
        starter(lab, volumes=lambda project: there).check(True)


def test_too_little_memory_is_said_before_anything_is_started(home: Path) -> None:
    lab = ComposeCluster.create(home)
    facts = SimpleNamespace(memory_bytes=2 << 30)
    with pytest.raises(ClusterError, match=r"Docker has 2048 MiB.*--backend embedded"):
        starter(lab, facts=lambda: facts).check(False)


def test_a_stage_that_takes_too_long_is_named_with_simpler_forms(home: Path) -> None:
    lab = ComposeCluster.create(home)
    waiting = starter(lab)
    with pytest.raises(NotReady, match=r"init: not ready.*--wan off.*COCKROACH_VERSION"):
        waiting.wait("init", lambda: False, 0, parts=[])


def test_a_node_that_does_not_join_is_named_with_its_stage_and_last_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = ComposeCluster.create(home)
    monkeypatch.setattr("labkit.cluster.engines.cockroachdb.starting.SERVICE_TIMEOUT_S", 0.0)
    there = {node_service(node): container(node_service(node)) for node in DEFAULT.nodes}
    waiting = starter(
        lab, containers=lambda project: there, last_words=lambda container: "no route to wan:27003"
    )
    zones = [(EAST.region, [EAST.zone]), (WEST.region, [WEST.zone, "us-west-2b", "us-west-2c"])]
    connection = SimpleNamespace(execute=lambda sql: SimpleNamespace(fetchall=lambda: zones))
    monkeypatch.setattr(
        database.Operator, "connect", lambda self, node: contextlib.nullcontext(connection)
    )
    with pytest.raises(NotReady) as caught:
        waiting.join()
    assert re.match(
        r"join: not ready after .* \(us-east-1/2 has not joined; .*"
        r"crdb2-us-east-1 said last: no route to wan:27003\); .*--wan off",
        str(caught.value),
    )


def test_an_error_names_its_stage(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = starter(ComposeCluster.create(home), has_image=lambda name: False)
    compose_says(monkeypatch, 1, "", "dial tcp: lookup registry-1.docker.io: no such host")
    with pytest.raises(ClusterError, match=r"^images: .*cannot be pulled .*no such host.*network"):
        start_everything(waiting, lambda stage: None, served=False)
    assert not waiting.machine.compose.file.exists()


@pytest.mark.parametrize("runs", [True, False])
def test_a_wan_that_runs_is_told_which_nodes_there_are(runs: bool) -> None:
    """`node add` may have been killed before it told the WAN."""
    lab = Mock()
    lab.layout.topology = DEFAULT
    lab.layout.services = [WAN, *map(node_service, DEFAULT.nodes)]
    lab.running.return_value = {*lab.layout.services} - (set() if runs else {WAN})
    start_everything(lab, lambda stage: None, served=True)
    assert lab.tell_wan.called == runs


def test_the_wan_runs_a_copy_of_its_program_from_the_state_folder(home: Path) -> None:
    """Docker Desktop and colima can mount the home folder, not wherever a package lies."""
    lab = ComposeCluster.create(home)
    before = os.umask(0o077)
    try:
        starter(lab).render()
    finally:
        os.umask(before)
    folder = home / "compose"
    assert "./labkit/wan:/opt/labkit/wan:ro" in (folder / "cockroachdb.yml").read_text()
    copies = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "labkit" / "wan" / "__main__.py" in copies
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in copies)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r});"
         "import labkit.wan.__main__ as m; print(m.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(folder))


def test_a_container_that_ended_is_named_with_its_last_words(home: Path) -> None:
    lab = ComposeCluster.create(home)
    dead = container("crdb1-us-west-2", "exited")
    waiting = starter(
        lab,
        containers=lambda project: {dead.service: dead},
        last_words=lambda container: "flag provided but not defined",
    )
    with pytest.raises(LabError, match="quorum: crdb1-us-west-2 ended: flag provided"):
        waiting.wait("quorum", lambda: False, 30, parts=[dead.service])


def test_a_command_in_a_container_that_fails_says_why(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = ComposeCluster.create(home)
    compose_says(
        monkeypatch,
        1,
        "",
        'ERROR: cannot dial server.\nIs the server running?\n\nFailed running "node"\n',
    )
    why = r"`cockroach node status` at us-west-2/1 failed: ERROR: cannot dial server. Is the serv"
    with pytest.raises(ClusterError, match=why) as refused:
        starter(lab).cockroach(WEST, ["node", "status"], 5)
    assert str(refused.value).endswith("running?")
