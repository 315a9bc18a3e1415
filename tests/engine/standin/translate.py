"""CockroachDB's statements as PostgreSQL's, or a refusal. What is not listed here is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache

from . import grammar
from .catalog import Database, Member, Table
from .errors import SqlError, not_modelled
from .multiregion import Action, database_action
from .settings import CLUSTER_SETTINGS, ISOLATION, PASSED_ON, SESSION_VARIABLES, on, setting_name
from .show import show
from .tables import create_table, read_locality
from .text import Statement, Token, closing, replaced, split


@dataclass(frozen=True, slots=True)
class Context:
    """What a translation may depend on."""

    database: str
    databases: tuple[Database, ...] = ()
    members: tuple[Member, ...] = ()
    live: frozenset[str] = frozenset()
    settings: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    all_tables: tuple[Table, ...] = ()

    def known_database(self, name: str) -> Database:
        for database in self.databases:
            if database.name == name:
                return database
        raise SqlError("3D000", f'database "{name}" does not exist')

    def tables(self, database: str) -> list[Table]:
        return [table for table in self.all_tables if table.database == database]

    @property
    def multi_region(self) -> bool:
        return any(d.name == self.database and d.regions for d in self.databases)


class Control(Enum):
    """What a statement does to the transaction."""

    NONE = auto()
    BEGIN = auto()
    COMMIT = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run a statement.

    Attributes:
        sql: for PostgreSQL.
        writes: a commit must wait for another region, with REGION survival.
        stale: it reads what a replica here has, so it needs no majority.
        volatile: the text holds what is true now only.
        action: what the node does itself, instead of or around `sql`.
        variable: a session variable and its new value.
    """

    sql: str
    writes: bool = False
    stale: bool = False
    volatile: bool = False
    control: Control = Control.NONE
    action: Action | None = None
    variable: tuple[str, str] | None = None


def translate(statement: Statement, context: Context) -> Plan:
    """The plan for a statement.

    Raises:
        SqlError: not CockroachDB's, against its rules, or not modelled.
    """
    grammar.check(statement.text)
    verb = statement.tokens[0].upper
    if verb == "(" or verb in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "TABLE"):
        if "[" in statement.text:
            return _data(statement, context)
        return _data_alone(statement.text)
    if verb in ("BEGIN", "START"):
        return _begin(statement)
    if verb in ("COMMIT", "END"):
        return Plan("COMMIT", control=Control.COMMIT)
    if verb in ("ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"):
        return Plan(statement.text, control=Control.OTHER, stale=True)
    if verb == "SHOW":
        if statement.tokens[1].name in PASSED_ON and len(statement.tokens) == 2:
            return Plan(statement.text, stale=True)
        return Plan(show(statement, context), volatile=True, stale=True)
    if verb in ("SET", "RESET"):
        return _set(statement)
    if verb in ("DISCARD", "DEALLOCATE", "CLOSE"):
        return Plan(statement.text, stale=True)
    if verb in ("CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE", "COMMENT"):
        return _definition(statement, context)
    raise not_modelled(f"{verb} statements")


def _begin(statement: Statement) -> Plan:
    words = [token.upper for token in statement.tokens]
    if "SYSTEM" in words:
        raise not_modelled("BEGIN AS OF SYSTEM TIME")
    read_only = " READ ONLY" if "ONLY" in words else ""
    return Plan(f"BEGIN ISOLATION LEVEL SERIALIZABLE{read_only}", control=Control.BEGIN)


@lru_cache(maxsize=1000)
def _data_alone(text: str) -> Plan:
    """The plan for a statement that shows nothing of the cluster, so that only its text counts."""
    return _data(split(text)[0], Context(""))


def _data(statement: Statement, context: Context) -> Plan:
    edits, stale, volatile = [], False, False
    parts = statement.tokens
    for i, token in enumerate(parts):
        words = [t.upper for t in parts[i : i + 4]]
        if words == ["AS", "OF", "SYSTEM", "TIME"]:
            edits.append((i, _system_time(parts, i + 4), ""))
            stale = True
        elif token.text == "[" and words[1:2] == ["SHOW"]:
            end = closing(parts, i)
            inner = _inside(statement, i + 1, end)
            edits.append((i, end + 1, f"({show(inner, context)}) AS shown"))
            stale = volatile = True
        elif words[:2] == ["::", "STRING"]:
            edits.append((i + 1, i + 2, "TEXT"))
        elif words[:3] == ["VERSION", "(", ")"]:
            edits.append((i, i + 1, "standin.version"))
        elif words[0] == "UPSERT" and (i == 0 or parts[i - 1].text == "("):
            raise not_modelled("UPSERT")
    targets = list(mutated(statement))
    _check_mutations(statement, targets)
    return Plan(
        replaced(statement, edits), writes=bool(targets), stale=stale and not targets,
        volatile=volatile,
    )  # fmt: skip


def _inside(statement: Statement, first: int, after: int) -> Statement:
    start, end = statement.tokens[first].start, statement.tokens[after - 1].end
    shifted = tuple(
        Token(t.kind, t.text, t.start - start, t.end - start) for t in statement.tokens[first:after]
    )
    return Statement(statement.text[start:end], shifted)


def _system_time(parts: Sequence[Token], at: int) -> int:
    """The index after the expression behind AS OF SYSTEM TIME."""
    if parts[at].name in ("follower_read_timestamp", "with_max_staleness"):
        return closing(parts, at + 1) + 1
    raise not_modelled("AS OF SYSTEM TIME with anything but follower_read_timestamp()")


def mutated(statement: Statement) -> Iterator[tuple[str, str]]:
    """(verb, table) of each part of a statement that changes data."""
    parts = statement.tokens
    for i, token in enumerate(parts):
        before = parts[i - 1].upper if i else ""
        if i and before not in ("(", ")"):  # at the beginning, in a CTE, or behind the CTEs
            continue
        words = [t.upper for t in parts[i : i + 3]]
        at = {"INSERT": 2, "DELETE": 2, "UPDATE": 1}.get(words[0])
        if at is None or at + i >= len(parts):
            continue
        while at + i + 2 < len(parts) and parts[at + i + 1].text == ".":
            at += 2
        yield token.upper, parts[i + at].name


def _check_mutations(statement: Statement, targets: Sequence[tuple[str, str]]) -> None:
    """known-limitations/subquery-mutations-limitations.md, v25.4."""
    plain = statement.find("CONFLICT") < 0 and all(verb == "INSERT" for verb, _ in targets)
    for table, count in Counter(table for _, table in targets).items():
        if count > 1 and not plain:
            raise SqlError(
                "0A000",
                f'multiple mutations of the same table "{table}" are not supported unless they '
                "all use INSERT without ON CONFLICT; this is to prevent data corruption",
            )


def _set(statement: Statement) -> Plan:
    words = [token.upper for token in statement.tokens]
    if words[1:3] == ["CLUSTER", "SETTING"]:
        return _set_cluster(statement)
    if words[1] == "TRANSACTION":
        if "SYSTEM" in words:
            return Plan("SET TRANSACTION READ ONLY", stale=True)
        if "ISOLATION" in words:
            return Plan("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", stale=True)
        return Plan(statement.text, stale=True)
    at = 2 if words[1] in ("SESSION", "LOCAL") else 1
    name = statement.tokens[at].name
    if words[at : at + 2] == ["TIME", "ZONE"] or words[1:] == ["ALL"]:
        return Plan(statement.text, stale=True)
    if words[1] == "SESSION" and words[2] in ("CHARACTERISTICS", "AUTHORIZATION"):
        raise not_modelled(" ".join(words[:3]))
    value = statement.tokens[-1].literal if words[0] == "SET" else "off"
    if name in PASSED_ON:
        return Plan(statement.text, stale=True, variable=(name, value))
    if name in SESSION_VARIABLES:
        read_only = "on" if on(value) else "off"
        return Plan(
            f"SET default_transaction_read_only = {read_only}", stale=True, variable=(name, value)
        )
    if name in ISOLATION:
        return Plan(f"SET {name} = 'serializable'", stale=True)
    raise not_modelled(f"session variable {name}")


def _set_cluster(statement: Statement) -> Plan:
    name = setting_name(statement.tokens[3:])
    if name not in CLUSTER_SETTINGS:
        raise not_modelled(f"cluster setting {name}")
    if statement.tokens[0].upper == "RESET":
        return Plan("", action=Action("SET CLUSTER SETTING", drop=("setting", name)))
    value = statement.tokens[-1].literal
    return Plan("", action=Action("SET CLUSTER SETTING", put=("setting", name, value)))


def _definition(statement: Statement, context: Context) -> Plan:
    words = [token.upper for token in statement.tokens]
    if words[1] == "DATABASE":
        if words[0] == "ALTER" and words[3:4] == ["OWNER"]:
            return Plan(statement.text, writes=True)
        if words[0] in ("CREATE", "ALTER", "DROP"):
            action = database_action(statement, context)
            return Plan("", action=action)
    if words[:2] == ["CREATE", "TABLE"]:
        return _create_table(statement, context)
    if words[:2] == ["ALTER", "TABLE"] and "LOCALITY" in words:
        return _set_locality(statement, context)
    if words[:2] == ["DROP", "TABLE"]:
        names = [t.name for t in statement.tokens[2:] if t.kind in ("word", "quoted")]
        gone = [name for name in names if any(t.name == name for t in context.all_tables)]
        return Plan("", action=Action("DROP TABLE", sql=(statement.text,), forget=tuple(gone)))
    if words[0] == "CREATE" and words[1] in ("USER", "ROLE"):
        return _create_user(statement)
    if words[0] == "CREATE" and "INDEX" in words[1:3]:
        at = words.index("STORING") if "STORING" in words else -1
        edits = [(at, at + 1, "INCLUDE")] if at >= 0 else []
        return Plan(replaced(statement, edits), writes=True)
    known = words[0] in ("TRUNCATE", "GRANT", "REVOKE") or words[1] in ("TABLE", "USER", "ROLE")
    if known or words[1] in ("SCHEMA", "INDEX", "VIEW"):
        return Plan(statement.text, writes=True)
    raise not_modelled(" ".join(words[:2]))


def _create_table(statement: Statement, context: Context) -> Plan:
    if not any(token.text == "(" for token in statement.tokens):
        raise not_modelled("CREATE TABLE AS")
    table = create_table(statement, multi_region=context.multi_region)
    entry = Table(context.database, table.name, table.locality, table.detail)
    return Plan("", action=Action("CREATE TABLE", sql=table.statements, table=entry))


def _set_locality(statement: Statement, context: Context) -> Plan:
    at = next(i for i, token in enumerate(statement.tokens) if token.upper == "LOCALITY")
    locality, detail = read_locality(statement.tokens[at:], multi_region=context.multi_region)
    name = statement.tokens[at - 2].name
    now = next((t for t in context.tables(context.database) if t.name == name), None)
    if now is None:
        raise SqlError("42P01", f'relation "{name}" does not exist')
    if "regional by row" in (locality, now.locality) and locality != now.locality:
        raise not_modelled("a table that becomes or ceases to be REGIONAL BY ROW")
    entry = Table(context.database, name, locality, detail)
    return Plan("", action=Action("ALTER TABLE", table=entry))


def _create_user(statement: Statement) -> Plan:
    """PostgreSQL has no IF NOT EXISTS here."""
    parts = statement.tokens
    guarded = [token.upper for token in parts[2:5]] == ["IF", "NOT", "EXISTS"]
    if not guarded:
        return Plan(statement.text, writes=True)
    sql = replaced(statement, [(2, 5, "")])
    return Plan("", action=Action("CREATE ROLE", sql=(sql,), unless_role=parts[5].name))
