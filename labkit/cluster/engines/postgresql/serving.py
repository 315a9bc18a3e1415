"""Checks that a lab serves its clients; each returns what is wrong, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from labkit import libpq
from labkit.cluster.engines.postgresql import config, patroni
from labkit.cluster.engines.postgresql.layout import Layout, member_name
from labkit.cluster.engines.postgresql.settings import Secrets
from labkit.cluster.ports import HOST
from labkit.topology import Node, SurvivalGoal


def not_in_service(
    said: Mapping[Node, patroni.Member | None], nodes: Sequence[Node], goal: SurvivalGoal
) -> str:
    """Why nodes are not all the primary or stream from it as commits want, or an empty text.

    Args:
        said: what every node's Patroni says about itself.
    """
    primaries = [node for node, member in said.items() if member and member.primary]
    if len(primaries) != 1:
        return f"{len(primaries)} primaries"
    primary = said[primaries[0]]
    assert primary is not None
    wanted = "async" if goal is SurvivalGoal.NONE else "quorum"
    for node in nodes:
        member = said[node]
        if member is None:
            return f"{node} does not answer"
        if member.state not in ("running", "streaming"):
            return f"{node} is {member.state}"
        if node != primaries[0] and primary.standbys.get(member_name(node)) != wanted:
            return f"{node} does not replicate yet"
    return ""


def unreachable(layout: Layout, secrets: Secrets, region: str) -> str:
    """Say why a region's balancer leads to no primary or no replica; an empty text when it does."""
    replicas = len(layout.topology.nodes) > 1
    for port, replica in ((layout.read_write(region), False), (layout.read_only(region), True)):
        if replica and not replicas:
            continue
        try:
            with libpq.connect(
                host=HOST,
                port=port,
                user=config.TRADER,
                password=secrets.trader,
                dbname=config.DATABASE,
                sslmode="disable",
                gssencmode="disable",
                require_auth="scram-sha-256",
                connect_timeout=3,
            ) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                if row != (replica,):
                    return f"lb:{region} port {port} leads to the wrong kind of node"
        except psycopg.Error as error:
            return f"lb:{region} port {port}: {' '.join(str(error).split())[:120]}"
    return ""
