"""SHOW statements that PostgreSQL does not have, as a SELECT of what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import placement
from .catalog import Database, Member
from .errors import SqlError, not_modelled
from .settings import CLUSTER_SETTINGS, SESSION_VARIABLES, setting_name
from .text import Statement, quote

if TYPE_CHECKING:
    from .translate import Context

Value = str | int | bool | list[str] | list[int] | None
Row = Sequence[Value]


def show(statement: Statement, context: Context) -> str:
    """The SELECT for a SHOW statement.

    Raises:
        SqlError: the double does not know it, or what it asks for is not there.
    """
    words = [token.upper for token in statement.tokens]
    match words[1:]:
        case ["REGIONS"]:
            return _regions(context)
        case ["REGIONS", "FROM", "CLUSTER"]:
            return _cluster_regions(context)
        case ["REGIONS", "FROM", "ALL", "DATABASES"]:
            return _all_databases(context)
        case ["REGIONS", "FROM", "DATABASE", *_]:
            return _database_regions(context, _named(statement, 4, context))
        case ["SURVIVAL", "GOAL", "FROM", "DATABASE", *_]:
            return _survival_goal(_named(statement, 5, context))
        case ["DATABASES"]:
            return _databases(context)
        case ["TABLES"]:
            return _tables(context)
        case ["RANGES", "FROM", ("DATABASE" | "TABLE") as of, *_]:
            return _ranges(statement, context, of)
        case ["CLUSTER", "SETTING", *_]:
            return _cluster_setting(setting_name(statement.tokens[3:]), context)
        case [*_] if len(words) == 2:
            return _variable(statement.tokens[1].name, context)
    raise not_modelled(" ".join(words))


def selected(columns: Sequence[tuple[str, str]], rows: Sequence[Row]) -> str:
    """A SELECT that gives these rows."""
    names = ", ".join(f'"{name}"' for name, _ in columns)
    types = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in columns)
    if not rows:
        nulls = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns)
        return f"SELECT {nulls} WHERE false"
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    return f"SELECT {types} FROM (VALUES {values}) AS shown ({names})"


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return quote("{" + ",".join(_item(item) for item in value) + "}")
    return quote(value)


def _item(value: str | int) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _named(statement: Statement, at: int, context: Context) -> Database:
    name = statement.tokens[at].name if len(statement.tokens) > at else context.database
    return context.known_database(name)


def zones(members: Sequence[Member]) -> dict[str, list[str]]:
    """Region -> zones of its nodes; as all nodes tell it that have joined (show-regions.md)."""
    found: dict[str, list[str]] = {}
    for member in members:
        tiers = dict(part.split("=", 1) for part in member.locality.split(",") if part)
        if "region" in tiers:
            here = found.setdefault(tiers["region"], [])
            if tiers.get("zone", "") not in ("", *here):
                here.append(tiers["zone"])
    return {region: sorted(found[region]) for region in sorted(found)}


def _cluster_regions(context: Context) -> str:
    rows = [(region, names) for region, names in zones(context.members).items()]
    return selected((("region", "text"), ("zones", "text[]")), rows)


def _regions(context: Context) -> str:
    having = {
        region: sorted(d.name for d in context.databases if region in d.regions)
        for region in zones(context.members)
    }
    rows = [
        (
            region,
            names,
            having[region],
            sorted(d.name for d in context.databases if d.primary == region),
            list[str](),
        )
        for region, names in zones(context.members).items()
    ]
    columns = ("database_names", "primary_region_of", "secondary_region_of")
    return selected(
        (("region", "text"), ("zones", "text[]"), *((name, "text[]") for name in columns)), rows
    )


def _database_regions(context: Context, database: Database) -> str:
    known = zones(context.members)
    regions = sorted(database.regions, key=lambda region: (region != database.primary, region))
    rows = [
        (database.name, region, region == database.primary, False, known.get(region, []))
        for region in regions
    ]
    columns = (
        ("database", "text"), ("region", "text"), ("primary", "boolean"),
        ("secondary", "boolean"), ("zones", "text[]"),
    )  # fmt: skip
    return selected(columns, rows)


def _all_databases(context: Context) -> str:
    rows = [(d.name, sorted(d.regions), d.primary, "") for d in context.databases]
    columns = (
        ("database_name", "text"), ("regions", "text[]"), ("primary_region", "text"),
        ("secondary_region", "text"),
    )  # fmt: skip
    return selected(columns, rows)


def _survival_goal(database: Database) -> str:
    goal = database.goal if database.regions else None
    return selected((("database", "text"), ("survival_goal", "text")), [(database.name, goal)])


def _databases(context: Context) -> str:
    columns = (
        ("database_name", "text"), ("owner", "text"), ("primary_region", "text"),
        ("secondary_region", "text"), ("regions", "text[]"), ("survival_goal", "text"),
    )  # fmt: skip
    rows = [
        (d.name, "root", d.primary, "", sorted(d.regions), d.goal if d.regions else None)
        for d in context.databases
    ]
    return selected(columns, rows)


def _tables(context: Context) -> str:
    columns = (
        ("schema_name", "text"), ("table_name", "text"), ("type", "text"), ("owner", "text"),
        ("estimated_row_count", "bigint"), ("locality", "text"),
    )  # fmt: skip
    rows = [
        ("public", table.name, "table", None, None, table.locality.upper())
        for table in context.tables(context.database)
    ]
    return selected(columns, rows)


def _ranges(statement: Statement, context: Context, of: str) -> str:
    words = [token.upper for token in statement.tokens]
    options = set(words[words.index("WITH") + 1 :]) - {","} if "WITH" in words else set()
    name = statement.tokens[4].name if of == "TABLE" or len(words) > 4 else context.database
    database = context.known_database(context.database if of == "TABLE" else name)
    tables = [t for t in context.tables(database.name) if of == "DATABASE" or t.name == name]
    if of == "TABLE" and not tables:
        raise SqlError("42P01", f'relation "{name}" does not exist')
    if options - {"TABLES", "DETAILS"}:
        raise not_modelled(f"SHOW RANGES WITH {', '.join(sorted(options))}")
    found = placement.ranges(database, tables, context.members, context.live)
    columns, rows = _range_columns(options), [_range_row(item, options) for item in found]
    return selected(columns, rows)


def _range_columns(options: set[str]) -> list[tuple[str, str]]:
    """In the order of show-ranges.md, v25.4."""
    columns = [("start_key", "text"), ("end_key", "text"), ("range_id", "bigint")]
    if "TABLES" in options:
        columns += [("schema_name", "text"), ("table_name", "text"), ("table_id", "bigint")]
        columns += [("table_start_key", "text"), ("table_end_key", "text")]
    if "DETAILS" in options:
        columns += [("range_size_mb", "numeric"), ("lease_holder", "bigint")]
        columns += [("lease_holder_locality", "text")]
    columns += [("replicas", "bigint[]"), ("replica_localities", "text[]")]
    columns += [("voting_replicas", "bigint[]"), ("non_voting_replicas", "bigint[]")]
    columns += [("learner_replicas", "bigint[]"), ("split_enforced_until", "timestamp")]
    return [*columns, *([("range_size", "bigint")] if "DETAILS" in options else [])]


def _range_row(item: placement.Range, options: set[str]) -> Row:
    both = sorted((*item.voters, *item.others), key=lambda member: member.node_id)
    row: list[Value]
    row = [f"…/Table/{item.number}", f"…/Table/{item.number + 1}", item.number]
    if "TABLES" in options:
        row += ["public", item.table.name, item.number, "…/<TableMin>", "…/<TableMax>"]
    if "DETAILS" in options:
        row += [0, item.holder.node_id, item.holder.locality]
    row += [[m.node_id for m in both], [m.locality for m in both]]
    row += [sorted(m.node_id for m in item.voters), sorted(m.node_id for m in item.others)]
    row += [list[int](), None]
    return [*row, *([0] if "DETAILS" in options else [])]


def _cluster_setting(name: str, context: Context) -> str:
    if name == "version":
        return selected(((name, "text"),), [("25.4",)])
    if name not in CLUSTER_SETTINGS:
        raise not_modelled(f"cluster setting {name}")
    return selected(((name, "text"),), [(context.settings.get(name, CLUSTER_SETTINGS[name]),)])


def _variable(name: str, context: Context) -> str:
    if name in SESSION_VARIABLES:
        return selected(((name, "text"),), [(context.variables.get(name, "off"),)])
    if name in ("database", "transaction_isolation", "default_transaction_isolation"):
        value = context.database if name == "database" else "serializable"
        return selected(((name, "text"),), [(value,)])
    raise not_modelled(f"SHOW {name}")
