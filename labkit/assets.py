"""Locations of files: those that ship beside the package, and those that runs leave.

What ships is at the top of a checkout, and under share/ in a wheel.
"""

from __future__ import annotations

import os
from pathlib import Path

from labkit.errors import BadInput

_PACKAGE = Path(__file__).resolve().parent


def asset(*parts: str) -> Path:
    """Locate a file or folder that ships with labkit, such as `asset("sql", "postgresql")`.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for base in (_PACKAGE.parent, _PACKAGE / "share"):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"labkit ships {'/'.join(parts)}, but this installation lacks it")


def runs_folder() -> Path:
    """Name the folder of runs: LABKIT_RUNS, else `runs` in the checkout or the current folder."""
    chosen = os.environ.get("LABKIT_RUNS")
    if chosen:
        # of a user who is not there, `~name` stays as it is, as in a shell
        return Path(os.path.expanduser(chosen)).absolute()  # noqa: PTH111
    above = _PACKAGE.parent
    return (above if (above / "pyproject.toml").exists() else Path.cwd()) / "runs"


def require_runs_folder() -> None:
    """Refuse to begin what would end in a run folder that cannot be made.

    Raises:
        BadInput: the folder of runs, or the one that it would be made in, is not to be written to.
    """
    folder = runs_folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise BadInput(
            f"runs are kept in {folder}, and {there} cannot be written to: "
            "set LABKIT_RUNS to a folder of your own"
        )
