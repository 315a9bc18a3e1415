"""What a link does to a connection: delay, order, cuts, bandwidth, back-pressure."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wan_lab import EAST, EU, QUIET_S, WEST, Rig, fixed, make_plan, receive, rig, silent

from labkit.clock import wait_until
from labkit.wan.line import HIGH_WATER_BYTES, WRITE_BUFFER_BYTES
from labkit.wan.links import CATCH_UP_S
from labkit.wan.plan import LinkSettings


@pytest.fixture
def lab() -> Iterator[Rig]:
    """No WAN yet: a test starts one with the links it needs."""
    with rig() as made:
        yield made


def start(lab: Rig, **settings: object) -> None:
    lab.start(make_plan(fixed(lab.service.port), settings=LinkSettings(**settings)))


def cut(lab: Rig, *pairs: tuple[str, str], on: bool = True) -> None:
    lab.wan.change([{"source": a, "target": b, "cut": on} for a, b in pairs])


BOTH = ((WEST, EAST), (EAST, WEST))


def test_a_round_trip_takes_at_least_both_delays(lab: Rig) -> None:
    start(lab, delay_ms=50)
    client, server = lab.connected()
    begun_s = monotonic()
    client.sendall(b"?")
    receive(server, 1)
    assert monotonic() - begun_s >= 0.050
    server.sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= 0.100


def test_each_direction_has_its_own_delay(lab: Rig) -> None:
    start(lab)
    lab.wan.change([{"source": EAST, "target": WEST, "delay_ms": 60}])
    client, server = lab.connected()
    begun_s = monotonic()
    server.sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= 0.060
    assert lab.wan.state().link(WEST, EAST).delay_ms == 0


def test_the_first_answer_on_a_new_connection_takes_two_round_trips(lab: Rig) -> None:
    """One for the TCP handshake, one for the question."""
    start(lab, delay_ms=25)
    begun_s = monotonic()
    lab.connected()
    assert monotonic() - begun_s >= 0.100


def test_a_service_that_speaks_first_is_heard_after_two_round_trips(lab: Rig) -> None:
    start(lab, delay_ms=25)
    begun_s = monotonic()
    client = lab.dial()
    lab.accept().sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= 0.100


def test_within_a_region_bytes_pass_whatever_the_links_do(lab: Rig) -> None:
    lab.start(
        make_plan(
            fixed(lab.service.port, source=EAST), settings=LinkSettings(delay_ms=60_000, cut=True)
        )
    )
    lab.connected()


@settings(max_examples=15, deadline=None)
@given(chunks=st.lists(st.binary(min_size=1, max_size=3_000), min_size=1, max_size=30))
def test_bytes_arrive_intact_and_in_order_under_jitter(chunks: list[bytes]) -> None:
    with rig() as lab:
        start(lab, delay_ms=1, jitter_ms=5)
        client, server = lab.connected()
        for chunk in chunks:
            client.sendall(chunk)
            server.sendall(chunk)
        whole = b"".join(chunks)
        assert receive(server, len(whole)) == whole
        assert receive(client, len(whole)) == whole


def test_a_large_transfer_arrives_intact_in_both_directions_at_once(lab: Rig) -> None:
    start(lab, delay_ms=5, jitter_ms=5)
    client, server = lab.connected()
    there, back = random.randbytes(12 << 20), random.randbytes(12 << 20)
    senders = [
        threading.Thread(target=client.sendall, args=(there,)),
        threading.Thread(target=server.sendall, args=(back,)),
    ]
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(receive(server, len(there))))
    for thread in (*senders, reader):
        thread.start()
    assert receive(client, len(back)) == back
    for thread in (*senders, reader):
        thread.join()
    assert received == [there]


def test_a_cut_holds_bytes_without_a_reset_and_heal_releases_them(lab: Rig) -> None:
    start(lab)
    client, server = lab.connected()
    cut(lab, *BOTH)
    client.sendall(b"there")
    server.sendall(b"back")
    assert silent(server)
    assert silent(client)
    cut(lab, *BOTH, on=False)
    assert receive(server, 5) == b"there"
    assert receive(client, 4) == b"back"


def test_bytes_on_their_way_when_a_cut_begins_wait_for_its_end(lab: Rig) -> None:
    start(lab, delay_ms=80)
    client, server = lab.connected()
    client.sendall(b"there")
    wait_until(lambda: lab.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    cut(lab, *BOTH)
    assert silent(server)
    cut(lab, *BOTH, on=False)
    assert receive(server, 5) == b"there"


def test_one_direction_can_be_cut_alone(lab: Rig) -> None:
    start(lab)
    client, server = lab.connected()
    cut(lab, (WEST, EAST))
    client.sendall(b"there")
    server.sendall(b"back")
    assert receive(client, 4) == b"back"
    assert silent(server)


def test_a_cut_leaves_other_links_alone(lab: Rig) -> None:
    plan = make_plan(fixed(lab.service.port), fixed(lab.service.port, source=EU))
    lab.start(plan)
    cut(lab, *BOTH)
    other = lab.dial(plan.listeners[1].port)
    other.sendall(b"?")
    assert receive(lab.accept(), 1) == b"?"


@pytest.mark.parametrize("pairs", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "there", "back"])
def test_a_new_connection_hangs_while_either_direction_is_cut(
    lab: Rig, pairs: tuple[tuple[str, str], ...]
) -> None:
    """A handshake needs both."""
    start(lab)
    cut(lab, *pairs)
    client = lab.dial()
    client.sendall(b"?")
    with pytest.raises(TimeoutError):
        lab.accept(timeout_s=QUIET_S)
    cut(lab, *pairs, on=False)
    assert receive(lab.accept(), 1) == b"?"


def test_a_dialler_that_gives_up_during_a_cut_never_reaches_the_service(lab: Rig) -> None:
    start(lab)
    cut(lab, *BOTH)
    client = lab.dial()
    client.sendall(b"?")
    wait_until(lambda: lab.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    client.close()
    wait_until(
        lambda: lab.wan.state().link(WEST, EAST).open_connections == 0, what="end", timeout_s=5
    )
    cut(lab, *BOTH, on=False)
    with pytest.raises(TimeoutError):
        lab.accept(timeout_s=QUIET_S)


def test_what_a_connection_closed_during_a_cut_held_is_dropped_on_heal(lab: Rig) -> None:
    start(lab)
    client, server = lab.connected()
    cut(lab, *BOTH)
    client.sendall(b"too late")
    link = lambda: lab.wan.state().link(WEST, EAST)  # noqa: E731
    wait_until(lambda: link().held_bytes == 8, what="held bytes", timeout_s=5)
    client.close()
    wait_until(lambda: link().held_bytes == 0, what="dropped bytes", timeout_s=5)
    assert silent(server)
    cut(lab, *BOTH, on=False)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    wait_until(lambda: link().open_connections == 0, what="end", timeout_s=5)


def test_a_service_that_dies_during_a_cut_is_noticed_on_heal(lab: Rig) -> None:
    start(lab)
    client, server = lab.connected()
    cut(lab, *BOTH)
    server.close()
    assert silent(client)
    cut(lab, *BOTH, on=False)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_close_arrives_after_the_bytes_before_it_and_the_delay(lab: Rig) -> None:
    start(lab, delay_ms=40)
    client, server = lab.connected()
    begun_s = monotonic()
    client.sendall(b"last words")
    client.close()
    assert receive(server, 100) == b"last words"
    assert monotonic() - begun_s >= 0.040
    server.close()
    wait_until(
        lambda: lab.wan.state().link(WEST, EAST).open_connections == 0, what="end", timeout_s=5
    )


def test_a_half_closed_connection_still_gets_its_answer(lab: Rig) -> None:
    start(lab, delay_ms=5)
    client, server = lab.connected()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert receive(server, 100) == b"question"
    server.sendall(b"answer")
    server.close()
    assert receive(client, 100) == b"answer"


def test_a_reset_is_passed_on_as_a_reset(lab: Rig) -> None:
    start(lab, delay_ms=5)
    client, server = lab.connected()
    linger_for_no_time = b"\x01\0\0\0\0\0\0\0"
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_service_that_is_down_resets_its_dialler(lab: Rig) -> None:
    start(lab)
    lab.service.close()
    with pytest.raises(ConnectionResetError):
        lab.dial().recv(1)


def test_a_bandwidth_is_shared_by_the_connections_of_a_direction(lab: Rig) -> None:
    """8 Mbit/s are 1 MB/s: 2 x 100 kB take at least 0.2 s."""
    start(lab)
    lab.wan.change([{"source": WEST, "target": EAST, "bandwidth_mbps": 8}])
    pairs = [lab.connected(), lab.connected()]
    begun_s = monotonic()
    for client, _ in pairs:
        client.sendall(bytes(100_000))
    for _, server in pairs:
        assert receive(server, 100_000) == bytes(100_000)
    assert monotonic() - begun_s >= 0.2 - CATCH_UP_S


def test_a_bandwidth_taken_away_lets_waiting_bytes_go(lab: Rig) -> None:
    start(lab, bandwidth_mbps=0.001)
    client, server = lab.dial(), lab.accept()
    client.sendall(b"?" * 1_000)
    assert silent(server)
    lab.wan.change([{"source": WEST, "target": EAST, "bandwidth_mbps": None}])
    assert receive(server, 1_000) == b"?" * 1_000


@pytest.mark.parametrize("because", ["slow reader", "cut"])
def test_a_sender_is_stopped_before_memory_fills(lab: Rig, because: str) -> None:
    start(lab)
    client, server = lab.connected()
    if because == "cut":
        cut(lab, *BOTH)
    payload = random.randbytes(64 << 20)
    client.settimeout(1.0)
    sent = 0
    while sent < len(payload):
        try:
            sent += client.send(payload[sent : sent + 65_536])
        except TimeoutError:
            break
    assert sent < len(payload)
    held_bytes = lab.wan.state().link(WEST, EAST).held_bytes
    assert 0 < held_bytes <= HIGH_WATER_BYTES + WRITE_BUFFER_BYTES
    cut(lab, *BOTH, on=False)
    assert receive(server, sent) == payload[:sent]


def test_links_count_connections_and_bytes(lab: Rig) -> None:
    start(lab)
    client, _ = lab.connected()
    client.sendall(b"1234")
    wait_until(lambda: lab.wan.state().link(WEST, EAST).bytes == 5, what="bytes", timeout_s=5)
    there, back = lab.wan.state().link(WEST, EAST), lab.wan.state().link(EAST, WEST)
    assert (there.open_connections, there.total_connections, there.held_bytes) == (1, 1, 0)
    assert (back.open_connections, back.total_connections, back.bytes) == (0, 0, 1)
    client.close()


def test_a_change_of_delay_holds_for_open_connections(lab: Rig) -> None:
    start(lab)
    client, server = lab.connected()
    lab.wan.change([{"source": WEST, "target": EAST, "delay_ms": 60}])
    begun_s = monotonic()
    client.sendall(b"?")
    receive(server, 1)
    assert monotonic() - begun_s >= 0.060


def test_bytes_sent_after_a_delay_shrinks_do_not_overtake(lab: Rig) -> None:
    start(lab, delay_ms=100)
    client, server = lab.connected()
    client.sendall(b"first")
    wait_until(lambda: lab.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    lab.wan.change([{"source": WEST, "target": EAST, "delay_ms": 0}])
    client.sendall(b"second")
    assert receive(server, 11) == b"firstsecond"
