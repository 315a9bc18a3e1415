"""CREATE TABLE of CockroachDB as statements of PostgreSQL. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SqlError, not_modelled
from .text import Statement, Token, closing, listed, quote_name

REGION_COLUMN = "crdb_region"
REGION_TYPE = "public.crdb_internal_region"
_TYPES = {"STRING": "TEXT", "BYTES": "BYTEA", "INT": "BIGINT", "INTEGER": "BIGINT"}
_REFUSED = frozenset({"SERIAL", "INVERTED", "VECTOR", "LIKE"})


@dataclass(frozen=True, slots=True)
class NewTable:
    """A table to make.

    Attributes:
        statements: for PostgreSQL.
        locality, detail: as in catalog.Table; empty when none was asked for.
    """

    name: str
    statements: tuple[str, ...]
    locality: str
    detail: str


def create_table(statement: Statement, *, multi_region: bool) -> NewTable:
    """Take a CREATE TABLE apart and put it together for PostgreSQL.

    Raises:
        SqlError: it breaks a multi-region rule, or the double does not know a part of it.
    """
    parts = statement.tokens
    at = 5 if statement.starts("CREATE", "TABLE", "IF", "NOT", "EXISTS") else 2
    guard = "IF NOT EXISTS " if at == 5 else ""
    opening = next((i for i in range(at, len(parts)) if parts[i].text == "("), -1)
    if opening < 0:
        raise not_modelled("CREATE TABLE without a list of columns")
    end = closing(parts, opening)
    name = parts[opening - 1].name
    locality, detail = read_locality(parts[end + 1 :], multi_region=multi_region)
    items, indexes = [], []
    for item in listed(parts[opening + 1 : end]):
        first = item[0].upper
        if first in _REFUSED or (first == "UNIQUE" and item[1].upper == "INDEX"):
            raise not_modelled(f"{first} in CREATE TABLE")
        if first == "INDEX":
            indexes.append(_index(item, name, guard))
        elif first in ("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
            items.append(text_of(item))
        elif first != "FAMILY":
            items.append(_column(item))
    columns = {item[0].name for item in listed(parts[opening + 1 : end])}
    wanted = detail or REGION_COLUMN
    if locality == "regional by row" and wanted not in columns:
        if detail:
            raise SqlError("42703", f'column "{detail}" does not exist')
        items.append(
            f"{REGION_COLUMN} {REGION_TYPE} NOT NULL DEFAULT"
            f" default_to_database_primary_region(gateway_region())::{REGION_TYPE}"
        )
    table = text_of(parts[at:opening])
    body = ",\n    ".join(items)
    created = f"CREATE TABLE {guard}{table} (\n    {body}\n)"
    return NewTable(name, (created, *indexes), locality, detail)


def read_locality(parts: Sequence[Token], *, multi_region: bool) -> tuple[str, str]:
    """What stands behind the columns.

    Raises:
        SqlError: LOCALITY in a database without regions, or something else stands there.
    """
    words = [token.upper or token.text for token in parts]
    if not words:
        return ("regional by table" if multi_region else ""), ""
    if words[0] != "LOCALITY":
        raise not_modelled(f"{words[0]} behind the columns of a table")
    if not multi_region:
        raise SqlError(
            "42P16",
            "cannot set LOCALITY on a table in a database that is not multi-region enabled",
        )
    match words[1:]:
        case ["GLOBAL"]:
            return "global", ""
        case ["REGIONAL", "BY", "ROW"]:
            return "regional by row", ""
        case ["REGIONAL", "BY", "ROW", "AS", _]:
            return "regional by row", parts[-1].name
        case ["REGIONAL"] | ["REGIONAL", "BY", "TABLE"]:
            return "regional by table", ""
        case ["REGIONAL", *_, "IN", "PRIMARY", "REGION"]:
            return "regional by table", ""
        case ["REGIONAL", *_, "IN", _]:
            return "regional by table", parts[-1].name
    raise not_modelled(" ".join(words))


def text_of(parts: Sequence[Token]) -> str:
    """Tokens as text again."""
    return " ".join(token.text for token in parts).replace(" . ", ".")


def _index(item: list[Token], table: str, guard: str) -> str:
    """An index among the columns becomes a statement of its own."""
    if item[1].text == "(":
        raise not_modelled("an index without a name in CREATE TABLE")
    words = ["INCLUDE" if token.upper == "STORING" else token.text for token in item[2:]]
    return f"CREATE INDEX {guard}{item[1].text} ON {quote_name(table)} {' '.join(words)}"


def _column(item: list[Token]) -> str:
    kind = item[1].upper if item[1].kind == "word" else ""
    if kind in _REFUSED or kind.startswith("SERIAL"):
        raise not_modelled(f"type {kind}")
    name = item[0].name
    region = item[1].name == "crdb_internal_region"
    if name == REGION_COLUMN and not region:
        raise SqlError("42611", f"cannot use column {REGION_COLUMN} which has type {kind}")
    words: list[str] = [item[0].text, _TYPES.get(kind, item[1].text)]
    i = 2
    while i < len(item):
        following = [token.upper for token in item[i : i + 3]]
        if following[:2] == ["NOT", "VISIBLE"]:
            i += 2
            continue
        if following[:2] == ["ON", "UPDATE"] and following[2:] not in (
            ["CASCADE"], ["RESTRICT"], ["SET"], ["NO"],
        ):  # fmt: skip
            raise not_modelled("ON UPDATE of a column")
        if following[0] == "AS" and item[i + 1].text == "(":
            always = [] if words[-1].upper() == "ALWAYS" else ["GENERATED", "ALWAYS"]
            end = closing(item, i + 1)
            words += [*always, "AS", _computed(item[i + 1 : end + 1], region=region)]
            i = end + 1
            continue
        words.append(item[i].text)
        i += 1
    return " ".join(words).replace(" . ", ".")


def _computed(expression: list[Token], *, region: bool) -> str:
    """PostgreSQL takes the texts in a CASE for texts; CockroachDB sees that regions are meant."""
    words = []
    for i, token in enumerate(expression):
        meant = region and token.kind == "string" and (
            expression[i - 1].upper in ("THEN", "ELSE") or i == 1
        )  # fmt: skip
        words.append(f"{token.text}::{REGION_TYPE}" if meant else token.text)
    return " ".join(words).replace(" . ", ".")
