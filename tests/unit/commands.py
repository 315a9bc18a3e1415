"""Running a command in this process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from labkit.cli.app import app


def labkit(*arguments: str) -> Any:
    """Run a command; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False, prog_name="labkit")


class Became(Exception):  # noqa: N818
    """The process turned into another program."""
