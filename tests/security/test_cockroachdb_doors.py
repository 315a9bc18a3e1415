"""What CockroachDB's labs listen on: docs/security.md, held against labs that run."""

from __future__ import annotations

from http.client import HTTPConnection

import pytest
from engine.daemon import Engine
from listening import documented, kind, marked, sockets

from labkit.cluster.cockroach_binary.cluster import BinaryCluster
from labkit.cluster.compose.cluster import ComposeCluster
from labkit.cluster.compose.engine import PROJECT_LABEL

CockroachLab = ComposeCluster | BinaryCluster


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


@pytest.mark.docker
def test_containers_publish_what_is_in_the_table_on_this_machine_alone(
    containers: ComposeCluster, docker_engine: Engine
) -> None:
    purposes, found = dict(containers.layout.parts()), set()
    only = {"label": f"{PROJECT_LABEL}={containers.settings.project}"}
    for container in docker_engine.client().containers.list(filters=only):
        for places in container.attrs["NetworkSettings"]["Ports"].values():
            for place in places or ():
                assert place["HostIp"] == "127.0.0.1", container.name
                found.add(kind(purposes[int(place["HostPort"])], containers.topology))
    assert found == documented("CockroachDB") - {"WAN NAME", "run/REGION.sock"}
    only_reading_is_open(containers)


@pytest.mark.cluster
def test_processes_listen_on_what_is_in_the_table_alone(processes: BinaryCluster) -> None:
    names = {
        port: what if what == "WAN control" or not what.startswith("WAN ") else "WAN NAME"
        for port, what in processes.layout.parts()
    }
    pids = marked(processes.settings.lab_id)
    assert sockets(pids, names, processes.topology) == documented("CockroachDB")
    only_reading_is_open(processes)
