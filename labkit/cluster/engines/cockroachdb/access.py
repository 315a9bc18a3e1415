"""Connection URLs, addresses and certificates that lead clients and operators into a lab."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import quote

from labkit.cluster.engines.cockroachdb import statements
from labkit.cluster.engines.cockroachdb.database import Operator
from labkit.cluster.engines.cockroachdb.layout import Layout
from labkit.cluster.ports import HOST


def url(home: Path, *ports: int, secure: bool, read_only: bool = False) -> str:
    """Return a libpq URL of balancers, for the application; it holds no password.

    Args:
        home: the state folder, which has certificates and the password file.
        read_only: sessions read a local replica as it was at least 4.2 s ago (follower-reads.md).
    """
    hosts = ",".join(f"{HOST}:{port}" for port in ports)
    query = ["sslmode=disable", "gssencmode=disable"]
    if secure:
        query = [
            "sslmode=verify-full",
            f"sslrootcert={quote(str(_authority(home)))}",
            f"passfile={quote(str(home / 'pgpass'))}",
        ]
    if read_only:
        query.append(f"options={quote('-c default_transaction_use_follower_reads=on')}")
    return f"postgresql://{statements.USER}@{hosts}/{statements.DATABASE}?{'&'.join(query)}"


def operator(home: Path, layout: Layout) -> Operator:
    """Tell who asks the nodes themselves, as root."""
    parameters = {"sslmode": "disable", "gssencmode": "disable"}
    if layout.secure:
        parameters |= {
            "sslmode": "verify-full",
            "sslrootcert": str(_authority(home)),
            "sslcert": str(home / "certs" / "client.root.crt"),
            "sslkey": str(home / "certs" / "client.root.key"),
        }
    return Operator({node: layout.sql(node) for node in layout.topology.nodes}, parameters)


def tls(home: Path, *, secure: bool) -> ssl.SSLContext | None:
    """Return whom to trust when asking a node for its health; None without a certificate."""
    authority = _authority(home)
    if not secure or not authority.exists():
        return None
    return ssl.create_default_context(cafile=str(authority))


def _authority(home: Path) -> Path:
    return home / "certs" / "ca.crt"
