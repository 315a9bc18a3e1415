"""Questions to etcd, asked past the WAN as in `labkit.cluster.engines.postgresql.patroni`.

etcd speaks JSON on /v3/, keys and values in base64
(https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/), to whoever shows the lab's certificate.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import urllib3

from labkit.cluster.engines.postgresql.layout import SCOPE, Layout
from labkit.cluster.ports import HOST

PREFIX = f"/service/{SCOPE}"
"""Where Patroni keeps what it knows of the cluster."""
CONFIG = f"{PREFIX}/config"
"""Patroni's settings for every member, as JSON."""
FAILOVER = f"{PREFIX}/failover"
"""A switchover that is asked for; whoever has carried it out or refused it empties it."""


@dataclass(frozen=True, slots=True)
class EtcdClient:
    """A client of one etcd.

    Attributes:
        port: where it listens for clients.
        certificate, key: the lab's, as files.
    """

    port: int
    certificate: Path
    key: Path

    @classmethod
    def of(cls, layout: Layout, region: str) -> EtcdClient:
        """Make a client of a region's etcd."""
        return cls(layout.etcd_client(region), layout.certificate, layout.certificate_key)

    def serves(self) -> bool:
        """Ask for a linearizable read, which needs a majority."""
        return self.value("health") is not None

    def healthy(self) -> bool:
        """Ask whether it is healthy (it can reach a majority)."""
        return str(self._ask("GET", "/health", timeout_s=0.8).get("health")) == "true"

    def version_decided(self) -> bool:
        """Ask whether the members have agreed on a cluster version.

        Until then etcd says 3.0.0, for which Patroni 4.1 has no code path and dies.
        """
        version = str(self._ask("GET", "/version").get("etcdcluster", "0.0"))
        return tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= (3, 4)

    def value(self, key: str) -> str | None:
        """Read the value of a key: empty if there is no such key, None without an answer."""
        found = self._entry(key)
        return None if found is None else found[0]

    def change(self, key: str, changed: Callable[[str], str]) -> bool:
        """Replace the value of a key unless somebody else does meanwhile; whether it was done.

        Args:
            changed: the new value, given the one that is there: empty if there is no such key.
        """
        found = self._entry(key)
        if found is None:
            return False
        value, revision = found
        name = encoded(key)
        unchanged = {"key": name, "target": "MOD", "mod_revision": str(revision)}
        put = {"request_put": {"key": name, "value": encoded(changed(value))}}
        answer = self._ask("POST", "/v3/kv/txn", {"compare": [unchanged], "success": [put]})
        return bool(answer.get("succeeded"))

    def leader(self) -> str | None:
        """Read which member holds the leader key: empty if none does, None without an answer."""
        return self.value(f"{PREFIX}/leader")

    def last_primary(self) -> str | None:
        """Read which member was primary when Patroni last wrote to etcd; None if it never did.

        The leader key outlives its ttl when etcd was stopped with everything else; where it is
        gone, the synchronous mode's state names the one that commits waited on last.
        """
        leader = self.leader()
        if leader:
            return leader
        return _json((self.value(f"{PREFIX}/sync") or "").encode()).get("leader")

    def stream(
        self, path: str, body: Mapping[str, object], timeout_s: float
    ) -> urllib3.BaseHTTPResponse:
        """Ask for an answer that goes on; it is to be closed.

        Raises:
            urllib3.exceptions.HTTPError, OSError: it does not answer in time.
        """
        return self._pool().request(
            "POST",
            self._url(path),
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
            preload_content=False,
        )

    def _entry(self, key: str) -> tuple[str, int] | None:
        """Read the value of a key and the revision that wrote it; 0 if there is no such key."""
        answer = self._ask("POST", "/v3/kv/range", {"key": encoded(key)})
        if "header" not in answer:
            return None
        found = (answer.get("kvs") or [{}])[0]
        value = base64.b64decode(found.get("value", "")).decode()
        return value, int(found.get("mod_revision", 0))

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = 1.0,
    ) -> dict[str, Any]:
        """Ask; empty if there is no good answer in time."""
        try:
            reply = self._pool().request(
                method,
                self._url(path),
                body=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                timeout=urllib3.Timeout(total=timeout_s),
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return {}
        return _json(reply.data) if reply.status == 200 else {}

    def _url(self, path: str) -> str:
        return f"https://{HOST}:{self.port}{path}"

    def _pool(self) -> urllib3.PoolManager:
        return _pool(self.certificate, self.key, self.certificate.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _pool(certificate: Path, key: Path, _written_ns: int) -> urllib3.PoolManager:
    """Make the connections of one lab; a lab that was made again has another certificate."""
    return urllib3.PoolManager(
        num_pools=16,
        maxsize=2,
        retries=False,
        cert_file=str(certificate),
        key_file=str(key),
        ca_certs=str(certificate),
        cert_reqs="CERT_REQUIRED",
    )


def encoded(key: str) -> str:
    """Encode a key or a value as etcd's JSON has it."""
    return base64.b64encode(key.encode()).decode()


def _json(text: bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
