"""The configuration of every part, rendered from the layout. Nothing is started here.

The numbers are a compromise between a laptop and a real failover: everything that decides how long
an outage lasts (Patroni's ttl, the balancer's checks) is short and the same on every machine;
everything that decides how much memory nine servers take is small.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from labkit.cluster import balancer_log
from labkit.cluster.engines.postgresql.layout import SCOPE, Layout, member_name
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.machines.programs import Program
from labkit.cluster.ports import HOST
from labkit.topology import MAX_NODES, Node, SurvivalGoal, Topology

TRADER = "trader"
"""The role that applications log in as."""
DATABASE = "trade_db"
SUPERUSER = "postgres"
REPLICATOR = "replicator"
REST_USER = "labkit"

_POSTGRES: Mapping[str, str | int] = {
    "wal_level": "replica",
    "max_worker_processes": 4,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
    "hot_standby": "on",
    # on would let a long read on a replica hold back the primary's vacuum
    "hot_standby_feedback": "off",
    "shared_buffers": "16MB",
    "wal_buffers": "1MB",
    "min_wal_size": "8MB",
    "max_wal_size": "256MB",
    "wal_keep_size": "64MB",
    # no parallel queries: they would need more of /dev/shm than a container has
    "max_parallel_workers": 0,
    "max_logical_replication_workers": 0,
    # files in the data directory instead of /dev/shm: nothing is left behind by SIGKILL
    "dynamic_shared_memory_type": "mmap",
    "io_method": "sync",
    "jit": "off",
    "huge_pages": "off",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # a peer that is cut off is noticed after 5 s, about when Patroni's ttl ends
    "wal_receiver_status_interval": "1s",
    "wal_receiver_timeout": "5s",
    "wal_sender_timeout": "5s",
    "wal_retrieve_retry_interval": "200ms",
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "autovacuum_max_workers": 1,
    "autovacuum_naptime": "60s",
    "bgwriter_delay": "1s",
    "checkpoint_timeout": "5min",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


CONNECTIONS_PER_REGION = 33
"""A region's load at the primary: 20 for orders, 6 for fresh reads, 1 for the order processor
(labkit.workload), and 6 for the desk and other programs. They end at the primary from every
region."""
LEAST_CONNECTIONS = 100
SPARE_WAL_SENDERS = 4
"""For a node that is added, which takes two while it copies the data, and for one that is rewound
at the same time."""


def postgres_parameters(topology: Topology) -> dict[str, str | int]:
    """PostgreSQL's settings; they are the same on every node.

    Those that take a restart to change are large enough for every node that can be added later. In
    the first start each standby copies the data by pg_basebackup, which has two WAL senders and two
    slots (one of its own, one of Patroni's) until the copy is done, all at the same time.
    """
    regions, standbys = len(topology.regions), len(topology.nodes) - 1
    senders = max(2 * standbys, MAX_NODES * regions) + SPARE_WAL_SENDERS
    return {
        **_POSTGRES,
        "max_connections": max(LEAST_CONNECTIONS, CONNECTIONS_PER_REGION * regions),
        "max_wal_senders": senders,
        "max_replication_slots": senders,
    }


def synchronous_nodes(topology: Topology, goal: SurvivalGoal) -> int:
    """Tell how many standbys must have a commit before it is acknowledged.

    ZONE: as many as a region has besides the primary; they answer first, so the commit stays in
    the region. REGION: one more than a region has nodes, so that at least one copy is elsewhere
    even when one of those nodes is lost too, but never more than can be left after a region loss.
    """
    largest = max(region.nodes for region in topology.regions)
    if goal is SurvivalGoal.NONE:
        return 0
    if goal is SurvivalGoal.ZONE:
        return min(region.nodes for region in topology.regions) - 1
    left = len(topology.nodes) - largest - 1
    return max(largest, min(largest + 1, left))


def cluster_settings(topology: Topology, goal: SurvivalGoal) -> dict[str, Any]:
    """Return what decides durability, as Patroni's dynamic configuration has it."""
    count = synchronous_nodes(topology, goal)
    if count == 0:
        return {"synchronous_mode": False}
    return {"synchronous_mode": "quorum", "synchronous_node_count": count}


INITDB: tuple[str | Mapping[str, str], ...] = (
    {"encoding": "UTF8"},
    {"locale": "C"},
    {"wal-segsize": "1"},
    "data-checksums",
    "no-sync",
    "no-instructions",
)
"""How the first data directory is made, as Patroni has it."""


def patroni(layout: Layout, secrets: Secrets, node: Node, goal: SurvivalGoal, bin_dir: Path) -> str:
    """One node's Patroni configuration (YAML; holds passwords)."""

    def login(user: str, password: str) -> dict[str, str]:
        # no TLS and no Kerberos on loopback: asking for them costs two round trips a connection
        return {
            "username": user,
            "password": password,
            "sslmode": "disable",
            "gssencmode": "disable",
        }

    regions = layout.topology.region_names
    near_first = sorted(regions, key=lambda region: region != node.region)
    data = {
        "scope": SCOPE,
        "namespace": "/service/",
        "name": member_name(node),
        "log": {"level": "INFO"},
        "restapi": {
            "listen": f"{HOST}:{layout.rest(node)}",
            "connect_address": f"{HOST}:{layout.rest_advertised(node)}",
            "authentication": {"username": REST_USER, "password": secrets.rest_api},
        },
        "etcd3": {
            "hosts": [f"{HOST}:{layout.etcd_client(to, node.region)}" for to in near_first],
            "protocol": "https",
            "cacert": str(layout.certificate),
            "cert": str(layout.certificate),
            "key": str(layout.certificate_key),
            # otherwise Patroni leaves these ports for the URLs that etcd advertises, which are
            # the direct ones
            "use_proxies": True,
        },
        "bootstrap": {
            "dcs": {
                "ttl": 5,
                "loop_wait": 1,
                "retry_timeout": 2,
                **cluster_settings(layout.topology, goal),
                "primary_start_timeout": 0,  # a crashed primary is failed over, not waited for
                "maximum_lag_on_failover": 16 * 1024 * 1024,
                "failsafe_mode": False,
                "check_timeline": True,
                "postgresql": {
                    "use_pg_rewind": True,
                    "use_slots": True,
                    "parameters": postgres_parameters(layout.topology),
                },
            },
            "initdb": list(INITDB),
        },
        "postgresql": {
            "listen": f"{HOST}:{layout.postgres(node)}",
            "connect_address": f"{HOST}:{layout.postgres_advertised(node)}",
            "use_unix_socket": False,
            "data_dir": str(layout.data(node)),
            "bin_dir": str(bin_dir),
            "pgpass": str(layout.member_pgpass(node)),
            "authentication": {
                "superuser": login(SUPERUSER, secrets.superuser),
                "replication": login(REPLICATOR, secrets.replication),
            },
            "parameters": {"unix_socket_directories": ""},
            "pg_hba": [
                f"host all {SUPERUSER} {HOST}/32 scram-sha-256",
                f"host {DATABASE} {TRADER} {HOST}/32 scram-sha-256",
                f"host replication {REPLICATOR} {HOST}/32 scram-sha-256",
            ],
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
        },
        "tags": {"region": node.region},
    }
    return yaml.safe_dump(data, sort_keys=False)


BALANCER_CONNECTIONS = 500
"""Of a HAProxy, where the limit of open files allows it."""
PROXIES = ("read_write", "read_only")
CHECKS_PER_S = 200
"""How many checks a second go through the WAN at most. Each is a connection of its own. With a
thousand a second, of 45 nodes in nine regions, etcd's members did not hear each other in time."""


def _checks(topology: Topology, proxy: str) -> str:
    """Tell how often a proxy's servers are checked: less often in a lab with many ways to check.

    With usual intervals a primary that is gone is out after two failed checks (0.7 s), its sessions
    with it.
    """
    ways = sum(len(topology.nodes) - region.nodes for region in topology.regions)
    usual = {"read_write": (500, 200, 1000), "read_only": (2000, 500, 1000)}
    per_s = ways * sum(1000 / inter_ms for inter_ms, _, _ in usual.values())
    longer = max(1.0, per_s / CHECKS_PER_S)
    inter_ms, fast_ms, down_ms = (round(longer * interval_ms) for interval_ms in usual[proxy])
    return f"inter {inter_ms}ms fastinter {fast_ms}ms downinter {down_ms}ms rise 1 fall 2"


def balancer_servers(layout: Layout, region: str) -> dict[str, dict[str, str]]:
    """Return the servers of a region's HAProxy: proxy -> name -> the rest of its `server` line."""
    nodes = sorted(layout.topology.nodes, key=lambda node: node.region != region)
    checks = {proxy: _checks(layout.topology, proxy) for proxy in PROXIES}

    def line(proxy: str, node: Node) -> str:
        backup = " backup" if proxy == "read_only" and node.region != region else ""
        return (
            f"{HOST}:{layout.postgres_from(region, node)} check "
            f"port {layout.rest_from(region, node)} {checks[proxy]} "
            f"on-marked-down shutdown-sessions{backup}"
        )

    return {proxy: {member_name(node): line(proxy, node) for node in nodes} for proxy in PROXIES}


def haproxy(layout: Layout, secrets: Secrets, region: str) -> str:
    """One region's HAProxy configuration (holds the passwords of its statistics and of Patroni).

    Read-write goes to the node whose Patroni says it is the primary, wherever it is. Read-only
    goes to replicas of the region that are at most 1 MB behind, to others only when it has none.
    """
    servers = {
        proxy: "\n".join(f"  server {name} {line}" for name, line in lines.items())
        for proxy, lines in balancer_servers(layout, region).items()
    }
    login = base64.b64encode(f"{REST_USER}:{secrets.rest_api}".encode()).decode()
    credential = f' hdr Authorization "Basic {login}"'
    socket = layout.balancer_socket(region).relative_to(layout.place)
    return f"""\
global
  # maxconn is in its command line: it follows the limit of open files
  nbthread 1
  hard-stop-after 1s
  # relative to the folder that it is started in: a socket's path must be short
  stats socket unix@{socket} mode 600 level admin
  {balancer_log.LOG}

defaults
  mode tcp
  log global
  timeout connect 1s
  timeout check 1s
  timeout queue 5s
  timeout client 1h
  timeout server 1h
  retries 2
  option redispatch
  option clitcpka
  option srvtcpka

listen read_write
  bind {HOST}:{layout.read_write(region)}
  option httpchk
  http-check send meth OPTIONS uri /primary{credential}
  http-check expect status 200
{servers["read_write"]}

listen read_only
  bind {HOST}:{layout.read_only(region)}
  balance roundrobin
  option allbackups
  option httpchk
  http-check send meth OPTIONS uri /replica?lag=1MB{credential}
  http-check expect status 200
{servers["read_only"]}

listen statistics
  bind {HOST}:{layout.balancer_stats(region)}
  mode http
  timeout client 10s
  http-request deny unless METH_GET
  stats enable
  stats uri /
  stats auth {REST_USER}:{secrets.balancer_stats}
"""


def etcd(layout: Layout, program: Program, region: str) -> list[str]:
    """Render one region's etcd command line.

    Clients and peers must show the lab's certificate, before anything else is heard of them: that
    holds for every request of every protocol etcd speaks, while its users and passwords leave some
    of them open (its version, health and metrics, the status of a member, its peers' questions).
    """

    def peer(name: str) -> str:
        return f"https://{HOST}:{layout.etcd_peer_advertised(name)}"

    def tls(prefix: str) -> list[str]:
        return [
            f"--{prefix}cert-file={layout.certificate}",
            f"--{prefix}key-file={layout.certificate_key}",
            f"--{prefix}trusted-ca-file={layout.certificate}",
            f"--{prefix}client-cert-auth=true",
        ]

    # 3.5.1 can corrupt its data when killed (etcd-io/etcd#13766): refuse to start on it
    check = (
        "--feature-gates=InitialCorruptCheck=true"
        if program.version >= (3, 6)
        else "--experimental-initial-corrupt-check=true"
    )
    client = f"https://{HOST}:{layout.etcd_client(region)}"
    members = ",".join(f"{name}={peer(name)}" for name in layout.topology.region_names)
    return [
        str(program.path),
        f"--name={region}",
        f"--data-dir={layout.etcd_data(region)}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls=https://{HOST}:{layout.etcd_peer(region)}",
        f"--initial-advertise-peer-urls={peer(region)}",
        f"--initial-cluster={members}",
        "--initial-cluster-state=new",
        f"--initial-cluster-token={SCOPE}",
        *tls(""),
        *tls("peer-"),
        # by default pages of any origin may read its answers, and any Host is served
        f"--cors={client}",
        f"--host-whitelist={HOST}",
        "--heartbeat-interval=100",
        "--election-timeout=1000",
        "--pre-vote=true",
        check,
        "--snapshot-count=10000",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    ]
