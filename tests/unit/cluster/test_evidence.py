"""What clusters notice of an outage: how each source is read."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from time import monotonic, time

import pytest

from labkit.clock import Anchor, wait_until
from labkit.cluster import balancer_log
from labkit.cluster.engines.cockroachdb.evidence import LeaseWatch, moved
from labkit.cluster.engines.postgresql.certificate import Certificate
from labkit.cluster.engines.postgresql.etcd import EtcdClient
from labkit.cluster.engines.postgresql.evidence import (
    LEADER_KEY,
    LeaderWatch,
    Noticed,
    first_noticed,
    promotion,
)
from labkit.cluster.machines import programs
from labkit.errors import ClusterError
from labkit.events import Event, Sign
from labkit.testing import FakeCluster
from labkit.topology import DEFAULT
from labkit.workload.connections import ConnectionLog, connections

NAMES = {"us-west-2-1": "us-west-2/1", "us-west-2-2": "us-west-2/2"}
SERVERS = {("read_write", member): node for member, node in NAMES.items()}


def line(at: str, what: str) -> str:
    return f"{at} Server read_write/us-west-2-1 is {what}\n"


DOWN = (
    'DOWN, reason: Layer4 connection problem, info: "Connection refused", check duration: 0ms. '
    "0 active and 0 backup servers left. 3 sessions active, 0 requeued, 0 remaining in queue."
)
UP = (
    'UP, reason: Layer7 check passed, code: 200, info: "OK", check duration: 2ms. '
    "1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
)


def read(text: str, since_s: float = float("-inf")) -> list[Event]:
    found = balancer_log.transitions(
        text, region="us-west-2", servers=SERVERS, anchor=Anchor(offset_s=0), since_s=since_s
    )
    return list(found)


def test_the_balancer_s_log_says_when_it_let_a_server_go_and_took_it_back():
    text = line("2026-11-25T19:41:49.004501+00:00", DOWN) + line(
        "2026-11-25T19:41:54.250000+00:00", UP
    )
    down, up = read(text)
    at = datetime(2026, 11, 25, 19, 41, 49, 4501, tzinfo=UTC)
    assert (down.sign, down.node, down.region) == (Sign.SERVER_DOWN, "us-west-2/1", "us-west-2")
    assert down.at_s == pytest.approx(at.timestamp(), abs=1e-5)
    assert down.detail == "Layer4 connection problem"
    assert (up.sign, up.detail) == (Sign.SERVER_UP, "Layer7 check passed")
    assert up.at_s - down.at_s == pytest.approx(5.245499, abs=1e-5)


def test_a_server_goes_and_comes_with_its_name():
    gone = (
        "going DOWN for maintenance (DNS NX status). "
        "2 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
    )
    back = line("2026-11-25T19:42:10.000000+00:00", "UP/READY (resolves again).")
    back = back.replace("us-west-2-1 is", "us-west-2-1 ('us-west-2-1') is")
    others = (
        "2026-11-25T19:42:11.000000+00:00 read_write/us-west-2-1 changed its IP from (none) to"
        " 10.201.3.6 by names/docker.\n"
        + line("2026-11-25T19:42:11.000000+00:00", "x").replace(
            "is x", "administratively READY thanks to valid DNS answer."
        )
    )
    down, up = read(line("2026-11-25T19:41:49.004501+00:00", gone) + back + others)
    assert (down.sign, down.detail) == (Sign.SERVER_DOWN, "DNS NX status")
    assert (up.sign, up.detail) == (Sign.SERVER_UP, "resolves again")


def test_what_the_balancer_logged_before_or_about_others_is_passed_over():
    text = (
        line("2026-11-25T19:41:49.004501+00:00", DOWN)
        + "2026-11-25T19:41:50.000000+00:00 proxy read_write has no server available!\n"
        + "[WARNING]  (12) : Server read_write/us-west-2-1 is DOWN, reason: Layer4 timeout\n"
        + "2026-11-25T19:41:50.000000+00:00 Server read_only/us-west-2-1 is DOWN, reason: x\n"
        + "2026-11-25T19:41:50.000000+00:00 Server read_write/us-west-2-9 is DOWN, reason: x\n"
        + "2026-99-25T19:41:50.000000+00:00 Server read_write/us-west-2-1 is DOWN, reason: x\n"
    )
    at_s = datetime(2026, 11, 25, 19, 41, 49, 500000, tzinfo=UTC).timestamp()
    assert len(read(text)) == 1
    assert read(text, since_s=at_s) == []


def test_a_real_haproxy_logs_a_server_it_cannot_reach(tmp_path, unused_ports):
    listen, server = unused_ports
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        f"global\n  {balancer_log.LOG}\n"
        "defaults\n  mode tcp\n  log global\n"
        "  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
        f"listen read_write\n  bind 127.0.0.1:{listen}\n"
        f"  server us-west-2-1 127.0.0.1:{server} check inter 100ms fall 1\n"
    )
    log = tmp_path / "log"
    begun_s, anchor = monotonic(), Anchor()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [programs.haproxy().path, "-db", "-f", config], stdout=output, stderr=output
        )
    try:
        wait_until(lambda: " is DOWN" in log.read_text(), what="a line in the log", timeout_s=20)
    finally:
        process.kill()
        process.wait()
    (down,) = balancer_log.transitions(
        log.read_text(), region="us-west-2", servers=SERVERS, anchor=anchor, since_s=begun_s
    )
    assert down.sign is Sign.SERVER_DOWN
    assert begun_s <= down.at_s <= monotonic()


@pytest.fixture
def unused_ports() -> tuple[int, int]:
    import socket

    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


# etcd


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def entry(revision: int, member: str = "") -> dict[str, object]:
    value = {"value": encoded(member)} if member else {}
    return {"key": encoded(LEADER_KEY), "mod_revision": str(revision), **value}


def message(revision: int, *events: dict[str, object], **more: object) -> dict[str, object]:
    return {"result": {"header": {"revision": str(revision)}, "events": events, **more}}


def gone(revision: int, member: str) -> dict[str, object]:
    return {"type": "DELETE", "kv": entry(revision), "prev_kv": entry(1, member)}


def taken(revision: int, member: str, before: str = "") -> dict[str, object]:
    return {"kv": entry(revision, member), **({"prev_kv": entry(1, before)} if before else {})}


Say = Callable[[dict[str, object]], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """The certificate of a lab, and its key."""
    folder, made = tmp_path_factory.mktemp("certificate"), Certificate.make()
    (folder / "crt").write_text(made.certificate)
    (folder / "key").write_text(made.key)
    return folder / "crt", folder / "key"


@contextmanager
def etcd(
    files: tuple[Path, Path], *streams: Callable[[Say, dict[str, object]], None]
) -> Iterator[EtcdClient]:
    """An etcd that answers its first watch by the first of these, and so on; gives its client."""
    waiting = list(streams)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

            def say(told: dict[str, object]) -> None:
                data = json.dumps(told).encode() + b"\n"
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

            if waiting:
                waiting.pop(0)(say, json.loads(body)["create_request"])
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files[0])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(*files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield EtcdClient(server.server_address[1], *files)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def watched(client: EtcdClient, count: int) -> tuple[Noticed, ...]:
    """What a watch is told, once it was told `count` changes."""
    ended = Flag()
    watch = LeaderWatch(client, NAMES, ended)
    watch.start()
    try:
        wait_until(lambda: len(watch.noticed) >= count, what="changes", timeout_s=20, poll_s=0.01)
    finally:
        ended.set()
        watch.join()
    return watch.noticed


def test_a_leader_that_is_gone_and_the_next_one_are_noticed_as_they_are_told(files):
    def stream(say: Say, _request: dict[str, object]) -> None:
        say(message(7, created=True))
        say(message(8, gone(8, "us-west-2-1")))
        say(message(9, taken(9, "us-west-2-2")))

    begun_s = monotonic()
    with etcd(files, stream) as client:
        first, second = (noticed.event for noticed in watched(client, 2))
    assert (first.sign, first.node) == (Sign.LEADER_GONE, "us-west-2/1")
    assert (second.sign, second.node) == (Sign.LEADER, "us-west-2/2")
    assert begun_s < first.at_s <= second.at_s < monotonic()
    assert first.within_s == second.within_s == 0


def test_a_leader_key_that_its_holder_writes_again_is_no_election(files):
    def stream(say: Say, _request: dict[str, object]) -> None:
        say(message(7, created=True))
        say(message(8, taken(8, "us-west-2-1", before="us-west-2-1")))
        say(message(9, gone(9, "us-west-2-1")))

    with etcd(files, stream) as client:
        assert [noticed.revision for noticed in watched(client, 1)] == [9]


def test_a_watch_that_was_cut_goes_on_where_it_was_and_says_how_long_it_was_deaf(files):
    asked: list[object] = []

    def cut(say: Say, request: dict[str, object]) -> None:
        asked.append(request.get("start_revision"))
        say(message(7, created=True))

    def resumed(say: Say, request: dict[str, object]) -> None:
        asked.append(request.get("start_revision"))
        say(message(8, created=True))
        say(message(8, taken(8, "us-west-2-2")))

    with etcd(files, cut, resumed) as client:
        (noticed,) = watched(client, 1)
    assert asked == [None, 8]
    assert noticed.event.within_s > 0


def test_a_revision_that_was_compacted_away_is_not_asked_for_again(files):
    asked: list[object] = []

    def compacted(say: Say, request: dict[str, object]) -> None:
        asked.append(request.get("start_revision"))
        say(message(7, created=True))
        say(message(9, canceled=True, compact_revision="9"))

    def fresh(say: Say, request: dict[str, object]) -> None:
        asked.append(request.get("start_revision"))
        say(message(9, created=True))
        say(message(10, taken(10, "us-west-2-2")))

    with etcd(files, compacted, fresh) as client:
        watched(client, 1)
    assert asked == [None, None]


def test_an_etcd_that_is_down_tells_nothing_and_ends_no_program(unused_ports, files):
    ended = Flag()
    watch = LeaderWatch(EtcdClient(unused_ports[0], *files), NAMES, ended)
    watch.start()
    ended.set()
    watch.join()
    assert watch.noticed == ()


class Told:
    def __init__(self, *noticed: Noticed) -> None:
        self.noticed = noticed


def test_a_change_counts_when_the_first_etcd_told_it():
    def at(at_s: float, revision: int = 8) -> Noticed:
        return Noticed(revision, Event(at_s, Sign.LEADER, "etcd", node="us-west-2/2"))

    found = first_noticed([Told(at(5.2)), Told(at(5.1), at(9, revision=9)), Told()])
    assert sorted(event.at_s for event in found) == [5.1, 9]


# Patroni


def test_a_line_of_patroni_s_history_is_a_promotion():
    stamp = "2026-11-25T19:41:49.004501+00:00"
    line = [3, 50331808, "no recovery target specified", stamp, "us-west-2-2"]
    found = promotion(line, NAMES, Anchor(offset_s=100))
    assert found is not None
    assert (found.sign, found.node) == (Sign.PROMOTED, "us-west-2/2")
    at_s = datetime.fromisoformat(stamp).timestamp()
    assert found.at_s == pytest.approx(at_s - 100, abs=1e-5)


@pytest.mark.parametrize("line", [[], [1, 2, "reason"], [1, 2, "reason", "yesterday", "x"]])
def test_a_line_of_patroni_s_history_without_a_time_is_no_evidence(line):
    assert promotion(line, NAMES, Anchor()) is None


# CockroachDB

NODES = DEFAULT.nodes


def test_a_node_that_lost_half_of_its_leases_lost_them_between_two_looks():
    before = {NODES[0]: 10, NODES[1]: 4, NODES[2]: 1}
    after = {NODES[1]: 13, NODES[2]: 1}
    (event,) = moved(before, after, since_s=100, now_s=102.5)
    assert (event.sign, event.node) == (Sign.LEASES_MOVED, NODES[0].name)
    assert (event.not_before_s, event.at_s) == (100, 102.5)
    assert event.detail == "10 of 10 leases moved"


def test_a_lease_that_moves_to_balance_the_load_is_no_outage():
    assert moved({NODES[0]: 10}, {NODES[0]: 9, NODES[1]: 1}, since_s=0, now_s=1) == []


def test_a_node_that_does_not_answer_is_not_asked_again_before_the_others():
    asked = []
    answers = iter([{NODES[0]: 4}, None, {NODES[1]: 4}])

    def leases(node):
        asked.append(node)
        held = next(answers, {NODES[1]: 4})
        if held is None:
            raise ClusterError(f"{node} refuses the login of labkit's operator")
        return held

    watch = LeaseWatch(leases, NODES, pace_s=0.01)
    watch.start()
    wait_until(lambda: watch.noticed, what="leases that moved", timeout_s=20, poll_s=0.01)
    watch.stop()
    assert asked[:3] == [NODES[0], NODES[0], NODES[1]]
    assert [event.node for event in watch.noticed] == [NODES[0].name]


# clients


def test_connections_are_told_by_region_and_a_torn_line_is_passed_over(tmp_path):
    begun_s = monotonic()
    with ConnectionLog(tmp_path, "west") as west, ConnectionLog(tmp_path, "east"):
        west.opened()
        west.opened()
    with (tmp_path / "ops" / "west.connections").open("a") as file:
        file.write("12.3")
    found = list(connections(tmp_path, ["west", "east", "north"]))
    assert [event.region for event in found] == ["west", "west"]
    assert all(begun_s <= event.at_s + 1e-6 <= monotonic() + 1e-5 for event in found)


# a cluster in memory


def test_the_fake_cluster_tells_of_a_failover_in_the_order_of_a_real_one():
    now_s = 100.0
    cluster = FakeCluster(election_s=3, clock=lambda: now_s)
    cluster.start()
    victim = cluster.leader()
    with cluster.failover_evidence() as gather:
        assert gather() == ()
        cluster.kill(victim)
        now_s = 103.5
        cluster.status()
        events = gather()
    assert {e.region for e in events if e.sign is Sign.SERVER_DOWN} == set(DEFAULT.region_names)
    (elected,) = [event for event in events if event.sign is Sign.LEADER]
    assert (elected.at_s, elected.node) == (103.5, cluster.leader().name)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)


# clocks


def test_an_anchor_puts_the_wall_clock_on_the_monotonic_one():
    anchor = Anchor()
    assert anchor.monotonic_s(time()) == pytest.approx(monotonic(), abs=0.5)
    assert Anchor(offset_s=anchor.offset_s - 7).drift_s() == pytest.approx(7, abs=0.5)


def test_what_the_wall_clock_was_set_by_is_how_little_the_balancer_s_times_say():
    text = line("2026-11-25T19:41:49.004501+00:00", DOWN)
    set_since = Anchor(offset_s=Anchor().offset_s - 7)
    (down,) = balancer_log.transitions(
        text, region="us-west-2", servers=SERVERS, anchor=set_since, since_s=float("-inf")
    )
    assert down.within_s == pytest.approx(7, abs=0.5)
