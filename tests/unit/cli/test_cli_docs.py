"""The commands are those that docs/cli.md describes, options included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from labkit.cli.app import app

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


def commands(command: Any, path: str = "labkit") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def sections() -> dict[str, str]:
    """The text under each heading that is a command."""
    parts = re.split(r"^##+ `(labkit[^`]*)`$", DOCS.read_text(), flags=re.MULTILINE)
    return {
        name: text.split("\n## ")[0] for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_docs_have_a_section_for_every_command_and_no_other() -> None:
    assert sections().keys() == {path for path, _ in commands(typer.main.get_command(app))}


def test_docs_name_every_option_and_no_other() -> None:
    docs = sections()
    for path, command in commands(typer.main.get_command(app)):
        options = {
            option
            for param in command.params
            for option in (*param.opts, *param.secondary_opts)
            if option.startswith("-")
        } - {"--help", "-h"}
        listed = "\n".join(re.findall(r"^- .*?:?(?:`[^`]*`[, ]*)+", docs[path], re.MULTILINE))
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", listed)) == options, path
