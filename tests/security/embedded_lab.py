"""What the tests of intruders ask of the embedded lab."""

from __future__ import annotations

import re

from listening import kind

from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.engines.postgresql.etcd import encoded


def ports_of(lab: EmbeddedCluster, pattern: str) -> list[int]:
    """The ports whose purpose is of a kind."""
    return [
        port for port, what in lab.layout.parts() if re.fullmatch(pattern, kind(what, lab.topology))
    ]


def running(lab: EmbeddedCluster) -> tuple[object, ...]:
    """What an intruder could have changed: who leads, the settings, etcd's keys and members, the
    links, and which PostgreSQL servers run."""
    etcd = lab._starter.etcd()
    first = encoded("\0")
    everything = {"key": first, "range_end": first, "keys_only": True}
    keys = sorted(one["key"] for one in etcd._ask("POST", "/v3/kv/range", everything)["kvs"])
    members = etcd._ask("POST", "/v3/cluster/member/list", {})["members"]
    links = [(one.source, one.target, one.delay_ms, one.cut) for one in lab.status().links]
    servers = [
        (lab.layout.data(node) / "postmaster.pid").read_text().split()[0]
        for node in lab.topology.nodes
    ]
    config = etcd.value("/service/lab/config")
    return etcd.leader(), config, keys, members, links, servers
