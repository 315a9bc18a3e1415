"""Half-dead labs, strays and interrupted commands on the real cluster."""

from __future__ import annotations

import json
import os
import signal

import psutil
import pytest
from secret_texts import secret_texts

from labkit.clock import wait_until
from labkit.cluster.engines.postgresql.layout import etcd_name, member_name
from labkit.cluster.processes import LAB_VARIABLE, alive, postgres_pids
from labkit.cluster.status import settled

pytestmark = pytest.mark.cluster


def logs(lab) -> str:
    return "".join(path.read_text(errors="replace") for path in lab.layout.logs.glob("*.log"))


def test_starting_a_running_lab_disturbs_no_process(lab):
    said = logs(lab)
    before = {name: lab.table.pid(name) for name in lab.table.records()}
    postmasters = [postgres_pids(lab.layout.data(node))[0] for node in lab.topology.nodes]
    for _ in range(3):
        lab.start()
    assert {name: lab.table.pid(name) for name in lab.table.records()} == before
    assert alive(postmasters) == postmasters
    assert "was terminated by signal" not in logs(lab)[len(said) :]


def test_every_process_of_a_lab_can_be_told_from_others(lab):
    for name, record in lab.table.records().items():
        environ = psutil.Process(record.pid).environ()
        assert environ.get(LAB_VARIABLE) == lab.settings.lab_id, name


def test_a_member_that_no_record_names_is_replaced(lab):
    node = lab.topology.node("us-east-1/2")
    stray = lab.table.pid(member_name(node))
    lab.table.forget(member_name(node))
    assert not lab.status().node(node.name).healthy
    lab.start()
    assert lab.table.pid(member_name(node)) not in (None, stray)
    assert alive([stray]) == []
    assert settled(lab.status, timeout_s=60).missing == ()


def test_half_a_lab_is_made_whole_again(lab):
    victims = [etcd_name("eu-west-1"), member_name(lab.topology.node("eu-west-1/3"))]
    for name in victims:
        os.kill(lab.table.pid(name), signal.SIGKILL)
    wait_until(lambda: not lab.status().healthy, what="damage seen", timeout_s=10)
    lab.start()
    assert settled(lab.status, timeout_s=60).missing == ()


def test_no_password_is_in_a_command_line_or_a_log(lab):
    secrets = [text.encode() for text in secret_texts(lab.secrets)]
    for pid in lab.pids():
        try:
            words = b" ".join(word.encode() for word in psutil.Process(pid).cmdline())
        except psutil.NoSuchProcess:
            continue
        assert not any(secret in words for secret in secrets)
    for path in lab.layout.logs.glob("*.log"):
        assert not any(secret in path.read_bytes() for secret in secrets), path.name


def test_everything_listens_on_loopback_only(lab):
    pids = set(lab.pids())
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.pid in pids and connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 50
    assert set(listening) == {"127.0.0.1"}


def test_no_traffic_between_regions_is_unplaced(lab):
    lab.hand_over(lab.leader())  # a leader asks those that could follow it how they are
    report = lab._wan.state()
    assert {(one.listener, one.reason) for one in report.refused} == set()
    placed = {one.kind for one in report.diallers}
    assert {"postgres", "http", "fixed", "etcd-peer"} <= placed, json.dumps(sorted(placed))
