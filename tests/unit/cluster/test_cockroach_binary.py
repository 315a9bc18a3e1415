"""CockroachDB as processes: what each is started with, and what is refused; nothing is started."""

from __future__ import annotations

import os
import re
from itertools import combinations
from pathlib import Path

import pytest

import labkit.cluster
from labkit.cluster.engines.cockroachdb import haproxy, program
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.cockroachdb.processes.layout import ProcessLayout
from labkit.cluster.identity import Identity
from labkit.cluster.layout import WAN
from labkit.cluster.ports import require_distinct
from labkit.errors import LabMismatch, MissingBinary
from labkit.topology import DEFAULT, Node, Topology

ORACLE = Path(os.environ.get("LABKIT_CRDB_GRAMMAR", Path(__file__).parents[4] / "shared" / "crdb"))
NEW = Node(region="us-east-1", index=4)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    return tmp_path / "lab"


@pytest.fixture
def cockroach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something of that name on PATH."""
    path = tmp_path / "bin" / "cockroach"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("labkit.cluster.machines.reach.placed", lambda program, *_: program)
    return path


def flags(command: list[str | Path], name: str) -> str:
    (found,) = [str(a) for a in command if str(a).startswith(f"--{name}=")]
    return found.partition("=")[2]


def test_a_lab_is_found_again_as_it_was_made(home: Path) -> None:
    labkit.cluster.create("cockroach-binary", secure=True, port_base=30000)
    found = labkit.cluster.attach()
    assert isinstance(found, BinaryCluster)
    assert (found.settings.secure, found.settings.port_base) == (True, 30000)
    (home / "processes").mkdir()  # it was started
    with pytest.raises(LabMismatch, match="cockroach-binary backend"):
        labkit.cluster.create("cockroachdb")
    with pytest.raises(LabMismatch, match="differs in its secure"):
        labkit.cluster.create(secure=False)


def test_without_a_program_the_next_step_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(Identity, "current", lambda: Identity(0, 0))
    lab = labkit.cluster.create("cockroach-binary", port_base=30000)
    with pytest.raises(MissingBinary, match=r"no cockroach program on PATH.*--backend cockroachdb"):
        lab.start()
    assert lab.status().node("us-west-2/1").detail == "down"


def test_every_process_listens_on_loopback_and_its_flags_are_documented(
    home: Path, cockroach: Path
) -> None:
    lab = BinaryCluster.create(home, port_base=30000)
    documented = ORACLE / "start_flags.txt"
    known = set(re.findall(r"--[a-z-]+", documented.read_text())) if documented.exists() else None
    ports = set()
    for node in lab.topology.nodes:
        command = lab.machine.command(node_service(node)).argv
        assert command[0] == cockroach
        for name in ("listen-addr", "http-addr", "advertise-addr"):
            host, port = flags(command, name).split(":")
            assert host == "127.0.0.1"
            ports.add(int(port))
        if known is not None:
            assert {str(a).split("=")[0] for a in command[2:]} <= known
    assert len(ports) == 2 * 9
    assert ports <= lab.layout.ports().keys()
    assert all(30000 <= port < 31000 for port in lab.layout.ports())


def test_no_secret_is_on_a_command_line(home: Path, cockroach: Path) -> None:
    lab = BinaryCluster.create(home, port_base=30000)
    words = " ".join(
        str(word) for service in lab.layout.services for word in lab.machine.command(service).argv
    )
    assert WAN in lab.layout.services
    assert balancer_service("us-west-2") in words
    assert not any(secret in words for secret in lab.secrets.model_dump().values())


def test_regions_dial_each_other_through_the_wan_only() -> None:
    layout = ProcessLayout(DEFAULT, wan=True, secure=False, port_base=30000)
    ways = {one.port: one for one in layout.wan_plan("x" * 16, control_port=1, host="h").listeners}
    for node in DEFAULT.nodes:
        for region, place in layout.elsewhere(node).items():
            way = ways[int(place.split(":")[1])]
            assert (way.source, way.to_port) == (region, layout.sql(node))
    assert len(ways) == 2 * 9 * 2 + 6  # SQL and health of the nodes, and the balancers


# nodes that come and go


@pytest.mark.parametrize("kind", [ComposeLayout, ProcessLayout])
def test_a_node_that_comes_moves_no_port_of_the_others(
    kind: type[ComposeLayout | ProcessLayout], home: Path
) -> None:
    lab = BinaryCluster.create(home, port_base=30000)
    after = lab.settings.with_topology(DEFAULT.with_node("us-west-2")[0])
    before = kind(DEFAULT, True, False, 30000, lab.settings.numbered())
    layout = kind(after.topology, True, False, 30000, after.numbered())
    assert before.ports().items() <= layout.ports().items()
    for node in DEFAULT.nodes:
        assert before.listeners(node) == layout.listeners(node)
    gone = after.with_topology(after.topology.without_node(DEFAULT.nodes[0]))
    assert gone.with_topology(after.topology).numbered() == after.numbered()


@pytest.mark.parametrize("kind", [ComposeLayout, ProcessLayout])
@pytest.mark.parametrize("regions", [3, 9])
def test_a_lab_may_grow_to_its_largest_shape_and_no_port_moves(
    kind: type[ComposeLayout | ProcessLayout], regions: int, home: Path
) -> None:
    names = [f"r{number}" for number in range(regions)]
    links = [{"between": pair, "rtt_ms": 5} for pair in combinations(names, 2)]
    settings = BinaryCluster.create(
        home,
        topology=Topology.model_validate({"region": [{"name": n} for n in names], "link": links}),
    ).settings
    before: dict[str, int] = {}
    for name in names:
        for _ in range(6):
            settings = settings.with_topology(settings.topology.with_node(name)[0])
            layout = kind(settings.topology, True, False, None, settings.numbered())
            require_distinct(layout.parts())
            after = {what: port for port, what in layout.parts()}
            assert before.items() <= after.items()
            before = after


def test_commands_about_nodes_have_documented_flags() -> None:
    if not ORACLE.exists():
        pytest.skip(f"no flag lists in {ORACLE}: set LABKIT_CRDB_GRAMMAR")
    rows = [line.split("\t") for line in (ORACLE / "node_flags.txt").read_text().splitlines()]
    known = {row[0].split(",")[0]: row[1].split(",") for row in rows if len(row) == 3}
    for command in (
        program.node_status("h:1", None),
        program.decommission(4, "h:1", "/certs"),
        program.decommission(4, "h:1", None, wait=False),
        program.recommission(4, "h:1", None),
    ):
        for word in command:
            if word.startswith("--"):
                commands = known[word.split("=")[0]]
                assert "all" in commands or command[1] in commands, word


def test_the_id_of_a_node_is_that_of_its_last_life() -> None:
    said = (
        "id\taddress\tlocality\tis_live\n"
        "1\ta:1\tregion=us-east-1,zone=us-east-1a\ttrue\n"
        "10\tb:1\tregion=us-east-1,zone=us-east-1d\tfalse\n"
        "11\tb:1\tregion=us-east-1,zone=us-east-1d\ttrue\n"
    )
    assert program.node_id(said, program.locality(NEW)) == 11
    assert program.node_id(said, program.locality(Node(region="us-east-1", index=2))) is None


def test_a_server_that_is_added_has_the_line_that_the_configuration_has() -> None:
    layout = ProcessLayout(DEFAULT, wan=True, secure=True, port_base=30000)
    servers = layout.servers("us-west-2")
    lines = haproxy.server_lines(servers, secure=True)
    text = haproxy.configuration(
        servers, sql_bind=":1", statistics_bind=":2", resolver=None, secure=True
    )
    for region, nodes in lines.items():
        block = text.split(f"\nbackend {region}\n")[1].split("\n\n")[0]
        (default,) = re.findall(r"default-server (.*)", block)
        for name, line in nodes.items():
            assert f"  server {name} {line.removesuffix(default).strip()}" in block.splitlines()
            assert line.endswith(default)
