"""What CockroachDB's labs listen on: docs/security.md, held against labs that run.

In the tests' own Docker Engine `cockroach` is the double of tests/engine. So these tests prove what
is labkit's: which ports are published and where, that every node is started with certificates, that
balancers and the WAN open nothing beside them, and that no file is another user's to read. They
prove nothing about what CockroachDB does with a certificate or a password, about the pages of its
DB Console (the double has health and metrics alone), or about its traffic between nodes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from engine.compose import STORE, write_override
from engine.daemon import Engine
from engine.standin import certs
from engine.standin.flags import Arguments
from intruder import TLS
from listening import documented, kind, marked, sockets
from ports import PORT_BASE

from labkit.cluster.engines.cockroachdb.containers.cluster import ComposeCluster
from labkit.cluster.engines.cockroachdb.containers.layout import STATISTICS, WAN_CONTROL
from labkit.cluster.engines.cockroachdb.layout import balancer_service, node_service
from labkit.cluster.engines.cockroachdb.processes.cluster import BinaryCluster
from labkit.cluster.engines.cockroachdb.program import HTTP_PORT, SQL_PORT
from labkit.cluster.layout import WAN
from labkit.cluster.machines.docker import PROJECT_LABEL
from labkit.topology import DEFAULT

CockroachLab = ComposeCluster | BinaryCluster
Place = tuple[str, int]
INTRUDER = Path(__file__).with_name("intruder.py")
STRANGER = 65534
"""`nobody`: other programs of the machine run as this user, too."""
AS_ROOT = os.geteuid() == 0
TO_EVERYBODY = {"/health", "/_status/vars"}
"""What a DB Console tells without a login."""
WITHOUT = [{}, *({"password": one} for one in ("wrong", "root", "trader"))]
"""No password, and wrong ones."""
SPEAKS_SQL = {"NODE SQL", "lb:REGION", "lb:REGION from REGION"}


def answer(port: int, method: str, path: str, **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, "{}" if method == "POST" else None, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def only_reading_is_open(lab: CockroachLab) -> None:
    """Links change by token, statistics not at all, whatever page asks by whatever name."""
    page = {"Host": "intruder.example", "Origin": "http://intruder.example"}
    control, links = lab.layout.wan_control, lab.status().links
    for token in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"}):
        assert answer(control, "GET", "/links", **page, **token) == 401
        for order in ("/links", "/reset", "/listeners"):
            assert answer(control, "POST", order, **page, **token) == 401
    assert lab.status().links == links
    for region in lab.topology.region_names:
        assert answer(lab.layout.statistics(region), "POST", "/;csv", **page) == 403


# containers


@pytest.fixture(scope="module")
def secured(docker_engine: Engine) -> Iterator[ComposeCluster]:
    """A small lab in containers with --secure: a node in each region has every kind of port."""
    parent = Path(tempfile.mkdtemp(prefix="labkit-"))
    regions = [one.model_copy(update={"nodes": 1}) for one in DEFAULT.regions]
    shape = DEFAULT.model_copy(update={"regions": tuple(regions)})
    lab = ComposeCluster.create(
        parent / "lab", topology=shape, port_base=PORT_BASE + 2400, secure=True
    )
    if docker_engine.standin:
        write_override(lab)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()
        lab.purge()
        rmtree(parent)


@pytest.fixture(params=["containers", "secured"])
def in_containers(request: pytest.FixtureRequest) -> ComposeCluster:
    lab: ComposeCluster = request.getfixturevalue(request.param)
    return lab


def running(lab: ComposeCluster, engine: Engine) -> Iterator[tuple[str, Any]]:
    """Each container of a lab with its service; the double's database is none of the lab's."""
    only = {"label": f"{PROJECT_LABEL}={lab.settings.project}"}
    for container in engine.client().containers.list(filters=only):
        service = container.labels["com.docker.compose.service"]
        if service != STORE:
            yield service, container


def inside(lab: ComposeCluster) -> dict[tuple[str, int], str]:
    """What each port of each service is for, as containers see it."""
    layout = lab.layout
    found = {(WAN, WAN_CONTROL): "WAN control"}
    found |= {(WAN, one.port): "WAN NAME" for one in layout.all_listeners()}
    found |= {
        (WAN, layout.balancer_way(source, region)[0]): "lb:REGION from REGION"
        for source, region in layout.ways
    }
    for region in lab.topology.region_names:
        found[balancer_service(region), SQL_PORT] = "lb:REGION"
        found[balancer_service(region), STATISTICS] = "lb:REGION statistics"
    for node in lab.topology.nodes:
        found[node_service(node), SQL_PORT] = "NODE SQL"
        found[node_service(node), HTTP_PORT] = "NODE DB Console"
    return found


def listened_on(pid: int) -> set[int]:
    """The ports on which anything listens for more than itself, in the network of a process."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            itself = len(address) == 8 and address.endswith("7F")  # 127/8: Docker's name server
            if line.split()[3] == "0A" and not itself:
                found.add(int(port, 16))
    return found


@pytest.mark.docker
def test_containers_publish_what_is_in_the_table_on_this_machine_alone(
    in_containers: ComposeCluster, docker_engine: Engine
) -> None:
    purposes, found = dict(in_containers.layout.parts()), set()
    for _, container in running(in_containers, docker_engine):
        for places in container.attrs["NetworkSettings"]["Ports"].values():
            for place in places or ():
                assert place["HostIp"] == "127.0.0.1", container.name
                found.add(kind(purposes[int(place["HostPort"])], in_containers.topology))
    assert found == documented("CockroachDB") - {"WAN NAME", "run/REGION.sock"}
    only_reading_is_open(in_containers)


def reachable(lab: ComposeCluster, engine: Engine) -> list[tuple[Place, str]]:
    """Every place at which a program of this machine can dial a lab, and its kind.

    Besides the published ports those are the containers' own addresses, which Docker's networks
    lead to from the machine that they are on. What is for nothing in the lab fails the test.
    """
    found = [(("127.0.0.1", port), kind(what, lab.topology)) for port, what in lab.layout.parts()]
    known = inside(lab)
    for service, container in running(lab, engine):
        for port in listened_on(container.attrs["State"]["Pid"]):
            networks = container.attrs["NetworkSettings"]["Networks"].values()
            found += [((one["IPAddress"], port), known[service, port]) for one in networks]
    assert {what for _, what in found} == documented("CockroachDB") - {"run/REGION.sock"}
    return found


def of(places: list[tuple[Place, str]], *kinds: str) -> list[Place]:
    return [place for place, what in places if what in kinds]


def intrusion(what: dict[str, Any]) -> dict[str, list[str]]:
    """What another user got into, or whoever these tests run as where that is not root."""
    done = subprocess.run(
        [sys.executable, INTRUDER, str(STRANGER if AS_ROOT else os.geteuid())],
        input=json.dumps(what), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture
def foreign() -> Iterator[tuple[Path, Path]]:
    """A certificate for root, and its key, from another authority of the same name."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-foreign-"))
    common = {"--certs-dir": [str(folder)], "--ca-key": [str(folder / "ca.key")]}
    certs.run(Arguments("cert create-ca", common, ()))
    certs.run(Arguments("cert create-client", common, ("root",)))
    made = folder / "client.root.crt", folder / "client.root.key"
    if AS_ROOT:  # libpq takes a key of its user's alone
        for path in (folder, *made):
            os.chown(path, STRANGER, STRANGER)
    yield made
    rmtree(folder)


CONSOLE = [
    (method, path)
    for method, *paths in (
        line.split()
        for line in """
            GET / /health /health?ready=1 /_status/vars /_status/nodes /_status/sessions
            GET /_status/statements /_status/logfiles/local /_status/certificates/local
            GET /_status/files/local?list_only=1&patterns=* /_status/stacks/local /_admin/v1/users
            GET /_admin/v1/databases /_admin/v1/settings /_admin/v1/events /api/v2/nodes/ /debug/
            POST /login /api/v2/login/ /api/v2/sql/ /ts/query /_admin/v1/enqueue_range
            POST /_admin/v1/uidata /_status/cancel_session/local
        """.strip().splitlines()
    )
    for path in paths
]


@pytest.mark.docker
@pytest.mark.skipif(not AS_ROOT, reason="only root sees what listens in containers")
def test_with_secure_nobody_gets_in_without_a_credential_or_with_a_wrong_one(
    secured: ComposeCluster, docker_engine: Engine, foreign: tuple[Path, Path]
) -> None:
    places = reachable(secured, docker_engine)
    certificate = {"sslcert": str(foreign[0]), "sslkey": str(foreign[1])}
    ways = [{"sslmode": mode, **one} for mode in ("disable", "require") for one in WITHOUT]
    links = secured.status().links
    found = intrusion(
        {
            "http": {
                "tries": [
                    {
                        "ports": of(places, "NODE DB Console"),
                        "requests": CONSOLE,
                        "schemes": ["http", *TLS],
                        "credentials": ["", "Basic cm9vdDo="],
                    },
                    {
                        "ports": of(places, "WAN NAME", "WAN control", *SPEAKS_SQL),
                        "requests": [("POST", "/links")],
                        "schemes": ["http", *TLS],
                        "credentials": [""],
                    },
                ],
                "region": "",
                "certificate": [str(path) for path in foreign],
            },
            "sql": [
                {
                    "ports": of(places, "WAN NAME", *SPEAKS_SQL),
                    "users": ["root", "trader", "node"],
                    "databases": ["defaultdb"],
                    "ways": [*ways, {"sslmode": "require", **certificate}],
                }
            ],
            "files": {
                "paths": [str(path) for path in (secured.home, *secured.home.rglob("*"))],
                "pids": [
                    int(pid)
                    for _, container in running(secured, docker_engine)
                    for _, pid, *_ in container.top()["Processes"]
                ],
            },
        }
    )
    assert found["sql"] == []
    assert found["files"] == []
    # 404 is the double's word for a page that it does not have
    opened = [one for one in found["http"] if one[4] != 404]
    assert {path.partition("?")[0] for _, _, path, *_ in opened} == TO_EVERYBODY, opened
    assert secured.status().links == links


@pytest.mark.docker
@pytest.mark.skipif(not AS_ROOT, reason="only root sees what listens in containers")
def test_without_secure_everybody_gets_in_as_root_where_sql_is_spoken(
    containers: ComposeCluster, docker_engine: Engine
) -> None:
    places = of(reachable(containers, docker_engine), *SPEAKS_SQL)
    one = {
        "ports": places,
        "users": ["root"],
        "databases": ["defaultdb"],
        "ways": [{"sslmode": "disable"}],
    }
    assert len(intrusion({"sql": [one]})["sql"]) == len(places)


# processes


@pytest.mark.cluster
def test_processes_listen_on_what_is_in_the_table_alone(processes: BinaryCluster) -> None:
    names = {
        port: what if what == "WAN control" or not what.startswith("WAN ") else "WAN NAME"
        for port, what in processes.layout.parts()
    }
    pids = marked(processes.settings.lab_id)
    assert sockets(pids, names, processes.topology) == documented("CockroachDB")
    only_reading_is_open(processes)
