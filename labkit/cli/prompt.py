"""A small SQL prompt, for machines without psql."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labkit import libpq

WELCOME = "No psql here, so this is a small prompt: end a statement with ;  leave with Ctrl-D."


def prompt(url: str) -> None:
    """Read statements from the terminal, run each by itself, and print its result.

    The prompt reports a statement that fails, and goes on. It replaces a lost connection.

    Raises:
        psycopg.OperationalError: the first connection cannot be made.
    """
    with suppress(ImportError):  # a Python without it has no line editing
        import readline  # noqa: F401

    connection = libpq.connect(url, autocommit=True)
    typer.echo(WELCOME)
    for statement in _statements():
        try:
            if connection.closed:
                connection = libpq.connect(url, autocommit=True)
                typer.echo("connected again")
            run(connection, statement)
        except psycopg.Error as error:
            Console(stderr=True).print(f"[red]{escape(str(error).strip())}[/]", highlight=False)
    connection.close()


def _statements() -> Iterator[str]:
    """Yield each text up to a semicolon at the end of a line; Ctrl-C drops an unfinished one."""
    lines: list[str] = []
    while True:
        try:
            lines.append(input("...> " if lines else "sql> "))
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            lines.clear()
            typer.echo()
            continue
        if lines[-1].rstrip().endswith(";"):
            yield "\n".join(lines)
            lines.clear()
        elif not "".join(lines).strip():
            lines.clear()


def run(connection: psycopg.Connection[Any], statement: str) -> None:
    """Run one statement, or several in one text, and print each result.

    Raises:
        psycopg.Error: a statement failed.
    """
    console = Console()
    cursor = connection.execute(statement.encode())
    while True:
        if cursor.description is None:
            console.print(cursor.statusmessage, highlight=False, markup=False)
        else:
            table = Table(*(escape(column.name) for column in cursor.description))
            for row in cursor:
                table.add_row(*("" if value is None else escape(str(value)) for value in row))
            console.print(table)
        if not cursor.nextset():
            return
