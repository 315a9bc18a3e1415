"""The control API and its client."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from itertools import permutations

import pytest
from ports import free_port
from wan_lab import (
    EAST,
    HOST,
    PATIENCE_S,
    REGIONS,
    TOKEN,
    WEST,
    fixed,
    listener,
    make_plan,
    receive,
    rig,
    running,
    service,
)

from labkit.errors import BadInput, ClusterError, NotRunning
from labkit.wan import control
from labkit.wan.client import WanClient
from labkit.wan.plan import Kind, LinkSettings


@pytest.fixture
def wan() -> Iterator[WanClient]:
    with running(make_plan(settings=LinkSettings(delay_ms=33))) as client:
        yield client


def ask(
    wan: WanClient, method: str, path: str, body: str | None = None, token: str | None = TOKEN
) -> tuple[int, dict[str, object]]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with closing(HTTPConnection(HOST, wan.port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def raw(wan: WanClient, data: bytes) -> bytes:
    with socket.create_connection((HOST, wan.port), timeout=PATIENCE_S) as sock:
        sock.sendall(data)
        return receive(sock, 1 << 20)


def startup(name: str) -> bytes:
    """What a PostgreSQL client of this application name says first (version 3.0)."""
    settings = b"user\0x\0application_name\0" + name.encode() + b"\0\0"
    return struct.pack("!ii", 8 + len(settings), 3 << 16) + settings


def test_every_direction_is_listed_as_planned(wan: WanClient) -> None:
    links = wan.links()
    assert {(link.source, link.target) for link in links} == set(permutations(REGIONS, 2))
    assert {(link.delay_ms, link.jitter_ms, link.cut) for link in links} == {(33, 0, False)}


def test_a_change_and_a_reset_answer_with_the_state_afterwards(wan: WanClient) -> None:
    changed = wan.change(
        [{"source": WEST, "target": EAST, "delay_ms": 80, "jitter_ms": 10, "cut": True}]
    ).link(WEST, EAST)
    assert (changed.delay_ms, changed.jitter_ms, changed.cut) == (80, 10, True)
    assert wan.state().link(EAST, WEST).delay_ms == 33
    again = wan.reset().link(WEST, EAST)
    assert (again.delay_ms, again.jitter_ms, again.cut) == (33, 0, False)


def test_a_change_with_one_bad_entry_changes_nothing(wan: WanClient) -> None:
    before = wan.state()
    with pytest.raises(BadInput, match=r"links\[1\]: no link us-west-2 > mars"):
        wan.change(
            [
                {"source": WEST, "target": EAST, "cut": True},
                {"source": WEST, "target": "mars", "cut": True},
            ]
        )
    assert wan.state() == before


def test_a_listener_that_comes_is_served_at_once_and_may_come_again() -> None:
    with rig() as lab:
        first = fixed(lab.service.port)
        wan = lab.start(make_plan(first))
        lab.connected()
        before = wan.state()
        more = listener(Kind.POSTGRES, lab.service.port)
        for _ in range(2):
            wan.serve([first, more], {"newcomer": WEST})
        client = lab.dial(more.port)
        client.sendall(startup("newcomer"))
        assert receive(lab.accept(), 8) == startup("newcomer")[:8]
        after = wan.state()
        assert after.link(WEST, EAST).open_connections == 2
        assert before.link(WEST, EAST).open_connections == 1


def test_a_listener_that_goes_resets_its_connections_and_frees_its_port_for_another() -> None:
    with rig() as lab:
        first = fixed(lab.service.port)
        wan = lab.start(make_plan(first))
        client, _ = lab.connected()
        wan.serve([], {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            lab.dial(first.port)
        wan.serve([replace(first, region=WEST, source=EAST)], {})
        lab.connected()
        assert wan.state().link(EAST, WEST).open_connections == 1


def test_a_listener_there_before_knows_the_names_that_come() -> None:
    with rig() as lab:
        first = listener(Kind.POSTGRES, lab.service.port)
        wan = lab.start(make_plan(first))
        wan.serve([first], {"newcomer": WEST})
        lab.dial().sendall(startup("newcomer"))
        assert receive(lab.accept(), 8) == startup("newcomer")[:8]


def test_of_listeners_that_are_refused_none_is_served() -> None:
    with rig() as lab, service() as taken:
        first = fixed(lab.service.port)
        wan = lab.start(make_plan(first))
        good = fixed(lab.service.port)
        for bad, message in (
            (replace(good, port=taken.port), "is in use"),
            (replace(good, port=lab.port, region=WEST, source=EAST), "is also that of"),
            (replace(good, port=free_port(), region="mars"), "mars"),
        ):
            with pytest.raises(BadInput, match=message):
                wan.serve([first, good, bad], {})
            with pytest.raises(ConnectionRefusedError):
                lab.dial(good.port)


@pytest.mark.parametrize("token", [None, "", "a-token-for-tests-onlx", "ä"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/links"), ("POST", "/reset")])
def test_who_does_not_know_the_token_is_turned_away(
    wan: WanClient, method: str, path: str, token: str | None
) -> None:
    assert ask(wan, method, path, token=token) == (401, {"error": "the token is missing or wrong"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nowhere", None, 404, "no GET /nowhere: there are GET /links"),
        ("DELETE", "/links", None, 404, "no DELETE /links"),
        ("POST", "/links", "{", 400, "the body is not JSON"),
        ("POST", "/links", "[]", 400, "change: expected an object"),
        ("POST", "/links", '{"links": [1]}', 400, "links[0]: expected an object"),
        ("POST", "/listeners", "{}", 400, 'expected {"listeners"'),
        ("POST", "/listeners", '{"listeners": [{"port": 1}]}', 400, "listeners[0]: region"),
    ],
)
def test_a_bad_request_is_answered_with_one_clear_line(
    wan: WanClient, method: str, path: str, body: str | None, status: int, message: str
) -> None:
    answered, answer = ask(wan, method, path, body)
    assert answered == status
    assert message in str(answer["error"])


AUTHORISED = f"Authorization: Bearer {TOKEN}\r\n".encode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"POST /links HTTP/1.1\r\n" + AUTHORISED + b"\r\n", b"411"),
        (b"POST /links HTTP/1.1\r\nContent-Length: -1\r\n" + AUTHORISED + b"\r\n", b"411"),
        (b"POST /links HTTP/1.1\r\nContent-Length: 1048577\r\n" + AUTHORISED + b"\r\n", b"413"),
        (b"GET /links HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_a_malformed_request_is_answered_and_hung_up_on(
    wan: WanClient, data: bytes, status: bytes
) -> None:
    assert raw(wan, data).startswith(b"HTTP/1.1 " + status)


def test_a_request_that_never_ends_is_hung_up_on(
    wan: WanClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.05)
    assert raw(wan, b"GET /links HTTP/1.1\r\n") == b""
    assert raw(wan, b"POST /links HTTP/1.1\r\nContent-Length: 9\r\n" + AUTHORISED + b"\r\n") == b""


def test_a_client_with_the_wrong_token_says_so_and_not_the_token(wan: WanClient) -> None:
    client = WanClient(wan.port, "another-token-altogether")
    with pytest.raises(ClusterError, match="the token is missing or wrong") as caught:
        client.links()
    assert client.token not in str(caught.value) + repr(client)


def test_a_client_says_when_no_wan_runs() -> None:
    port = free_port()
    with pytest.raises(NotRunning, match=rf"no WAN process listens on 127\.0\.0\.1:{port}"):
        WanClient(port, TOKEN).links()


def test_a_client_says_when_the_wan_does_not_answer() -> None:
    with service() as mute, pytest.raises(ClusterError, match=r"no answer within 0\.05 s"):
        WanClient(mute.port, TOKEN, timeout_s=0.05).links()


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example.org\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        b'HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{"links": [{"colour": "red"}]}',
    ],
)
def test_a_client_says_when_something_else_answers(answer: bytes) -> None:
    with service() as other:
        other.answer_once_with(answer)
        with pytest.raises(ClusterError, match="no WAN process of this version"):
            WanClient(other.port, TOKEN).links()
