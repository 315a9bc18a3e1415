"""What a node counts, and its `/_status/vars`."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

_BUCKETS_NS = tuple(10**power * step for power in range(5, 11) for step in (1, 2, 5))


@dataclass(slots=True)
class Counters:
    """Since the node began."""

    began: float = field(default_factory=monotonic)
    statements: int = 0
    failures: int = 0
    commits: int = 0
    connections: int = 0
    new_connections: int = 0
    _latency: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS_NS) + 1))
    _latency_sum_ns: int = 0

    def statement(self, seconds: float, *, failed: bool) -> None:
        """A client's statement is done."""
        nanoseconds = int(seconds * 1e9)
        self.statements += 1
        self.failures += failed
        self._latency_sum_ns += nanoseconds
        place = next((i for i, top in enumerate(_BUCKETS_NS) if nanoseconds <= top), -1)
        self._latency[place] += 1

    def latency_lines(self) -> list[str]:
        """`sql_service_latency` as a Prometheus histogram, in nanoseconds."""
        name, total, lines = "sql_service_latency", 0, ["# TYPE sql_service_latency histogram"]
        for top, count in zip((*_BUCKETS_NS, "+Inf"), self._latency, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{top}"}} {total}')
        return [*lines, f"{name}_sum {self._latency_sum_ns}", f"{name}_count {total}"]


def page(
    counters: Counters, *, node_id: int, live: int, leases: int, replicas: int, unavailable: int
) -> str:
    """The page; every name is one that v25.4 lists (metrics.yaml)."""
    store = f'{{store="{node_id}"}}'
    values = (
        ("counter", "sys_uptime", "", int(monotonic() - counters.began)),
        ("gauge", "liveness_livenodes", "", live),
        ("gauge", "sql_conns", "", counters.connections),
        ("counter", "sql_new_conns", "", counters.new_connections),
        ("counter", "sql_query_count", "", counters.statements),
        ("counter", "sql_failure_count", "", counters.failures),
        ("counter", "sql_txn_commit_count", "", counters.commits),
        ("gauge", "replicas", store, replicas),
        ("gauge", "replicas_leaseholders", store, leases),
        ("gauge", "ranges_unavailable", store, unavailable),
        ("gauge", "ranges_underreplicated", store, 0),
    )
    lines = []
    for kind, name, labels, value in values:
        lines += [f"# TYPE {name} {kind}", f"{name}{labels} {value}"]
    return "\n".join([*lines, *counters.latency_lines(), ""])


NAMES = (
    *("sys_uptime", "liveness_livenodes", "sql_conns", "sql_new_conns", "sql_query_count"),
    *("sql_failure_count", "sql_txn_commit_count", "replicas", "replicas_leaseholders"),
    *("ranges_unavailable", "ranges_underreplicated", "sql_service_latency"),
)
"""Every metric of the page; a test holds them against the documented list."""
