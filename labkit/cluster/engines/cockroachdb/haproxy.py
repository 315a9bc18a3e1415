"""A region's load balancer in front of CockroachDB. Pure functions.

After what `cockroach gen haproxy` writes (cockroach-gen.md, v25.4), with what it lacks: nodes of
the region first, others only while it has none, the nearest first; and a node that is marked down
loses its sessions, so that clients notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labkit.cluster import balancer_log


@dataclass(frozen=True, slots=True)
class Server:
    """A node as one balancer dials it."""

    name: str
    host: str
    sql_port: int
    health_port: int


ABOUT = "nodes of the region, else of the nearest region that has one in service"
"""What the first line of each rendered configuration says, by which it is known again."""


def configuration(
    servers: Mapping[str, Sequence[Server]],
    *,
    sql_bind: str,
    statistics_bind: str,
    resolver: str | None,
    secure: bool,
    socket: str | None = None,
) -> str:
    """One balancer's configuration file. It holds no secret: the statistics can only be read.

    Args:
        servers: region -> its nodes, in the order in which regions are used.
        sql_bind, statistics_bind: what HAProxy's `bind` takes.
        resolver: host:port of a name server to ask again and again, None where hosts are
            addresses.
        secure: health checks speak TLS.
        socket: what its runtime API listens on, None for no such API.
    """
    first, *_ = servers
    options = _options(secure)
    if resolver is not None:
        # a container that is down has no name: start without it, and find it when it is back.
        # Nodes of other regions are all the one address of the WAN, which a second server of a
        # backend may not have by default (HAProxy configuration manual, "resolve-opts")
        options += " resolvers names resolve-opts allow-dup-ip init-addr libc,none"
    api = f"  stats socket {socket} mode 600 level admin\n" if socket else ""
    blocks = [
        _GLOBAL.format(log=balancer_log.LOG, api=api, connections=CONNECTIONS),
        "" if resolver is None else _RESOLVERS.format(resolver=resolver),
        _frontend(list(servers), sql_bind),
        *(_backend(region, nodes, options) for region, nodes in servers.items()),
        _STATISTICS.format(bind=statistics_bind),
    ]
    heading = f"# {first}: {ABOUT}"
    return "\n".join([heading, *(block for block in blocks if block)])


CONNECTIONS = 4096
# maxconn, httpchk, roundrobin and clitcpka are those of `cockroach gen haproxy`; times are ours.
# Its minute of silence would end a session that only waits, and its checks, three 2 s apart, find a
# dead node later (node-shutdown.md, v25.4, server.shutdown.initial_wait).
_GLOBAL = """\
global
  maxconn {connections}
  nbthread 1
  hard-stop-after 1s
  {log}
{api}
defaults
  mode tcp
  log global
  timeout connect 5s
  timeout check 2s
  timeout queue 5s
  timeout client 1h
  timeout server 1h
  retries 2
  option redispatch
  option clitcpka
  option srvtcpka
"""

_RESOLVERS = """\
resolvers names
  nameserver docker {resolver}
  resolve_retries 3
  timeout resolve 1s
  timeout retry 1s
  hold valid 1s
  # a dead container has no name: longer than the checks take, which decide
  hold nx 10s
"""

_STATISTICS = """\
frontend statistics
  bind {bind}
  mode http
  timeout client 10s
  http-request deny unless METH_GET
  stats enable
  stats uri /
"""


def _frontend(regions: Sequence[str], bind: str) -> str:
    rules = [f"  use_backend {region} if {{ nbsrv({region}) gt 0 }}" for region in regions[:-1]]
    return "\n".join(
        ["frontend sql", f"  bind {bind}", *rules, f"  default_backend {regions[-1]}", ""]
    )


def server_lines(
    servers: Mapping[str, Sequence[Server]], *, secure: bool
) -> dict[str, dict[str, str]]:
    """Return the servers as `labkit.cluster.haproxy.give` takes them: each line is whole."""
    options = _options(secure)
    return {
        region: {node.name: f"{_line(node)} {options}" for node in nodes}
        for region, nodes in servers.items()
    }


def _options(secure: bool) -> str:
    # a health check carries nothing
    tls = " check-ssl verify none" if secure else ""
    return f"inter 1s fall 2 rise 2 on-marked-down shutdown-sessions{tls}"


def _line(node: Server) -> str:
    return f"{node.host}:{node.sql_port} check port {node.health_port}"


def _backend(region: str, nodes: Sequence[Server], options: str) -> str:
    servers = [f"  server {node.name} {_line(node)}" for node in nodes]
    return "\n".join(
        [
            f"backend {region}",
            "  balance roundrobin",
            # 503 while a node begins to drain, is decommissioned or reaches no majority
            # (monitoring-and-alerting.md, v25.4, "/health?ready=1")
            "  option httpchk GET /health?ready=1",
            f"  default-server {options}",
            *servers,
            "",
        ]
    )
