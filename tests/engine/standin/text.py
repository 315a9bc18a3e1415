"""SQL text as tokens, enough to tell statements apart and to rewrite parts of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .errors import SqlError

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    | (?P<comment>/\*.*?\*/)
    | (?P<string>\$(?P<tag>[A-Za-z_]\w*)?\$.*?\$(?P=tag)?\$ | [eE]'(?:[^'\\]|\\.|'')*'
        | [bBxX]?'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<parameter>\$\d+)
    | (?P<number>\d+(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<operator>::|->>?|\#>>?|\|\||<=|>=|<>|!=|@>|<@|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL; `start` and `end` are offsets in its text."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """The word in capitals; empty for what cannot be a keyword."""
        return self.text.upper() if self.kind == "word" else self.text if self.is_sign else ""

    @property
    def is_sign(self) -> bool:
        return self.kind == "operator"

    @property
    def name(self) -> str:
        """What it names, if it is a name."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        return self.text.lower()

    @property
    def literal(self) -> str:
        """The value of a string, else the text."""
        if self.kind == "string" and self.text.startswith("'"):
            return self.text[1:-1].replace("''", "'")
        return self.text


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Attributes:
        text: as sent, without the semicolon.
        tokens: offsets are those in `text`.
    """

    text: str
    tokens: tuple[Token, ...]

    def starts(self, *words: str) -> bool:
        return tuple(t.upper for t in self.tokens[: len(words)]) == words

    def find(self, *words: str, start: int = 0) -> int:
        """The index of the first token of these words in a row, outside brackets; -1: none."""
        depth = 0
        for i, token in enumerate(self.tokens):
            if (
                i >= start
                and depth == 0
                and tuple(t.upper for t in self.tokens[i : i + len(words)]) == words
            ):
                return i
            depth += (token.text in "([") - (token.text in ")]") if token.is_sign else 0
        return -1


def tokens(text: str) -> list[Token]:
    """The tokens of a text; spaces and comments are left out."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "operator"
        if match["string"] is not None:
            kind = "string"
        if kind not in ("space", "comment"):
            if kind == "operator" and match[0] in "'\"":
                raise SqlError("42601", f"unterminated string at or near {match[0]!r}")
            found.append(Token(kind, match[0], match.start(), match.end()))
    return found


@lru_cache(maxsize=1000)  # clients say the same again and again
def split(text: str) -> tuple[Statement, ...]:
    """The statements of a text; empty ones are left out."""
    statements: list[Statement] = []
    current: list[Token] = []
    for token in [*tokens(text), Token("operator", ";", len(text), len(text))]:
        if token.text != ";" or not token.is_sign:
            current.append(token)
            continue
        if current:
            start = current[0].start
            shifted = tuple(Token(t.kind, t.text, t.start - start, t.end - start) for t in current)
            statements.append(Statement(text[start : current[-1].end], shifted))
        current = []
    return tuple(statements)


def replaced(statement: Statement, edits: Sequence[tuple[int, int, str]]) -> str:
    """The text with tokens replaced.

    Args:
        edits: (index of the first token, index after the last, what to write instead).
    """
    text, at = "", 0
    for first, after, new in sorted(edits):
        text += statement.text[at : statement.tokens[first].start] + new
        at = statement.tokens[after - 1].end
    return text + statement.text[at:]


def closing(parts: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`.

    Raises:
        SqlError: nothing closes it.
    """
    depth = 0
    for i in range(opening, len(parts)):
        if parts[i].is_sign and parts[i].text in "([":
            depth += 1
        elif parts[i].is_sign and parts[i].text in ")]":
            depth -= 1
            if depth == 0:
                return i
    raise SqlError("42601", "syntax error: a bracket is not closed")


def listed(parts: Sequence[Token]) -> list[list[Token]]:
    """Parts split at the commas outside brackets."""
    items: list[list[Token]] = [[]]
    depth = 0
    for token in parts:
        if token.is_sign and token.text in "([":
            depth += 1
        elif token.is_sign and token.text in ")]":
            depth -= 1
        if depth == 0 and token.is_sign and token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return items


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
