"""The database behind the trading application: made, asked and changed, as the operator.

The operator's connections go to a node's own port, past balancers and WAN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.rows import dict_row

from labkit import libpq
from labkit.cluster.engines.cockroachdb import program, statements
from labkit.errors import ClusterError
from labkit.topology import Node, SurvivalGoal, Topology

STATEMENT_TIMEOUT_MS = 30_000
ZONE_VOTERS = 3
"""Voters of a range in its home region under ZONE survival (multiregion-survival-goals.md, v25.4;
logic test multi_region, num_voters): fewer nodes there do not survive the loss of one."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's connections to single nodes.

    Attributes:
        ports: a node's SQL port on this machine.
        parameters: what else libpq is told: certificates, sslmode.
    """

    ports: Mapping[Node, int]
    parameters: Mapping[str, str]

    @contextmanager
    def connect(
        self, node: Node, *, timeout_ms: int = STATEMENT_TIMEOUT_MS
    ) -> Iterator[psycopg.Connection]:
        """Open a connection to one node, in autocommit.

        Raises:
            ClusterError: it cannot be made, or what is done with it fails; names the node.
        """
        try:
            with libpq.connect(
                host="127.0.0.1",
                port=self.ports[node],
                user=statements.SUPERUSER,
                dbname="defaultdb",
                connect_timeout=5,
                autocommit=True,
                application_name="labkit",
                options=f"-c statement_timeout={timeout_ms}",
                **self.parameters,
            ) as connection:
                yield connection
        except psycopg.Error as error:
            text = " ".join(str(error).split())
            if error.sqlstate == libpq.THROTTLED:
                raise ClusterError(
                    f"{node} throttles for want of a licence: {text}: set a key as root "
                    "(docs/cockroachdb.md, Versions and licence), or make a new lab"
                ) from error
            raise ClusterError(f"{node} refuses the login of labkit's operator: {text}") from error


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of the trading database: how many ranges each node leads.

    Attributes:
        held: how many leases each node holds; nodes with none are absent.
        voters: for each range how many replicas vote.
    """

    held: Mapping[Node, int]
    voters: tuple[int, ...] = ()

    def most(self, region: str | None = None) -> Node | None:
        """Return the node with most leases, of a region when given; None when none has any."""
        held = {n: count for n, count in self.held.items() if region in (None, n.region)}
        return max(held, key=lambda node: held[node], default=None)


def leases(connection: psycopg.Connection, topology: Topology) -> Leases:
    """Tell who holds leases. Expensive: every few seconds at most."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return parse_leases(cursor.execute(statements.RANGES).fetchall(), topology)


def parse_leases(rows: Sequence[Mapping[str, object]], topology: Topology) -> Leases:
    """Rows of `statements.RANGES`. A node's zone is its own, so a locality names a node."""
    by_locality = {program.locality(node): node for node in topology.nodes}
    held: Counter[Node] = Counter()
    voters = []
    for row in rows:
        node = by_locality.get(str(row["lease_holder_locality"]).replace(" ", ""))
        if node is not None:
            held[node] += 1
        voting = row["voting_replicas"]
        if isinstance(voting, list):
            voters.append(len(voting))
    return Leases(dict(held), tuple(voters))


def obeys(found: Leases, goal: SurvivalGoal, topology: Topology) -> bool:
    """Tell whether replicas have been moved to where the goal wants them.

    ZONE: 3 voters in a range's home region. REGION: 5, of which 2 there, so 2+2+1 in three regions
    (multiregion-survival-goals.md, v25.4; logic test multi_region, num_voters).
    """
    if goal is SurvivalGoal.REGION:
        wanted = min(5, len(topology.nodes))
        return all(count >= wanted for count in found.voters)
    return all(count <= ZONE_VOTERS for count in found.voters)


def zones_known(connection: psycopg.Connection) -> set[str]:
    """Return the zones that nodes which have joined stand in (show-regions.md: region, zones)."""
    rows = connection.execute(statements.CLUSTER_REGIONS).fetchall()
    return {str(zone) for row in rows for zone in row[1]}


def exists(connection: psycopg.Connection) -> bool:
    """Tell whether the trading database is there."""
    rows = connection.execute(statements.DATABASES).fetchall()
    return any(row[0] == statements.DATABASE for row in rows)


def create(
    connection: psycopg.Connection,
    topology: Topology,
    goal: SurvivalGoal,
    password: str | None,
    licence: tuple[str, str] | None,
) -> None:
    """Make the database with its regions, and the application's user. Idempotent.

    Args:
        password: the user's, None in an insecure cluster (where none can be set).
        licence: organization and key.
    """
    connection.execute(as_query(statements.create_database(topology.region_names, goal)))
    connection.execute(statements.CREATE_USER)
    if password is not None:
        connection.execute(as_query(statements.set_password(password)))
    connection.execute(statements.OWN_DATABASE)
    for name, value in statements.SETTINGS.items():
        connection.execute(as_query(statements.set_cluster_setting(name, value)))
    if licence is not None:
        for statement in statements.set_licence(*licence):
            connection.execute(as_query(statement))


def survival_goal(connection: psycopg.Connection) -> SurvivalGoal:
    """Return the goal in force.

    Raises:
        ClusterError: it is one that this labkit does not know.
    """
    row = connection.execute(statements.SURVIVAL_GOAL).fetchone()
    try:
        return SurvivalGoal(str(row[1]).lower()) if row else SurvivalGoal.ZONE
    except ValueError:
        raise ClusterError(f"the database has an unknown survival goal: {row}") from None


def set_survival_goal(connection: psycopg.Connection, goal: SurvivalGoal) -> None:
    """Change the goal; replicas are moved in the background afterwards."""
    connection.execute(as_query(statements.survive(goal)))


def as_query(text: str) -> bytes:
    """Convert a text that was put together from quoted parts to what psycopg takes."""
    return text.encode()
