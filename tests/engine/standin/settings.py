"""Session variables and cluster settings that the double knows; all others it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from .text import Token

CLUSTER_SETTINGS = {
    "cluster.organization": "",
    "enterprise.license": "",
    "diagnostics.reporting.enabled": "true",
    "server.shutdown.initial_wait": "0s",
    "server.shutdown.connections.timeout": "0s",
    "server.shutdown.transactions.timeout": "10s",
    "server.shutdown.lease_transfer_iteration.timeout": "5s",
    "server.time_until_store_dead": "5m0s",
    "kv.closed_timestamp.target_duration": "3s",
    "kv.closed_timestamp.lead_for_global_reads_override": "0s",
}
"""Name -> default. Those of server.shutdown the double heeds, the others it remembers."""

SESSION_VARIABLES = frozenset({"default_transaction_use_follower_reads"})
"""CockroachDB's own that the gateway keeps."""

PASSED_ON = frozenset(
    (
        *("application_name", "client_encoding", "client_min_messages", "datestyle"),
        *("default_transaction_read_only", "extra_float_digits", "intervalstyle"),
        *("idle_in_transaction_session_timeout", "lock_timeout", "search_path"),
        *("standard_conforming_strings", "statement_timeout", "timezone", "transaction_timeout"),
    )
)
"""Variables that mean the same in PostgreSQL."""

ISOLATION = frozenset({"default_transaction_isolation", "transaction_isolation"})
"""Accepted and ignored: every transaction is SERIALIZABLE."""


def setting_name(tokens: Sequence[Token]) -> str:
    """The name of a cluster setting: words and dots up to a `=` or TO."""
    name = ""
    for token in tokens:
        if token.text == "=" or token.upper == "TO":
            break
        name += token.name
    return name


def on(value: str) -> bool:
    return value.lower() in ("on", "true", "yes", "1", "t")
