"""Text from outside, such as a folder's name or a label in a file, made safe to print.

A terminal obeys control sequences, rich obeys its markup, and a newline begins a row that nobody
wrote. Whatever prints such text in lines, tables, figures and pages prints it through here. (JSON
needs nothing: its encoder escapes what it must.)
"""

from __future__ import annotations

import html
import unicodedata
from typing import Any

from rich.table import Table
from rich.text import Text

LONGEST = 2000
"""Characters of one text that are printed; a label of a megabyte is no help to anybody."""

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of what is obeyed and not shown: controls, marks that reverse the direction
of writing, halves of characters (bytes of a name that is no UTF-8), ends of lines, paragraphs."""


def plain(text: object, longest: int = LONGEST) -> str:
    r"""Show control characters as escapes (`\x1b`, `\n`), and shorten what is too long."""
    words = str(text)
    if len(words) > longest:
        words = f"{words[: longest - 1]}…"
    if words.isascii() and words.isprintable():
        return words
    return "".join(map(_shown, words))


def one_line(text: object, longest: int = LONGEST) -> str:
    """Join the lines of a message, such as a server's, and make the rest `plain`."""
    return plain(" ".join(str(text)[: 2 * longest].split("\n")).strip(), longest)


def escape(text: object) -> str:
    """Write a text as HTML that shows it, and as the markup of plotly's texts."""
    return html.escape(plain(text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()


class PlainTable(Table):
    """A table whose texts are only text: no markup, no control characters.

    A cell that is a `Text` may have lines of its own; a string is one line.
    """

    def add_column(self, header: object = "", *args: Any, **options: Any) -> None:
        """Add a column under a heading of any text."""
        super().add_column(_cell(header), *args, **options)

    def add_row(self, *cells: object, **options: Any) -> None:
        """Add a row of texts: control characters are escaped and markup is not interpreted."""
        super().add_row(*map(_cell, cells), **options)


def _cell(content: object) -> Text:
    if isinstance(content, Text):
        content.plain = "\n".join(plain(line) for line in content.plain.split("\n"))
        return content
    return Text(plain(content))
