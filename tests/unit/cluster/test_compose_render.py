"""What Compose, HAProxy and the WAN are given."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labkit.cluster.engines.cockroachdb import statements
from labkit.cluster.engines.cockroachdb.containers import render
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.cluster.engines.cockroachdb.containers.standalone import rendered
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.machines import programs
from labkit.topology import DEFAULT, Node, Topology
from labkit.wan.plan import Plan

REPOSITORY = Path(__file__).parents[3]
COMPOSE = REPOSITORY / "compose"
SHAPES = {
    "wan": ComposeLayout(DEFAULT, wan=True, secure=False),
    "plain": ComposeLayout(DEFAULT, wan=False, secure=False),
    "secure": ComposeLayout(DEFAULT, wan=True, secure=True, port_base=30000),
    "one region": ComposeLayout(
        Topology.model_validate({"region": [{"name": "home", "nodes": 3}], "survive": "zone"}),
        wan=True,
        secure=False,
    ),
}
ORACLE = Path(os.environ.get("LABKIT_CRDB_GRAMMAR", REPOSITORY.parent / "shared" / "crdb"))


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def layout(request: pytest.FixtureRequest) -> ComposeLayout:
    chosen: ComposeLayout = request.param
    return chosen


def project(layout: ComposeLayout) -> render.Project:
    return render.Project(layout, "labkit", "some-lab", "/opt/labkit")


def services(layout: ComposeLayout) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render.files(project(layout))[render.COMPOSE_FILE])
    return dict(found["services"])


def flag(service: dict[str, Any], name: str) -> str:
    found = [a.removeprefix(f"--{name}=") for a in service["command"] if a.startswith(f"--{name}=")]
    assert len(found) == 1, f"--{name} in {service['command']}"
    return str(found[0])


def test_the_checked_in_folder_is_what_render_writes() -> None:
    files = rendered(SHAPES["wan"], COMPOSE)
    assert len(files) == 5
    for name, text in files.items():
        assert (COMPOSE / name).read_text() == text, f"{name} is stale: labkit compose render"


def test_every_published_port_is_on_loopback_and_used_once(layout: ComposeLayout) -> None:
    published = [port for one in services(layout).values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    numbers = [int(port.split(":")[1]) for port in published]
    assert sorted(numbers) == sorted(layout.ports())


def test_the_usual_ports_are_those_of_the_original_demo() -> None:
    layout, nodes = SHAPES["wan"], DEFAULT.nodes
    assert [layout.sql(node) for node in nodes] == list(range(26257, 26266))
    assert [layout.console(node) for node in nodes] == list(range(8080, 8089))
    assert [layout.balancer(region) for region in DEFAULT.region_names] == [26276, 26277, 26278]


def test_ports_stay_apart_in_the_largest_shape() -> None:
    regions = [f"r{i}" for i in range(9)]
    links = [
        {"between": (a, b), "rtt_ms": 10} for i, a in enumerate(regions) for b in regions[i + 1 :]
    ]
    shape = Topology.model_validate(
        {"region": [{"name": name, "nodes": 9} for name in regions], "link": links}
    )
    for port_base in (None, 30000):
        layout = ComposeLayout(shape, wan=True, secure=False, port_base=port_base)
        assert len(layout.ports()) == 81 * 2 + 9 * 2 + 9 * 8 + 1
        render.wan_plan(layout, "x" * 16)  # refuses a port that is used twice


def test_only_the_wan_stands_in_more_than_one_network() -> None:
    found = services(SHAPES["wan"])
    for name, service in found.items():
        wanted = 3 if name == "wan" else 1
        assert len(service["networks"]) == wanted, name
        assert "network_mode" not in service
    for node in DEFAULT.nodes:
        assert found[node_service(node)]["networks"] == [node.region]


def test_no_address_that_leads_out_of_a_region_is_given_to_it_but_the_wans() -> None:
    layout, found = SHAPES["wan"], services(SHAPES["wan"])
    for node in DEFAULT.nodes:
        here = {node_service(near) for near in DEFAULT.nodes_of(node.region)} | {"wan"}
        hosts = {part.split(":")[0] for part in flag(found[node_service(node)], "join").split(",")}
        assert hosts <= here
        assert "wan" in hosts
    for region in DEFAULT.region_names:
        text = render.haproxy_configuration(layout, region)
        hosts = set(re.findall(r"^  server \S+ ([^:\s]+):", text, re.MULTILINE))
        near = {node_service(node) for node in DEFAULT.nodes_of(region)}
        assert hosts == near | {"wan"}


def test_the_address_told_to_a_region_is_the_wans_listener_for_that_region_and_node() -> None:
    layout, found = SHAPES["wan"], services(SHAPES["wan"])
    listeners = {one.port: one for one in render.wan_plan(layout, "x" * 16).listeners}
    told = 0
    for node in DEFAULT.nodes:
        entries = flag(found[node_service(node)], "locality-advertise-addr").split(",")
        for entry in entries:
            dialler, _, address = entry.removeprefix("region=").partition("@")
            listener = listeners[int(address.removeprefix("wan:"))]
            assert (listener.source, listener.to_host) == (dialler, node_service(node))
            assert (listener.region, listener.to_port) == (node.region, 26257)
            told += 1
    assert told == 9 * 2


def test_without_a_wan_there_is_one_network_and_nothing_is_told_otherwise() -> None:
    found = services(SHAPES["plain"])
    assert "wan" not in found
    assert {tuple(service["networks"]) for service in found.values()} == {("lab",)}
    text = render.files(project(SHAPES["plain"]))[render.COMPOSE_FILE]
    assert "locality-advertise-addr" not in text
    assert "wan" not in text.replace("no WAN", "")


def test_init_goes_to_a_node_on_every_join_list() -> None:
    layout, found = SHAPES["wan"], services(SHAPES["wan"])
    first = DEFAULT.nodes[0]
    assert f"--host={node_service(first)}:26257" in found["init"]["entrypoint"][-1]
    for node in DEFAULT.nodes:
        host, port = layout.sql_from(node.region, first)
        assert f"{host}:{port}" in flag(found[node_service(node)], "join").split(",")


def test_a_balancer_uses_its_region_first_and_the_nearest_next() -> None:
    text = render.haproxy_configuration(SHAPES["wan"], "us-west-2")
    order = re.findall(r"(?:use_backend|default_backend) (\S+)", text)
    assert order == ["us-west-2", "us-east-1", "eu-west-1"]
    assert text.count("on-marked-down shutdown-sessions") == 3
    assert text.count("GET /health?ready=1") == 3


def test_haproxy_accepts_every_configuration(layout: ComposeLayout, tmp_path: Path) -> None:
    program = programs.haproxy().path
    rendered = render.files(project(layout))
    checks = []
    # each asks for names that DNS lacks here: ask once, for a second, and all at once
    resolver = {**os.environ, "RES_OPTIONS": "timeout:1 attempts:1"}
    for region in layout.topology.region_names:
        file = tmp_path / f"{balancer_service(region)}.cfg"
        file.write_text(rendered[file.name])
        command = [program, "-c", "-f", str(file)]
        checks.append(subprocess.Popen(command, env=resolver, stderr=subprocess.PIPE))
    for check in checks:
        said = check.communicate()[1].decode()
        assert check.returncode == 0, said
        assert "WARNING" not in said


def test_the_wans_plan_is_whole_without_its_token_and_runs_with_one(tmp_path: Path) -> None:
    file = tmp_path / render.WAN_FILE
    file.write_text(render.files(project(SHAPES["wan"]))[render.WAN_FILE])
    assert "token" not in json.loads(file.read_text())
    plan = Plan.load(file, "0123456789abcdef")
    assert plan.token == "0123456789abcdef"
    assert plan.links["us-west-2", "us-east-1"].delay_ms == DEFAULT.one_way_ms(
        "us-west-2", "us-east-1"
    )


def test_secure_nodes_have_certificates_that_name_whatever_is_dialled() -> None:
    found = services(SHAPES["secure"])
    script = found["certificates"]["entrypoint"][-1]
    names = re.search(r"create-node (.*?) --", script)
    assert names
    assert set(names[1].split()) == {
        "localhost",
        "127.0.0.1",
        "wan",
        *(
            node_service(Node(region=r, index=i))
            for r in DEFAULT.region_names
            for i in range(1, 10)
        ),
        *(balancer_service(region) for region in DEFAULT.region_names),
    }
    text = render.files(project(SHAPES["secure"]))[render.COMPOSE_FILE]
    assert "--insecure" not in text
    users = [name for name, one in found.items() if any("authority:" in v for v in one["volumes"])]
    assert users == ["certificates"]


def test_a_node_is_limited_watched_gently_and_given_time_to_drain(layout: ComposeLayout) -> None:
    for node in layout.topology.nodes:
        service = services(layout)[node_service(node)]
        assert service["mem_limit"] == "1g"
        assert service["healthcheck"]["interval"] == "5s"
        assert service["stop_grace_period"] == "60s"
        assert flag(service, "locality") == f"region={node.region},zone={node.zone}"


def documented(command: str) -> set[str]:
    file = ORACLE / f"{command}_flags.txt"
    if not file.exists():
        pytest.skip(f"no flag lists in {ORACLE}: set LABKIT_CRDB_GRAMMAR")
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return {line.split("\t")[0].split(",")[0] for line in lines}


def test_every_flag_of_start_is_documented(layout: ComposeLayout) -> None:
    known = documented("start")
    for node in layout.topology.nodes:
        command, *flags = services(layout)[node_service(node)]["command"]
        assert command == "start"
        assert flags
        assert {one.split("=")[0] for one in flags} <= known


def test_every_flag_of_init_and_cert_is_documented() -> None:
    for command, name in (("init", "init"), ("cert", "certificates")):
        script = services(SHAPES["secure"])[name]["entrypoint"][-1]
        used = set(re.findall(r"--[a-z-]+", script))
        assert used
        assert used <= documented(command)


def test_every_statement_of_the_backend_is_in_the_grammar(tmp_path: Path) -> None:
    if not (ORACLE / "check.py").exists():
        pytest.skip(f"no grammar in {ORACLE}: set LABKIT_CRDB_GRAMMAR")
    file = tmp_path / "statements.sql"
    file.write_text(";\n".join(statements.examples()) + ";\n")
    done = subprocess.run(
        [sys.executable, ORACLE / "check.py", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ok:") == len(statements.examples())
