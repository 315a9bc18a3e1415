"""Every SQL statement that the backend itself sends, in one place.

The trading application's own are in sql/cockroachdb and labkit/trading. `examples` gives each
with sample names, so that a test can hold all of them against CockroachDB's documented grammar.
Pages named are those of its documentation, v25.4; a logic test is one of cockroachdb/cockroach
pkg/ccl/logictestccl/testdata/logic_test.
"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.topology import SurvivalGoal

DATABASE = "trading"
USER = "trader"
SUPERUSER = "root"

PING = "SELECT 1"
VERSION = "SELECT version()"
CLUSTER_REGIONS = "SHOW REGIONS FROM CLUSTER"
"""Two columns: region, and an array of zones (show-regions.md)."""
DATABASES = "SHOW DATABASES"
"""The first column is the name (show-databases.md)."""
CREATE_USER = f"CREATE USER IF NOT EXISTS {USER}"
OWN_DATABASE = f"ALTER DATABASE {DATABASE} OWNER TO {USER}"
"""An owner has every privilege on it (security-reference/authorization.md, "Object ownership")."""
SURVIVAL_GOAL = f"SHOW SURVIVAL GOAL FROM DATABASE {DATABASE}"
"""Two columns: the database's name, and `zone` or `region` (multi_region, a logic test)."""
RANGES = f"SHOW RANGES FROM DATABASE {DATABASE} WITH DETAILS"
"""Among others `lease_holder_locality` and `voting_replicas` of each range. DETAILS fetches data
across nodes, which costs (show-ranges.md), so who asks does it every few seconds at most."""

SETTINGS = {"server.shutdown.initial_wait": "4s"}
"""Cluster settings of every lab. A node that shuts down says so at /health?ready=1 and goes on
serving for so long, until the balancers have noticed: two checks of a second each, and one that is
under way (node-shutdown.md; `haproxy`). By default it closes its connections at once."""

GOALS = {SurvivalGoal.ZONE: "ZONE", SurvivalGoal.REGION: "REGION"}
"""These two there are (multiregion-survival-goals.md). None is weaker: a write commits when a
majority of its replicas has it (architecture/transaction-layer.md, "Parallel Commits")."""

NO_WEAKER_GOAL = (
    "survive: 'none' does not exist in CockroachDB, where a commit always waits for a majority: "
    "say 'zone' or 'region'"
)


def create_database(regions: Sequence[str], goal: SurvivalGoal) -> str:
    """Create the database with its regions and survival goal; the first region is the primary.

    The clauses stand in the order of the grammar (create-database.md). SURVIVE needs a primary
    region, REGION three regions, each of them that of a node which is up (multi_region, a logic
    test; show-regions.md): therefore after the stage `join`.
    """
    first, *others = (identifier(region) for region in regions)
    more = f" REGIONS {', '.join(others)}" if others else ""
    return (
        f"CREATE DATABASE IF NOT EXISTS {DATABASE} PRIMARY REGION {first}{more}"
        f" SURVIVE {GOALS[goal]} FAILURE"
    )


def survive(goal: SurvivalGoal) -> str:
    """Change what a commit waits for, either way (alter-database.md, "SURVIVE")."""
    return f"ALTER DATABASE {DATABASE} SURVIVE {GOALS[goal]} FAILURE"


def set_password(password: str) -> str:
    """Set the application's password, in a secure cluster: others take none (create-user.md)."""
    return f"ALTER USER {USER} WITH PASSWORD {literal(password)}"


def set_licence(organization: str, key: str) -> tuple[str, str]:
    """Set a licence key (licensing-faqs.md, "Set a license"). Trial and free need telemetry."""
    return (
        set_cluster_setting("cluster.organization", organization),
        set_cluster_setting("enterprise.license", key),
    )


def set_cluster_setting(name: str, value: str) -> str:
    """Change a cluster setting (set-cluster-setting.md)."""
    return f"SET CLUSTER SETTING {name} = {literal(value)}"


def identifier(name: str) -> str:
    """Return a name in quotes: region names have dashes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text in quotes. Statements of this kind take no placeholders."""
    return "'" + text.replace("'", "''") + "'"


def examples() -> tuple[str, ...]:
    """Every statement, with sample names."""
    regions = ("us-west-2", "us-east-1", "eu-west-1")
    return (
        PING,
        VERSION,
        CLUSTER_REGIONS,
        DATABASES,
        CREATE_USER,
        OWN_DATABASE,
        SURVIVAL_GOAL,
        RANGES,
        create_database(regions, SurvivalGoal.REGION),
        create_database(regions[:1], SurvivalGoal.ZONE),
        *(survive(goal) for goal in GOALS),
        set_password("it's"),
        *set_licence("an organization", "a key"),
        *(set_cluster_setting(name, value) for name, value in SETTINGS.items()),
    )
