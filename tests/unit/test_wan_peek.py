"""Who dials: named by the first bytes, or refused."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wan_lab import EAST, EU, QUIET_S, REGIONS, WEST, Rig, listener, make_plan, receive, rig, silent

from labkit.clock import wait_until
from labkit.wan import front
from labkit.wan.peek import (
    EtcdPeerWatch,
    From,
    Refuse,
    Reply,
    peek_etcd_peer,
    peek_http,
    peek_postgres,
)
from labkit.wan.plan import Kind, LinkSettings
from labkit.wan.state import DiallerCount, RefusedCount

NAMES = {"us-west-2/1": WEST, "us-east-1/1": EAST}
MEMBERS = {"8e9e05c52164694d": WEST, "1234": EU}


def startup(**parameters: str) -> bytes:
    text = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items()) + b"\0"
    return struct.pack("!II", 8 + len(text), 3 << 16) + text


SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
CANCEL_REQUEST = struct.pack("!IIII", 16, 80877102, 4711, 42)
MEMBER = startup(user="replicator", application_name="us-west-2/1", replication="true")


def request(path: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (startup(user="app", application_name="psql"), "unknown application_name"),
        (startup(user="app", application_name=""), "unknown application_name"),
        (startup(user="app"), "no application_name"),
        (CANCEL_REQUEST, "a cancel request names nobody"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a PostgreSQL startup packet"),
        (struct.pack("!II", 20_000, 3 << 16), "not a PostgreSQL startup packet"),
        (struct.pack("!II", 8, 3 << 16), "not a PostgreSQL startup packet"),
        (struct.pack("!II", 100, 2 << 16), "not a PostgreSQL startup packet"),
    ],
)
def test_a_postgres_dialler_without_a_members_name_is_refused(first: bytes, reason: str) -> None:
    finding = peek_postgres(first, NAMES)
    assert isinstance(finding, Refuse)
    assert finding.reason == reason


@pytest.mark.parametrize("encryption", [SSL_REQUEST, GSSENC_REQUEST])
def test_encryption_is_declined(encryption: bytes) -> None:
    assert peek_postgres(encryption + MEMBER, NAMES) == Reply(b"N", consumed=8)


@given(extra=st.binary(max_size=40))
@example(extra=b"x\0application_name\0psql\0")
def test_a_postgres_dialler_is_named_by_a_whole_startup_packet_only(extra: bytes) -> None:
    for end in range(len(MEMBER)):
        assert peek_postgres(MEMBER[:end], NAMES) is None
    assert peek_postgres(MEMBER + extra, NAMES) == From(WEST)


@given(first=st.binary(max_size=200))
def test_noise_is_never_taken_for_somebody(first: bytes) -> None:
    assert not isinstance(peek_postgres(first, NAMES), From)
    assert not isinstance(peek_http(first, REGIONS), From)
    assert not isinstance(peek_etcd_peer(first, MEMBERS), Reply)


@pytest.mark.parametrize(
    ("first", "finding"),
    [
        (request("/patroni", X_Region=WEST), From(WEST)),
        (request("/patroni", x_region=f"  {WEST} "), From(WEST)),
        (request("/patroni", X_Region=WEST)[:-1], None),
        (b"", None),
        (request("/patroni"), Refuse("no X-Region header", "GET /patroni HTTP/1.1")),
        (request("/", X_Region="mars"), Refuse("unknown region in X-Region", "'mars'")),
        (b"\x16\x03\x01", Refuse("not an HTTP request", "160301")),
    ],
)
def test_an_http_dialler_is_named_by_its_region_header(first: bytes, finding: object) -> None:
    assert peek_http(first, REGIONS) == finding


def test_an_http_request_without_end_is_refused() -> None:
    finding = peek_http(b"GET /" + b"x" * 20_000, REGIONS)
    assert isinstance(finding, Refuse)
    assert finding.reason == "an HTTP request without end"


@pytest.mark.parametrize(
    ("first", "finding"),
    [
        (request("/raft", X_Server_From="1234"), From(EU)),
        (request("/version"), From(None)),
        (request("/raft", X_Server_From="9999"), Refuse("unknown etcd member", "'9999'")),
    ],
)
def test_an_etcd_peer_is_named_by_its_member_id_or_not_yet(first: bytes, finding: object) -> None:
    assert peek_etcd_peer(first, MEMBERS) == finding


@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_an_etcd_peer_is_named_later_however_its_bytes_are_split(cuts: list[int]) -> None:
    stream = request("/version") + request("/raft", X_Server_From="8e9e05c52164694d")
    watch = EtcdPeerWatch(MEMBERS)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    findings = [watch.feed(stream[a:b]) for a, b in pairwise(edges)]
    assert From(WEST) in findings


@pytest.fixture
def net() -> Iterator[Rig]:
    with rig() as made:
        yield made


def start(net: Rig, kind: Kind, **settings: object) -> None:
    net.start(
        make_plan(
            listener(kind, net.service.port),
            settings=LinkSettings(**settings),
            names=NAMES,
            etcd_members=MEMBERS,
        )
    )


def test_a_member_that_asks_for_encryption_gets_through_byte_by_byte(net: Rig) -> None:
    start(net, Kind.POSTGRES)
    client = net.dial()
    for packet in (GSSENC_REQUEST, SSL_REQUEST):
        for i in range(len(packet)):
            client.sendall(packet[i : i + 1])
        assert receive(client, 1) == b"N"
    for i in range(len(MEMBER)):
        client.sendall(MEMBER[i : i + 1])
    assert receive(net.accept(), len(MEMBER)) == MEMBER
    assert net.wan.state().diallers == (DiallerCount("postgres", WEST, EAST, 1),)


def test_a_stranger_is_hung_up_on_counted_and_logged_once(
    net: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    start(net, Kind.POSTGRES)
    caplog.set_level(logging.WARNING, logger="labkit.wan")
    for _ in range(3):
        client = net.dial()
        client.sendall(startup(user="app", application_name="psql"))
        assert client.recv(1) == b""
    with pytest.raises(TimeoutError):
        net.accept(timeout_s=QUIET_S)
    assert net.wan.state().refused == (
        RefusedCount("us-east-1 postgres", "unknown application_name", 3),
    )
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "us-east-1 postgres" in messages[0]
    assert "'psql'" in messages[0]


def test_a_dialler_that_says_nothing_is_hung_up_on(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "PEEK_TIMEOUT_S", 0.05)
    start(net, Kind.HTTP)
    assert net.dial().recv(1) == b""
    assert net.wan.state().refused[0].reason == "did not say who it is"


def test_an_etcd_peer_may_dial_ahead_and_speak_later(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "PEEK_TIMEOUT_S", 0.05)
    start(net, Kind.ETCD_PEER)
    client = net.dial()
    assert silent(client)
    client.sendall(request("/raft", X_Server_From="1234"))
    assert receive(net.accept(), 9) == b"GET /raft"
    assert net.wan.state().refused == ()


def test_an_etcd_peer_that_begins_a_request_and_falls_silent_is_hung_up_on(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "PEEK_TIMEOUT_S", 0.05)
    start(net, Kind.ETCD_PEER)
    client = net.dial()
    client.sendall(b"GET /raft")
    assert client.recv(1) == b""
    assert net.wan.state().refused[0].reason == "did not say who it is"


def test_a_dialler_that_is_named_in_time_is_not_hung_up_on(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "PEEK_TIMEOUT_S", 0.05)
    start(net, Kind.HTTP)
    client = net.dial()
    client.sendall(request("/", X_Region=WEST))
    server = net.accept()
    receive(server, len(request("/", X_Region=WEST)))
    assert silent(client)


def test_an_http_dialler_takes_its_own_regions_link(net: Rig) -> None:
    start(net, Kind.HTTP)
    net.wan.change([{"source": WEST, "target": EAST, "cut": True}])
    west, eu = net.dial(), net.dial()
    west.sendall(request("/west", X_Region=WEST))
    eu.sendall(request("/eu", X_Region=EU))
    assert receive(net.accept(), 7) == b"GET /eu"
    with pytest.raises(TimeoutError):
        net.accept(timeout_s=QUIET_S)


def test_an_etcd_peer_without_a_name_is_held_only_while_its_target_is_cut_off(net: Rig) -> None:
    start(net, Kind.ETCD_PEER, delay_ms=60_000)
    into = [{"source": WEST, "target": EAST}, {"source": EU, "target": EAST}]
    net.wan.change([{**into[0], "cut": True}])
    net.dial().sendall(request("/version"))
    server = net.accept()
    assert receive(server, len(request("/version"))) == request("/version")
    net.wan.change([{**into[1], "cut": True}])
    net.dial().sendall(request("/members"))
    with pytest.raises(TimeoutError):
        net.accept(timeout_s=QUIET_S)
    net.wan.change([{**into[0], "cut": False}])
    assert receive(net.accept(), 12) == b"GET /members"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_an_etcd_peer_that_says_no_name_is_known_by_its_process(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would renew the lease of a primary that can hear but not speak."""
    start(net, Kind.ETCD_PEER)
    net.wan.change([{"source": WEST, "target": EAST, "cut": True}])
    dial = (
        "import socket, sys\n"
        f"peer = socket.create_connection(('127.0.0.1', {net.port}))\n"
        f"peer.sendall({request('/leases')!r})\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setattr(front, "ETCD", Path(sys.executable).name)
    etcd = [sys.executable, "-c", dial, f"--name={WEST}", "--data-dir=/nowhere"]
    with subprocess.Popen(etcd, stdin=subprocess.PIPE) as peer:
        wait_until(lambda: net.wan.state().diallers, what="dialler", timeout_s=10)
        assert set(net.wan.state().diallers) == {DiallerCount("etcd-peer", WEST, EAST, 1)}
        with pytest.raises(TimeoutError):
            net.accept(timeout_s=QUIET_S)
        net.wan.change([{"source": WEST, "target": EAST, "cut": False}])
        assert receive(net.accept(), 11) == b"GET /leases"
        peer.communicate()


def test_an_etcd_peer_counts_for_its_region_from_the_request_that_names_it(net: Rig) -> None:
    start(net, Kind.ETCD_PEER)
    client = net.dial()
    client.sendall(request("/version"))
    server = net.accept()
    receive(server, len(request("/version")))
    net.wan.change([{"source": EU, "target": EAST, "cut": True}])
    raft = request("/raft/stream", X_Server_From="1234")
    client.sendall(raft)
    assert silent(server)
    link = net.wan.state().link(EU, EAST)
    assert (link.open_connections, link.held_bytes) == (1, len(raft))
    assert set(net.wan.state().diallers) == {
        DiallerCount("etcd-peer", None, EAST, 1),
        DiallerCount("etcd-peer", EU, EAST, 1),
    }
    net.wan.change([{"source": EU, "target": EAST, "cut": False}])
    assert receive(server, len(raft)) == raft
    client.sendall(raft)
    assert receive(server, len(raft)) == raft
    assert DiallerCount("etcd-peer", EU, EAST, 1) in net.wan.state().diallers
    client.close()
    server.close()
    wait_until(
        lambda: net.wan.state().link(EU, EAST).open_connections == 0, what="end", timeout_s=5
    )


def test_an_etcd_peer_that_turns_out_a_stranger_is_reset_before_a_byte_passes(net: Rig) -> None:
    start(net, Kind.ETCD_PEER)
    client = net.dial()
    client.sendall(request("/version"))
    server = net.accept()
    receive(server, len(request("/version")))
    client.sendall(request("/raft", X_Server_From="9999"))
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert net.wan.state().refused[0].reason == "unknown etcd member"
