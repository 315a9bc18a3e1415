"""Statements about databases and their regions, and the rules they must keep.

The rules are those of alter-database.md, create-database.md and multiregion-survival-goals.md,
v25.4. Where an SQLSTATE was not found there or in the source it is marked (I): inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .catalog import Database, Table
from .errors import SqlError, not_modelled
from .show import zones
from .text import Statement, Token

if TYPE_CHECKING:
    from .translate import Context


@dataclass(frozen=True, slots=True)
class Action:
    """What the node does itself, outside of a client's transaction.

    Attributes:
        tag: what the client is told when it is done.
        sql: run in the client's session, in one transaction.
        unless_role: nothing is to be done when this role is there.
        database: made (or changed, when it is there) to be like this.
        drop_database: its name.
        table: its locality is noted.
        forget: tables whose locality is forgotten.
        put, drop: an entry of the catalogue.
    """

    tag: str
    sql: tuple[str, ...] = ()
    unless_role: str = ""
    database: Database | None = None
    drop_database: str = ""
    table: Table | None = None
    forget: tuple[str, ...] = ()
    put: tuple[str, str, str] | None = None
    drop: tuple[str, str] | None = None


def database_action(statement: Statement, context: Context) -> Action:
    """CREATE, ALTER or DROP DATABASE.

    Raises:
        SqlError: against the rules, or not modelled.
    """
    verb = statement.tokens[0].upper
    if verb == "CREATE":
        return _create(statement, context)
    if verb == "DROP":
        return _drop(statement, context)
    return _alter(statement, context)


def _create(statement: Statement, context: Context) -> Action:
    parts = [token for token in statement.tokens if token.text != "="]
    words = [token.upper for token in parts]
    guarded = words[2:5] == ["IF", "NOT", "EXISTS"]
    at = 5 if guarded else 2
    name = parts[at].name
    rest, upper = parts[at + 1 :], words[at + 1 :]
    if upper[:1] == ["WITH"]:
        rest, upper = rest[1:], upper[1:]
    known = {"PRIMARY", "REGIONS", "SURVIVE"}
    if upper and upper[0] not in known:
        raise not_modelled(f"CREATE DATABASE .. {upper[0]}")
    primary, regions, goal = "", list[str](), ""
    if upper[:2] == ["PRIMARY", "REGION"]:
        primary = rest[2].name
    if "REGIONS" in upper:
        regions = _names(rest[upper.index("REGIONS") + 1 :])
    if "SURVIVE" in upper:
        goal = rest[upper.index("SURVIVE") + 1].name
    if any(database.name == name for database in context.databases):
        if guarded:
            return Action("CREATE DATABASE")
        raise SqlError("42P04", f'database "{name}" already exists')
    if goal and not primary:
        raise SqlError("42602", "PRIMARY REGION must be specified when using SURVIVE")  # (I)
    if regions and not primary:
        raise SqlError("42602", "PRIMARY REGION must be specified if REGIONS are specified")  # (I)
    every = ([primary] if primary and primary not in regions else []) + regions
    for region in every:
        _check_exists(region, context)
        if every.count(region) > 1:
            raise SqlError("42602", f'region "{region}" defined multiple times')  # (I)
    if goal == "region" and len(every) < 3:
        raise SqlError("22023", "at least 3 regions are required for surviving a region failure")
    ordered = [primary, *(region for region in every if region != primary)] if primary else []
    return Action(
        "CREATE DATABASE", database=Database(name, primary, tuple(ordered), goal or "zone")
    )


def _names(parts: Sequence[Token]) -> list[str]:
    names: list[str] = []
    for token in parts:
        if token.text == ",":
            continue
        if token.upper in ("SURVIVE", "PLACEMENT", "OWNER"):
            break
        names.append(token.name)
    return names


def _check_exists(region: str, context: Context) -> None:
    known = zones(context.members)
    if region not in known:
        there = ", ".join(known)
        raise SqlError("42602", f'region "{region}" does not exist; valid regions: {there}')  # (I)


def _alter(statement: Statement, context: Context) -> Action:
    parts = [token for token in statement.tokens if token.text != "="]
    words = [token.upper for token in parts]
    database = context.known_database(parts[2].name)
    match words[3:]:
        case ["SURVIVE", ("ZONE" | "REGION") as goal, "FAILURE"]:
            changed = _survive(database, goal.lower())
        case ["SET", "PRIMARY", "REGION", _] | ["PRIMARY", "REGION", _]:
            changed = _set_primary(database, parts[-1].name, context)
        case ["ADD", "REGION", *rest]:
            changed = _add(database, parts[-1].name, context, guarded=rest[0] == "IF")
        case _:
            raise not_modelled(f"ALTER DATABASE .. {' '.join(words[3:6])}")
    return Action("ALTER DATABASE", database=changed)


def _survive(database: Database, goal: str) -> Database:
    if not database.regions:
        raise SqlError(
            "42602", "database must have associated regions before a survival goal can be set"
        )
    if goal == "region" and len(database.regions) < 3:
        raise SqlError("42602", "at least 3 regions are required for surviving a region failure")
    return replace(database, goal=goal)


def _set_primary(database: Database, region: str, context: Context) -> Database:
    _check_exists(region, context)
    if not database.regions:
        return replace(database, primary=region, regions=(region,))
    if region not in database.regions:
        raise SqlError("42602", f'region "{region}" has not been added to the database')  # (I)
    return replace(database, primary=region)


def _add(database: Database, region: str, context: Context, *, guarded: bool) -> Database:
    _check_exists(region, context)
    if not database.regions:
        raise SqlError(  # (I)
            "42602", f'cannot add region "{region}" to database {database.name}: '
            "database must have a PRIMARY REGION first",
        )  # fmt: skip
    if region in database.regions:
        if guarded:
            return database
        raise SqlError("42710", f'region "{region}" already added to database')
    return replace(database, regions=(*database.regions, region))


def _drop(statement: Statement, context: Context) -> Action:
    words = [token.upper for token in statement.tokens]
    guarded = words[2:4] == ["IF", "EXISTS"]
    name = statement.tokens[4 if guarded else 2].name
    if guarded and not any(database.name == name for database in context.databases):
        return Action("DROP DATABASE")
    context.known_database(name)
    if "CASCADE" not in words and context.tables(name):
        raise SqlError("2BP01", f'database "{name}" is not empty and RESTRICT was specified')
    return Action("DROP DATABASE", drop_database=name)


__all__ = ["Action", "database_action"]
