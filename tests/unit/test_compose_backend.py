"""The CockroachDB backend without Docker: settings, parsing, and what it says when things fail."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, DockerException

import labkit.cluster
from labkit.cluster import haproxy
from labkit.cluster.cockroach import database, monitoring, program
from labkit.cluster.cockroach.database import Leases
from labkit.cluster.cockroach.layout import node_service
from labkit.cluster.cockroach.monitoring import Ready
from labkit.cluster.cockroach.starting import start_everything
from labkit.cluster.cockroach.status import Seen
from labkit.cluster.cockroach.view import View, Watch
from labkit.cluster.compose import project
from labkit.cluster.compose.cluster import ComposeCluster
from labkit.cluster.compose.engine import Container, Engine, NoEngine
from labkit.cluster.compose.machine import Containers
from labkit.cluster.compose.settings import Settings
from labkit.cluster.status import State
from labkit.errors import (
    BadInput,
    ClusterError,
    LabError,
    LabMismatch,
    MissingBinary,
    NotReady,
    PortInUse,
    TopologyError,
)
from labkit.topology import DEFAULT, Node, SurvivalGoal

WEST, EAST, EU = (DEFAULT.nodes_of(region)[0] for region in DEFAULT.region_names)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.delenv("COCKROACH_VERSION", raising=False)
    return tmp_path / "lab"


def was_started(lab: object) -> ComposeCluster:
    """As a lab is whose first start has come as far as its Compose file."""
    assert isinstance(lab, ComposeCluster)
    lab._compose.file.parent.mkdir()
    lab._compose.file.touch()
    return lab


# settings


def test_a_lab_is_found_again_as_it_was_made(home: Path) -> None:
    made = labkit.cluster.create("cockroachdb", wan=False, port_base=30000)
    found = labkit.cluster.attach()
    assert isinstance(made, ComposeCluster)
    assert isinstance(found, ComposeCluster)
    assert found.settings == made.settings
    assert json.loads((home / "lab.json").read_text())["backend"] == "cockroachdb"
    assert not found.settings.wan


@pytest.mark.parametrize("other", [{"wan": False}, {"port_base": 30000}, {"secure": True}])
def test_another_setting_than_the_labs_is_refused(home: Path, other: dict[str, Any]) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    with pytest.raises(LabMismatch, match="down --purge"):
        labkit.cluster.create("cockroachdb", **other)


def test_another_version_than_the_labs_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    monkeypatch.setenv("COCKROACH_VERSION", "v26.2.0")
    with pytest.raises(LabMismatch, match="differs in its version"):
        labkit.cluster.create()


def test_an_image_that_could_not_be_pulled_is_replaced_by_the_one_that_is_named_next(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = labkit.cluster.create("cockroachdb")
    monkeypatch.setenv("HAPROXY_IMAGE", "mirror.example/haproxy:3.2")
    again = labkit.cluster.create("cockroachdb")
    assert isinstance(again, ComposeCluster)
    assert "mirror.example/haproxy:3.2" in again.settings.image_names
    assert again.settings.lab_id == was_started(lab).settings.lab_id
    monkeypatch.setenv("HAPROXY_IMAGE", "haproxy:3.0")
    with pytest.raises(LabMismatch, match="differs in its images"):
        labkit.cluster.create("cockroachdb")


def test_another_backend_than_the_labs_is_refused(home: Path) -> None:
    was_started(labkit.cluster.create("cockroachdb"))
    with pytest.raises(LabMismatch, match="cockroachdb backend"):
        labkit.cluster.create("embedded")
    assert isinstance(labkit.cluster.create(), ComposeCluster)


def test_a_lab_that_never_was_started_gives_way_to_what_may_work_here(home: Path) -> None:
    first = labkit.cluster.create("cockroachdb", wan=False)
    again = labkit.cluster.create("cockroachdb", port_base=30000)
    assert isinstance(first, ComposeCluster)
    assert isinstance(again, ComposeCluster)
    assert again.settings == first.settings.model_copy(update={"port_base": 30000})
    assert again.secrets
    other = labkit.cluster.create("embedded")
    assert other.backend == "embedded"
    assert "cockroach" not in (home / "lab.json").read_text()
    assert not (home / "secrets.json").exists()


def test_a_goal_weaker_than_a_majority_does_not_exist(home: Path) -> None:
    with pytest.raises(TopologyError, match="always waits for a majority"):
        labkit.cluster.create("cockroachdb", survive=SurvivalGoal.NONE)


def test_the_embedded_backend_cannot_be_secured(home: Path) -> None:
    with pytest.raises(BadInput, match="--secure"):
        labkit.cluster.create("embedded", secure=True)
    assert not home.exists()


def test_a_second_lab_has_a_project_of_its_own(home: Path, tmp_path: Path) -> None:
    first = ComposeCluster.create(tmp_path / "one").settings
    second = ComposeCluster.create(tmp_path / "two").settings
    assert len({first.project, second.project, "labkit"}) == 3


def test_dsns_differ_and_hold_no_password(home: Path) -> None:
    for lab in (
        ComposeCluster.create(home / "insecure"),
        ComposeCluster.create(home / "secure", secure=True),
    ):
        assert lab.secrets.trader not in lab.dsn("us-west-2")
        assert "follower_reads" in lab.dsn("us-west-2", read_only=True)
        assert "follower_reads" not in lab.dsn("us-west-2")
    assert "passfile=" in lab.dsn("us-west-2")


# parsing


METRICS = """\
# HELP replicas_leaseholders Number of lease holders
# TYPE replicas_leaseholders gauge
replicas_leaseholders{store="1",node_id="1"} 21
replicas_leaseholders{store="2",node_id="1"} 2
liveness_livenodes{node_id="1"} 9
ranges_unavailable 0
sql_service_latency_bucket{le="1e+06"} 1.5e+3
"""


def test_metrics_of_all_stores_are_added_up() -> None:
    found = monitoring.parse_metrics(METRICS)
    assert found["replicas_leaseholders"] == 23
    assert found["liveness_livenodes"] == 9
    assert found["ranges_unavailable"] == 0
    assert found["sql_service_latency_bucket"] == 1500


def test_servers_that_are_up_are_named_by_backend() -> None:
    text = (
        "# pxname,svname,status\nsql,FRONTEND,OPEN\nus-west-2,a,UP\nus-west-2,b,DOWN\n"
        "us-west-2,BACKEND,UP\neu-west-1,c,MAINT (resolution)\neu-west-1,BACKEND,DOWN\n"
        "statistics,BACKEND,UP\n"
    )
    assert haproxy.servers_up(text) == {"us-west-2": ["a"], "eu-west-1": []}


def ranges(*rows: tuple[Node, int]) -> Leases:
    return database.parse_leases(
        [
            {
                "lease_holder_locality": program.locality(node),
                "voting_replicas": list(range(voters)),
            }
            for node, voters in rows
        ],
        DEFAULT,
    )


def test_leases_are_counted_by_the_node_whose_locality_holds_them() -> None:
    found = ranges((WEST, 5), (WEST, 5), (EU, 5))
    assert found.held == {WEST: 2, EU: 1}
    assert found.most() == WEST
    assert found.most(EU.region) == EU
    assert found.most(EAST.region) is None


@pytest.mark.parametrize(
    ("goal", "voters", "obeyed"),
    [
        (SurvivalGoal.REGION, 3, False),
        (SurvivalGoal.REGION, 5, True),
        (SurvivalGoal.ZONE, 5, False),
        (SurvivalGoal.ZONE, 3, True),
    ],
)
def test_a_goal_is_obeyed_when_all_voters_are_moved(
    goal: SurvivalGoal, voters: int, obeyed: bool
) -> None:
    right = 5 if goal is SurvivalGoal.REGION else 3
    assert database.obeys(ranges((WEST, right), (EU, voters)), goal, DEFAULT) is obeyed


# who leads


def seen(leases: Leases, *ready: Node) -> Seen:
    return Seen({}, {node: Ready(True) for node in ready}, View(leases, None))


def test_the_leader_is_of_the_region_else_of_the_home_region_else_of_any() -> None:
    held = Leases({WEST: 2, EAST: 5})
    home = WEST.region
    assert seen(held, WEST, EAST, EU).leader(None, home) == WEST
    assert seen(held, WEST, EAST, EU).leader(EAST.region, home) == EAST
    assert seen(held, WEST, EAST, EU).leader(EU.region, home) == WEST
    assert seen(held, EAST, EU).leader(None, home) == EAST
    assert seen(held, EU).leader(None, home) is None


def test_before_there_are_tables_a_ready_node_counts_as_leader() -> None:
    assert seen(Leases({}), WEST, EAST).leader(None, WEST.region) == WEST
    assert seen(Leases({})).leader(None, WEST.region) is None


def test_leases_are_asked_for_once_until_the_ready_nodes_change() -> None:
    asked: list[Node] = []

    def ask(node: Node) -> View:
        asked.append(node)
        return View(Leases({node: 1}), SurvivalGoal.REGION)

    watch = Watch(ask)
    both, one = frozenset((WEST, EU)), frozenset((EU,))
    assert watch.look(both, WEST) == watch.look(both, WEST)
    assert asked == [WEST]
    after = watch.look(one, EU)
    assert after is not None
    assert after.leases.held == {EU: 1}
    assert asked == [WEST, EU]
    watch.forget()
    watch.look(one, EU)
    assert asked == [WEST, EU, EU]
    assert watch.look(frozenset(), None) is None


def test_an_older_view_is_shown_while_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("labkit.cluster.cockroach.view.PATIENCE_S", 0.01)
    released = Event()

    def ask(node: Node) -> View:
        if node is EU:
            released.wait(30)
        return View(Leases({node: 1}), None)

    watch = Watch(ask)
    first = watch.look(frozenset((WEST, EU)), WEST)
    assert first is not None
    assert watch.look(frozenset((EU,)), EU) == first
    released.set()


def test_a_database_that_refuses_has_no_view() -> None:
    def ask(node: Node) -> View:
        raise ClusterError("no")

    assert Watch(ask).look(frozenset((WEST,)), WEST) is None


# errors


def connecting(monkeypatch: pytest.MonkeyPatch, error: Exception) -> str:
    def from_env(**_: object) -> None:
        raise DockerException(f"Error while fetching server API version: {error}") from error

    monkeypatch.setattr("docker.from_env", from_env)
    with pytest.raises(NoEngine) as caught:
        Engine.connect()
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file"), "install Docker"),
        (PermissionError(13, "Permission denied"), "usermod -aG docker"),
        (ConnectionRefusedError(111, "refused"), "systemctl start docker"),
        (TimeoutError("late"), "docker info"),
    ],
)
def test_an_engine_that_cannot_be_used_is_told_with_the_next_step(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    assert words in connecting(monkeypatch, error)
    # as urllib3 and requests wrap it
    wrapped = requests.ConnectionError(("Connection aborted.", error))
    assert words in connecting(monkeypatch, wrapped)


def test_a_socket_that_is_not_there_and_one_that_nobody_listens_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with pytest.raises(NoEngine, match="no Docker engine here: install Docker"):
        Engine.connect()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(NoEngine, match="the Docker engine is stopped: start it"):
        Engine.connect()


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http+docker://localhost", ""),  # a socket, whatever its path
        ("http://127.0.0.1:2375", ""),
        ("http://build-server:2375", "build-server"),
        ("http+docker://ssh", "ssh"),
    ],
)
def test_an_engine_on_another_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    client = SimpleNamespace(api=SimpleNamespace(base_url=address), ping=lambda: True)
    monkeypatch.setattr("docker.from_env", lambda **_: client)
    if not host:
        Engine.connect()
        return
    with pytest.raises(NoEngine, match=rf"another machine \({host}\).*--backend embedded"):
        Engine.connect()


class FakeApi:
    """The SDK's lower half, at the edge to HTTP."""

    def __init__(self, *rows: dict[str, Any], error: Exception | None = None) -> None:
        self.rows = rows
        self.error = error
        self.killed: list[str] = []

    def containers(self, **_: object) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return list(self.rows)

    def kill(self, container: str, signal: str) -> None:
        self.killed.append(container)
        if self.error:
            raise self.error


def engine(api: FakeApi) -> Engine:
    return Engine(SimpleNamespace(api=api))


def test_containers_are_known_by_service_and_lab() -> None:
    labels = {"com.docker.compose.service": "wan", "labkit.lab": "mine"}
    found = engine(
        FakeApi({"Id": "1", "State": "paused", "Status": "Up (Paused)", "Labels": labels})
    ).containers("labkit")
    assert found["wan"].state is State.PAUSED
    assert found["wan"].lab == "mine"


def container(name: str, raw_state: str = "running") -> Container:
    return Container(name, name, raw_state, "", "")


def test_only_what_lives_is_killed() -> None:
    api = FakeApi()
    engine(api).kill([container("a"), container("b", "exited"), container("c", "paused")])
    assert sorted(api.killed) == ["a", "c"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (APIError("no", explanation="it is not running"), "Docker refuses a: it is not running"),
        (requests.ConnectionError("gone"), "does not answer"),
    ],
)
def test_what_docker_refuses_names_the_service(error: Exception, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        engine(FakeApi(error=error)).kill([container("a")])


def compose_says(
    monkeypatch: pytest.MonkeyPatch, code: int, stdout: str = "", stderr: str = ""
) -> None:
    done = subprocess.CompletedProcess([], code, stdout, stderr)
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: done)
    monkeypatch.setattr("shutil.which", lambda name, path=None: f"/usr/bin/{name}")


def test_a_compose_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 0, "1.29.2\n")
    with pytest.raises(MissingBinary, match=r"1\.29\.2, which is too old.*docs\.docker\.com"):
        project.find_compose()


def test_a_docker_without_compose_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 1, "", "docker: 'compose' is not a docker command")
    with pytest.raises(MissingBinary, match="no Docker Compose on this machine"):
        project.find_compose()


def test_a_compose_that_answers_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 0, "v2.40.3\n")
    assert project.find_compose() == (["/usr/bin/docker", "compose"], "2.40.3")


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "Error response from daemon: driver failed: Bind for 127.0.0.1:26257 failed: "
        "port is already allocated"
    )
    compose_says(monkeypatch, 1, "", said)
    compose = project.Compose(["docker", "compose"], "labkit", Path("compose.yml"), {})
    with pytest.raises(PortInUse, match=r"port 26257 is taken.*--port-base"):
        compose.up()


def test_an_image_that_cannot_be_pulled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    compose_says(monkeypatch, 1, "", "Error response from daemon: Get https://registry: timeout")
    with pytest.raises(
        ClusterError, match=r"haproxy:3\.2 cannot be pulled .*timeout.*HAPROXY_IMAG"
    ):
        project.pull("haproxy:3.2")


def starter(lab: ComposeCluster, **engine: object) -> Any:
    from labkit.cluster.compose.starting import ComposeStarter

    facts = SimpleNamespace(memory_bytes=64 << 30, version="28", system="Linux")
    fake = {
        "containers": lambda project: {},
        "volumes": lambda project: {},
        "facts": lambda: facts,
        **engine,
    }
    file = lab.home / "compose" / "cockroachdb.yml"
    compose = project.Compose([], lab.settings.project, file, {})
    lab.__dict__["machine"] = Containers(SimpleNamespace(**fake), compose)  # type: ignore[arg-type]
    return ComposeStarter(**lab._parts_of(lab.settings))


def test_a_project_of_somebody_else_is_left_alone(home: Path) -> None:
    lab = ComposeCluster.create(home)
    for whose in ("another", ""):
        other = Container("1", "web", "running", "Up", whose)
        with pytest.raises(LabMismatch, match=r"down --volumes.*LABKIT_HOME"):
            starter(lab, containers=lambda project, other=other: {"web": other}).check(False)


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
    monkeypatch.setattr("labkit.cluster.cockroach.starting.SERVICE_TIMEOUT_S", 0.0)
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


def test_settings_of_another_format_are_refused(home: Path) -> None:
    home.mkdir()
    Settings(project="labkit", format=99).save(home)
    with pytest.raises(LabMismatch, match="state format 99"):
        Settings.load(home)
