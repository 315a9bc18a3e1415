"""How a command ends: its exit code, and errors as one line instead of a traceback."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from labkit.errors import BadInput, LabError


class Exit(IntEnum):
    """The exit codes, the same for every command; `labkit run` and `demo` have their own."""

    OK = 0
    NO = 1
    """What was asked about is false: not in service, did not bite, will not run here."""
    USAGE = 2
    """The command line is refused; nothing was changed."""
    COULD_NOT = 3
    """It could not be done; the message says why and what to do next."""
    INTERRUPTED = 130
    """Ctrl-C. What was started has been stopped."""


def complain(message: object) -> None:
    """One line on standard error."""
    typer.echo(f"labkit: {message}", err=True)


class Commands(TyperGroup):
    """The commands. What they raise on purpose becomes one line and an exit code.

    Everything else is a bug and keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BadInput as error:
            complain(error)
            raise typer.Exit(Exit.USAGE) from error
        except LabError as error:
            complain(error)
            raise typer.Exit(Exit.COULD_NOT) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            complain(f"the disk is full ({error}): free some space, then repeat the command")
            raise typer.Exit(Exit.COULD_NOT) from error
        except KeyboardInterrupt as error:
            complain("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from error
