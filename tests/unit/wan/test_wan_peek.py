"""Who dials: named by the first bytes, or refused."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wan_lab import EAST, EU, QUIET_S, REGIONS, WEST, Rig, listener, make_plan, receive, rig, silent

from labkit.clock import wait_until
from labkit.wan import front, socket_owner
from labkit.wan.peek import (
    From,
    Refuse,
    Reply,
    peek_http,
    peek_postgres,
)
from labkit.wan.plan import Kind, LinkSettings
from labkit.wan.state import DiallerCount, RefusedCount

NAMES = {"us-west-2/1": WEST, "us-east-1/1": EAST}


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


DIALS = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
peer = socket.socket()
peer.connect(("127.0.0.1", int(sys.argv[1])))
peer.sendall(b"hello")
print("sent", flush=True)
sys.stdin.read()
"""


@contextmanager
def etcd(port: int, *arguments: str, user: int | None = None) -> Iterator[None]:
    """A process that dials a port as an etcd with these arguments would."""
    user = os.geteuid() if user is None else user
    argv = [sys.executable, "-c", DIALS, str(port), str(user), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n"
        yield
        process.communicate()


@pytest.fixture(params=["the kernel", "psutil"])
def told_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to learn whose socket it is; the program of an etcd is Python here."""
    monkeypatch.setattr(front, "ETCD", Path(sys.executable).name)
    if request.param == "psutil":
        monkeypatch.setattr(socket_owner, "_NETLINK_SOCK_DIAG", -1)
    elif sys.platform != "linux":
        pytest.skip("only Linux has sock_diag")


@pytest.mark.usefixtures("told_by")
def test_an_etcd_peer_is_known_by_its_process_and_takes_its_regions_link(net: Rig) -> None:
    """Or it would renew the lease of a primary that can hear but not speak."""
    start(net, Kind.ETCD_PEER)
    net.wan.change([{"source": WEST, "target": EAST, "cut": True}])
    with etcd(net.port, f"--name={WEST}", "--data-dir=/nowhere"):
        wait_until(lambda: net.wan.state().diallers, what="dialler", timeout_s=10)
        assert set(net.wan.state().diallers) == {DiallerCount("etcd-peer", WEST, EAST, 1)}
        with pytest.raises(TimeoutError):
            net.accept(timeout_s=QUIET_S)
        net.wan.change([{"source": WEST, "target": EAST, "cut": False}])
        assert receive(net.accept(), 5) == b"hello"


@pytest.mark.usefixtures("told_by")
@pytest.mark.parametrize("arguments", [(), ("--name=mars",), (WEST,)])
def test_a_process_that_is_no_etcd_of_the_lab_reaches_none_of_its_peers(
    net: Rig, arguments: tuple[str, ...]
) -> None:
    start(net, Kind.ETCD_PEER)
    with etcd(net.port, *arguments):
        wait_until(lambda: net.wan.state().refused, what="refusal", timeout_s=10)
        with pytest.raises(TimeoutError):
            net.accept(timeout_s=QUIET_S)
    assert net.wan.state().refused[0].reason == "not the socket of an etcd of this lab"


@pytest.mark.usefixtures("told_by")
def test_another_program_reaches_no_peer_whatever_it_says(net: Rig) -> None:
    start(net, Kind.ETCD_PEER)
    front.ETCD = "etcd"
    with etcd(net.port, f"--name={WEST}"):
        wait_until(lambda: net.wan.state().refused, what="refusal", timeout_s=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_reaches_no_peer_whatever_its_process_is_called(
    net: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "ETCD", Path(sys.executable).name)
    start(net, Kind.ETCD_PEER)
    with etcd(net.port, f"--name={WEST}", user=65534):
        wait_until(lambda: net.wan.state().refused, what="refusal", timeout_s=10)
        with pytest.raises(TimeoutError):
            net.accept(timeout_s=QUIET_S)


def test_a_peer_that_has_hung_up_is_nobody_to_refuse(net: Rig) -> None:
    start(net, Kind.ETCD_PEER)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ends = client.getsockname(), client.getpeername()
        client.close()
        assert socket_owner.command_of(*ends, program="etcd") in (None, ())
