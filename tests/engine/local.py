"""The double as plain processes on 127.0.0.1, with a WAN between regions if wanted; no Docker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import permutations
from pathlib import Path

import psycopg
from ports import HOST, free_port
from trading.plain_server import Server

from engine.images import write_cockroach
from labkit.clock import wait_until
from labkit.wan.client import WanClient
from labkit.wan.plan import Kind, LinkSettings, Listener, Plan

REGIONS = ("us-west-2", "us-east-1", "eu-west-1")
TOKEN = "a-token-for-tests-only"
PATIENCE_S = 20.0


@dataclass
class LocalNode:
    """One node's process."""

    name: str
    region: str
    zone: str
    sql_port: int
    http_port: int
    process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "defaultdb", user: str = "root") -> str:
        return f"postgresql://{user}@{HOST}:{self.sql_port}/{database}?sslmode=disable"

    def connect(self, database: str = "defaultdb", user: str = "root") -> psycopg.Connection:
        return psycopg.connect(self.dsn(database, user), autocommit=True, connect_timeout=10)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 when it does not answer."""
        connection = HTTPConnection(HOST, self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException):
            return 0, ""
        finally:
            connection.close()

    @property
    def ready(self) -> int:
        return self.get("/health?ready=1")[0]

    @property
    def live_nodes(self) -> int:
        """How many nodes it has in its reach, itself included."""
        found = re.search(
            r"^liveness_livenodes\S* (\d+)", self.get("/_status/vars")[1], re.MULTILINE
        )
        return int(found[1]) if found else 0


@dataclass
class LocalCluster:
    """Nodes, their PostgreSQL, and the WAN process."""

    folder: Path
    server: Server
    nodes: list[LocalNode]
    wan: Plan | None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> Path:
        return self.folder / "bin" / "cockroach"

    def of(self, region: str) -> list[LocalNode]:
        return [node for node in self.nodes if node.region == region]

    def cockroach(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], env=self._env(), capture_output=True, text=True,
            check=False, timeout=20,
        )  # fmt: skip

    def sql(self, statement: str, *, node: int = 0) -> subprocess.CompletedProcess[str]:
        host = f"--host={HOST}:{self.nodes[node].sql_port}"
        return self.cockroach("sql", "--insecure", host, "-e", statement)

    def start(self, node: LocalNode) -> None:
        with (self.folder / f"{node.name}.log").open("ab") as log:
            node.process = subprocess.Popen(
                [self.program, *self.arguments(node)],
                env=self._env(), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def arguments(self, node: LocalNode) -> list[str]:
        join = [
            f"{HOST}:{self._port_for(node.region, self.of(region)[0])}" for region in self._regions
        ]
        elsewhere = [
            f"region={region}@{HOST}:{self._port_for(region, node)}"
            for region in self._regions
            if region != node.region
        ]
        return [
            *("start", "--insecure", f"--join={','.join(join)}"),
            f"--listen-addr={HOST}:{node.sql_port}",
            f"--http-addr={HOST}:{node.http_port}",
            f"--locality=region={node.region},zone={node.zone}",
            *([f"--locality-advertise-addr={','.join(elsewhere)}"] if self.wan else []),
            f"--store={self.folder / node.name}",
            *("--cache=64MiB", "--max-sql-memory=128MiB", "--max-offset=250ms"),
        ]

    def kill(self, node: LocalNode, number: signal.Signals = signal.SIGKILL) -> int:
        assert node.process is not None
        node.process.send_signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return 0
        return node.process.wait(30)

    def cut(self, region: str, *, cut: bool = True) -> None:
        """Cut a region off from all others, in both directions; or let it back."""
        assert self.wan is not None
        others = [other for other in self._regions if other != region]
        pairs = [*((region, other) for other in others), *((other, region) for other in others)]
        WanClient(self.wan.control_port, TOKEN).change(
            [{"source": source, "target": target, "cut": cut} for source, target in pairs]
        )

    def wait_ready(self, nodes: Sequence[LocalNode] | None = None) -> None:
        for node in self.nodes if nodes is None else nodes:
            self.wait_for(node, "/health?ready=1", 200)

    def wait_for(self, node: LocalNode, path: str, status: int) -> None:
        """Wait until a node's answer for a path has this status."""

        def seen() -> str:
            log = (self.folder / f"{node.name}.log").read_text()
            return f"{node.get(path)}, its log ends {log[-300:]!r}"

        wait_until(
            lambda: node.get(path)[0] == status,
            what=f"{node.name} with {status} for {path}",
            timeout_s=PATIENCE_S,
            hint=seen,
        )

    def heal(self) -> None:
        """Let every link through and every node run."""
        if self.wan is not None:
            WanClient(self.wan.control_port, TOKEN).reset()
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                self.start(node)
        self.wait_ready()
        # a majority makes a node ready, but a change of the catalogue is told to those in reach
        wait_until(
            lambda: all(node.live_nodes == len(self.nodes) for node in self.nodes),
            what="every node in every node's reach",
            timeout_s=PATIENCE_S,
        )

    def init(self) -> subprocess.CompletedProcess[str]:
        return self.cockroach("init", "--insecure", f"--host={HOST}:{self.nodes[0].sql_port}")

    @property
    def _regions(self) -> list[str]:
        return list(dict.fromkeys(node.region for node in self.nodes))

    def _port_for(self, dialler: str, node: LocalNode) -> int:
        if self.wan is None or dialler == node.region:
            return node.sql_port
        return next(
            listener.port
            for listener in self.wan.listeners
            if listener.source == dialler and listener.to_port == node.sql_port
        )

    def _env(self) -> dict[str, str]:
        store = f"postgres@{HOST}:{self.server.port}"
        return {**os.environ, "STANDIN_STORE": store, **self.environment}


@contextmanager
def local_cluster(
    server: Server, *, per_region: int = 1, rtt_ms: float | None = None
) -> Iterator[LocalCluster]:
    """Nodes that run, not yet initialised.

    Args:
        server: its database standin_catalog must not be there: one cluster at a time.
        rtt_ms: between regions; None is no WAN.
    """
    nodes = [
        LocalNode(f"crdb{number}-{region}", region, f"{region}{'abc'[number - 1]}",
                  free_port(), free_port())
        for region in REGIONS
        for number in range(1, per_region + 1)
    ]  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="labkit-standin-"))
    plan = None if rtt_ms is None else _plan(nodes, rtt_ms)
    cluster = LocalCluster(folder, server, nodes, plan)
    write_cockroach(cluster.program)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(_forget, server)
        if plan is not None:
            stack.callback(_end, _start_wan(plan, folder))
        stack.callback(lambda: [_end(node.process) for node in nodes if node.process])
        for node in nodes:
            cluster.start(node)
        for node in nodes:
            cluster.wait_for(node, "/health", 200)
        yield cluster


def _plan(nodes: Sequence[LocalNode], rtt_ms: float) -> Plan:
    listeners = [
        Listener(free_port(), node.region, Kind.FIXED, HOST, node.sql_port, source)
        for node in nodes
        for source in REGIONS
        if source != node.region
    ]
    links = dict.fromkeys(permutations(REGIONS, 2), LinkSettings(delay_ms=rtt_ms / 2))
    return Plan(control_port=free_port(), token=TOKEN, links=links, listeners=tuple(listeners))


def _start_wan(plan: Plan, folder: Path) -> subprocess.Popen[str]:
    plan.save(folder / "wan.json")
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.wan", str(folder / "wan.json")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(30)


def _forget(server: Server) -> None:
    """Take away what a cluster left in PostgreSQL."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as conn:
        rows = conn.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
        for (name,) in rows:
            if name not in ("postgres", "template_trade"):
                conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        rows = conn.execute("SELECT rolname FROM pg_roles WHERE oid >= 16384").fetchall()
        for (name,) in rows:
            conn.execute(f'DROP ROLE "{name}"')
