"""HTTP requests to nodes and balancers: readiness, metrics, statistics.

`/health?ready=1`: monitoring-and-alerting.md, v25.4; `/_status/vars`: prometheus-endpoint.md. Both
are taken to answer without a login in secure clusters too, as the vendor's StatefulSet asks the one
(cloud/kubernetes/cockroachdb-statefulset-secure.yaml, v22.1, readinessProbe) and its Prometheus the
other (monitor-cockroachdb-with-prometheus.md, step 2).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from labkit.cluster import haproxy

HOST = "127.0.0.1"
TIMEOUT_S = 0.8
"""For each read: a status takes about a second, whatever is broken."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The readiness of a node, by its own answer.

    Attributes:
        ready: it takes SQL clients.
        detail: why not, empty when it does.
    """

    ready: bool
    detail: str = ""


def ready(port: int, tls: ssl.SSLContext | None = None) -> Ready:
    """Ask a node whether it takes SQL clients."""
    status, _ = get(port, "/health?ready=1", tls)
    if status == 200:
        return Ready(True)
    if status is None:
        return Ready(False, "it does not answer")
    return Ready(False, f"it is not ready (HTTP {status}): no majority in reach, or it drains")


def metrics(port: int, tls: ssl.SSLContext | None = None) -> dict[str, float]:
    """Return a node's metrics (metrics.yaml, v25.4), empty when it does not answer."""
    status, text = get(port, "/_status/vars", tls)
    return parse_metrics(text) if status == 200 else {}


def parse_metrics(text: str) -> dict[str, float]:
    """Prometheus text; samples of one name (a store each) are added up. Labels are dropped."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        name = line.split("{")[0].split(" ")[0]
        value = line.rpartition("}")[2] if "{" in line else line.partition(" ")[2]
        try:
            found[name] = found.get(name, 0.0) + float(value.split()[0])
        except (ValueError, IndexError):
            continue
    return found


def servers(stats_port: int) -> dict[str, set[str]] | None:
    """Return what a balancer knows: for each backend its servers. None: no answer."""
    status, text = get(stats_port, "/;csv", None)
    return haproxy.servers(text) if status == 200 else None


def servers_up(stats_port: int) -> dict[str, list[str]] | None:
    """Return what a balancer may use: for each backend the servers that are up. None: no answer."""
    status, text = get(stats_port, "/;csv", None)
    return haproxy.servers_up(text) if status == 200 else None


def get(
    port: int, path: str, tls: ssl.SSLContext | None, timeout_s: float = TIMEOUT_S
) -> tuple[int | None, str]:
    """GET from this machine; the status is None when there was no answer."""
    connection = (
        HTTPConnection(HOST, port, timeout=timeout_s)
        if tls is None
        else HTTPSConnection(HOST, port, timeout=timeout_s, context=tls)
    )
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, HTTPException):
        return None, ""
    finally:
        connection.close()
