"""What a link does to a connection: delay, order, cuts, back-pressure."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wan_lab import EAST, EU, QUIET_S, WEST, Rig, fixed, make_plan, receive, rig, silent

from labkit.clock import wait_until
from labkit.wan.line import HIGH_WATER_BYTES, TIMER_STEP_S, WRITE_BUFFER_BYTES
from labkit.wan.links import Link
from labkit.wan.plan import LinkSettings


@pytest.fixture
def net() -> Iterator[Rig]:
    """No WAN yet: a test starts one with the links it needs."""
    with rig() as made:
        yield made


def start(net: Rig, **settings: object) -> None:
    net.start(make_plan(fixed(net.service.port), settings=LinkSettings(**settings)))


def cut(net: Rig, *pairs: tuple[str, str], on: bool = True) -> None:
    net.wan.change([{"source": a, "target": b, "cut": on} for a, b in pairs])


BOTH = ((WEST, EAST), (EAST, WEST))


def earliest_s(delays_s: float, *, trips: int) -> float:
    """When bytes may be there at the earliest: each trip may end half a step of the timer early."""
    return delays_s - trips * TIMER_STEP_S / 2


def test_a_round_trip_takes_at_least_both_delays(net: Rig) -> None:
    start(net, delay_ms=50)
    client, server = net.connected()
    begun_s = monotonic()
    client.sendall(b"?")
    receive(server, 1)
    assert monotonic() - begun_s >= earliest_s(0.050, trips=1)
    server.sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= earliest_s(0.100, trips=2)


def test_each_direction_has_its_own_delay(net: Rig) -> None:
    start(net)
    net.wan.change([{"source": EAST, "target": WEST, "delay_ms": 60}])
    client, server = net.connected()
    begun_s = monotonic()
    server.sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= earliest_s(0.060, trips=1)
    assert net.wan.state().link(WEST, EAST).delay_ms == 0


def test_the_first_answer_on_a_new_connection_takes_two_round_trips(net: Rig) -> None:
    """One for the TCP handshake, one for the question."""
    start(net, delay_ms=25)
    begun_s = monotonic()
    net.connected()
    assert monotonic() - begun_s >= earliest_s(0.100, trips=4)


def test_a_service_that_speaks_first_is_heard_after_two_round_trips(net: Rig) -> None:
    start(net, delay_ms=25)
    begun_s = monotonic()
    client = net.dial()
    net.accept().sendall(b"!")
    receive(client, 1)
    assert monotonic() - begun_s >= earliest_s(0.100, trips=4)


def test_within_a_region_bytes_pass_whatever_the_links_do(net: Rig) -> None:
    net.start(
        make_plan(
            fixed(net.service.port, source=EAST), settings=LinkSettings(delay_ms=60_000, cut=True)
        )
    )
    net.connected()


@settings(max_examples=15, deadline=None)
@given(chunks=st.lists(st.binary(min_size=1, max_size=3_000), min_size=1, max_size=30))
def test_bytes_arrive_intact_and_in_order_under_jitter(chunks: list[bytes]) -> None:
    with rig() as net:
        start(net, delay_ms=1, jitter_ms=5)
        client, server = net.connected()
        for chunk in chunks:
            client.sendall(chunk)
            server.sendall(chunk)
        whole = b"".join(chunks)
        assert receive(server, len(whole)) == whole
        assert receive(client, len(whole)) == whole


def test_a_large_transfer_arrives_intact_in_both_directions_at_once(net: Rig) -> None:
    start(net, delay_ms=5, jitter_ms=5)
    client, server = net.connected()
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


def test_a_cut_holds_bytes_without_a_reset_and_heal_releases_them(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    cut(net, *BOTH)
    client.sendall(b"there")
    server.sendall(b"back")
    assert silent(server)
    assert silent(client)
    cut(net, *BOTH, on=False)
    assert receive(server, 5) == b"there"
    assert receive(client, 4) == b"back"


def test_bytes_on_their_way_when_a_cut_begins_wait_for_its_end(net: Rig) -> None:
    start(net, delay_ms=80)
    client, server = net.connected()
    client.sendall(b"there")
    wait_until(lambda: net.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    cut(net, *BOTH)
    assert silent(server)
    cut(net, *BOTH, on=False)
    assert receive(server, 5) == b"there"


def test_one_direction_can_be_cut_alone(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    cut(net, (WEST, EAST))
    client.sendall(b"there")
    server.sendall(b"back")
    assert receive(client, 4) == b"back"
    assert silent(server)


def test_a_cut_leaves_other_links_alone(net: Rig) -> None:
    plan = make_plan(fixed(net.service.port), fixed(net.service.port, source=EU))
    net.start(plan)
    cut(net, *BOTH)
    other = net.dial(plan.listeners[1].port)
    other.sendall(b"?")
    assert receive(net.accept(), 1) == b"?"


@pytest.mark.parametrize("pairs", [BOTH, BOTH[:1], BOTH[1:]], ids=["both", "there", "back"])
def test_a_new_connection_hangs_while_either_direction_is_cut(
    net: Rig, pairs: tuple[tuple[str, str], ...]
) -> None:
    """A handshake needs both."""
    start(net)
    cut(net, *pairs)
    client = net.dial()
    client.sendall(b"?")
    with pytest.raises(TimeoutError):
        net.accept(timeout_s=QUIET_S)
    cut(net, *pairs, on=False)
    assert receive(net.accept(), 1) == b"?"


def test_a_dialler_that_gives_up_during_a_cut_never_reaches_the_service(net: Rig) -> None:
    start(net)
    cut(net, *BOTH)
    client = net.dial()
    client.sendall(b"?")
    wait_until(lambda: net.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    client.close()
    wait_until(
        lambda: net.wan.state().link(WEST, EAST).open_connections == 0, what="end", timeout_s=5
    )
    cut(net, *BOTH, on=False)
    with pytest.raises(TimeoutError):
        net.accept(timeout_s=QUIET_S)


def test_what_a_connection_closed_during_a_cut_held_is_dropped_on_heal(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    cut(net, *BOTH)
    client.sendall(b"too late")
    link = lambda: net.wan.state().link(WEST, EAST)  # noqa: E731
    wait_until(lambda: link().held_bytes == 8, what="held bytes", timeout_s=5)
    client.close()
    wait_until(lambda: link().held_bytes == 0, what="dropped bytes", timeout_s=5)
    assert silent(server)
    cut(net, *BOTH, on=False)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    wait_until(lambda: link().open_connections == 0, what="end", timeout_s=5)


def test_a_service_that_dies_during_a_cut_is_noticed_on_heal(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    cut(net, *BOTH)
    server.close()
    assert silent(client)
    cut(net, *BOTH, on=False)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_close_arrives_after_the_bytes_before_it_and_the_delay(net: Rig) -> None:
    start(net, delay_ms=40)
    client, server = net.connected()
    begun_s = monotonic()
    client.sendall(b"last words")
    client.close()
    assert receive(server, 100) == b"last words"
    assert monotonic() - begun_s >= earliest_s(0.040, trips=1)
    server.close()
    wait_until(
        lambda: net.wan.state().link(WEST, EAST).open_connections == 0, what="end", timeout_s=5
    )


def test_a_half_closed_connection_still_gets_its_answer(net: Rig) -> None:
    start(net, delay_ms=5)
    client, server = net.connected()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert receive(server, 100) == b"question"
    server.sendall(b"answer")
    server.close()
    assert receive(client, 100) == b"answer"


def test_a_slow_reader_gets_the_last_byte_of_a_closed_connection(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # the kernel takes little
    client.shutdown(socket.SHUT_WR)
    payload = random.randbytes(8 << 20)

    def send() -> None:
        server.sendall(payload)
        server.close()

    sender = threading.Thread(target=send)
    sender.start()
    received = bytearray()
    while data := client.recv(65_536):
        received += data
        sleep(0.001)
    sender.join()
    assert received == payload


def test_a_reset_is_passed_on_as_a_reset(net: Rig) -> None:
    start(net, delay_ms=5)
    client, server = net.connected()
    linger_for_no_time = b"\x01\0\0\0\0\0\0\0"
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_bytes_for_a_service_that_left_unnoticed_reset_the_dialler_quietly(
    net: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """After the end of its stream only a failing write shows that a service is gone."""
    start(net)
    client, server = net.connected()
    server.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    cut(net, (WEST, EAST))
    for i in range(1, 11):
        client.sendall(b"?")
        wait_until(
            lambda i=i: net.wan.state().link(WEST, EAST).held_bytes == i, what="byte", timeout_s=5
        )
    server.close()
    cut(net, (WEST, EAST), on=False)
    wait_until(
        lambda: net.wan.state().link(WEST, EAST).open_connections == 0, what="end", timeout_s=5
    )
    with pytest.raises(BrokenPipeError):
        client.send(b"?")
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_a_service_that_is_down_resets_its_dialler(net: Rig) -> None:
    start(net)
    net.service.close()
    with pytest.raises(ConnectionResetError):
        net.dial().recv(1)


def test_jitter_is_added_to_the_delay_and_spread_over_its_range() -> None:
    link = Link(LinkSettings(delay_ms=30, jitter_ms=10))
    trips_s = [link.trip_s() for _ in range(1_000)]
    assert min(trips_s) >= 0.030
    assert max(trips_s) <= 0.040
    assert max(trips_s) - min(trips_s) > 0.008


@pytest.mark.parametrize("because", ["slow reader", "cut"])
def test_a_sender_is_stopped_before_memory_fills(net: Rig, because: str) -> None:
    start(net)
    client, server = net.connected()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # the kernel takes little
    if because == "cut":
        cut(net, *BOTH)
    payload = random.randbytes(64 << 20)
    client.settimeout(1.0)
    sent = 0
    while sent < len(payload):
        try:
            sent += client.send(payload[sent : sent + 65_536])
        except TimeoutError:
            break
    assert sent < len(payload)
    held_bytes = net.wan.state().link(WEST, EAST).held_bytes
    assert 0 < held_bytes <= HIGH_WATER_BYTES + WRITE_BUFFER_BYTES
    cut(net, *BOTH, on=False)
    assert receive(server, sent) == payload[:sent]


def test_links_count_connections_and_bytes(net: Rig) -> None:
    start(net)
    client, _ = net.connected()
    client.sendall(b"1234")
    wait_until(lambda: net.wan.state().link(WEST, EAST).bytes == 5, what="bytes", timeout_s=5)
    there, back = net.wan.state().link(WEST, EAST), net.wan.state().link(EAST, WEST)
    assert (there.open_connections, there.total_connections, there.held_bytes) == (1, 1, 0)
    assert (back.open_connections, back.total_connections, back.bytes) == (0, 0, 1)
    client.close()


def test_a_change_of_delay_holds_for_open_connections(net: Rig) -> None:
    start(net)
    client, server = net.connected()
    net.wan.change([{"source": WEST, "target": EAST, "delay_ms": 60}])
    begun_s = monotonic()
    client.sendall(b"?")
    receive(server, 1)
    assert monotonic() - begun_s >= earliest_s(0.060, trips=1)


def test_bytes_sent_after_a_delay_shrinks_do_not_overtake(net: Rig) -> None:
    start(net, delay_ms=100)
    client, server = net.connected()
    client.sendall(b"first")
    wait_until(lambda: net.wan.state().link(WEST, EAST).held_bytes, what="bytes", timeout_s=5)
    net.wan.change([{"source": WEST, "target": EAST, "delay_ms": 0}])
    client.sendall(b"second")
    assert receive(server, 11) == b"firstsecond"
