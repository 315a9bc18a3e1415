"""The end of a command: its exit code, and errors as one line instead of a traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from labkit.errors import BadInput, LabError
from labkit.plain import one_line

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""The error of a command line that typer refuses; typer does not export its name."""


class Exit(IntEnum):
    """The exit code of a command; that of `labkit run` and `demo` also tells the verdict."""

    OK = 0
    NO = 1
    """What was asked about is false: not in service, no effect, will not run here."""
    USAGE = 2
    """The command line is refused; nothing was changed."""
    COULD_NOT = 3
    """It could not be done; the message says why and what to do next."""
    INTERRUPTED = 130
    """Ctrl-C. What was started has been stopped."""


def complain(message: object) -> None:
    """Print one line on standard error."""
    typer.echo(f"labkit: {one_line(message)}", err=True)


class Commands(TyperGroup):
    """A group of commands that prints a foreseen error as one line, and ends with its exit code.

    Foreseen are the errors of labkit itself, and whatever the machine, the database or the command
    line refuses. Every other error is a bug and keeps its traceback.
    """

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the options that stand before a command."""
        with _told():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    """Print a foreseen error as one line, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        complain(interrupted(error))
        raise typer.Exit(Exit.INTERRUPTED) from error
    except Exception as error:
        known = foreseen(error)
        if known is None:
            raise
        code, message = known
        complain(message)
        raise typer.Exit(code) from error


def foreseen(error: Exception) -> tuple[Exit, str] | None:
    """Return the exit code and the message of an error, or None for a bug."""
    match error:
        case BadInput():
            return Exit.USAGE, str(error)
        case LabError():
            return Exit.COULD_NOT, _with_notes(str(error), error)
        case UsageError() if type(error).__name__ != "NoArgsIsHelpError":  # that shows the help
            return Exit.USAGE, _refused(error)
        case OSError() if error.errno != errno.EPIPE:  # `labkit runs | head` is no error
            return Exit.COULD_NOT, of_the_machine(error)
    if (psycopg := sys.modules.get("psycopg")) and isinstance(error, psycopg.Error):
        return (
            Exit.COULD_NOT,
            f"the database: {str(error) or type(error).__name__}: `labkit status`",
        )
    return None


def interrupted(error: KeyboardInterrupt) -> str:
    """Say what Ctrl-C ended, with the notes of the code that was interrupted."""
    return _with_notes("interrupted", error)


def _with_notes(message: str, error: BaseException) -> str:
    return "; ".join([message, *getattr(error, "__notes__", ())])


def _refused(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "labkit"
    said = str(error.format_message()).rstrip(".")
    if (checked := error.__cause__) and hasattr(checked, "errors"):  # pydantic's: typer asks it
        said = said.replace("value for", f"value {checked.errors()[0]['input']!r} for", 1)
        said = said.replace("Value error, ", "")
    return f"{said}: see `{command} --help`"


def of_the_machine(error: OSError) -> str:
    """Say what the machine refused, for which file, and what to do next."""
    what = error.strerror or str(error)
    if error.errno == errno.ENOENT and error.filename is None:  # of os.getcwd alone
        return "the current folder was removed: go to another one, and repeat the command"
    where = "" if error.filename is None else f"{_path(error.filename)}: "
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full ({where}{what}): free some space{_on_disk_of(error.filename)}, then "
            "repeat the command"
        )
    return f"{where}{what}{_way_out(error)}"


def _path(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _on_disk_of(name: object) -> str:
    """Name the mount point of the file system that a file is on."""
    if not isinstance(name, str):
        return ""
    folder = Path(name).absolute()
    while not folder.is_mount():
        folder = folder.parent
    return f" on {folder}"


def _way_out(error: OSError) -> str:
    """Name the setting that moves a file of labkit to another place."""
    from labkit.assets import runs_folder
    from labkit.cluster import home

    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ": raise the limit of open files (`ulimit -n`)"
    if not isinstance(error.filename, str):
        return ""
    places = {"LABKIT_HOME": home(), "LABKIT_RUNS": runs_folder()}
    path = Path(error.filename)
    for variable, place in places.items():
        if path == place or place in path.parents or path in place.parents:
            return f": {variable} names another folder, one that you may write to"
    return ""
