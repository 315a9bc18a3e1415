"""The environment of labkit's own processes: what the user set for other programs is not in it.

A lab's servers have next to nothing (`of_servers`). The command line, the processes that it starts
and the kernels of `labkit run` and `labkit desk` keep the user's environment without what would
change them (`drop_foreign`). A program that imports labkit keeps all of it; what labkit starts from
there begins without it again.
"""

from __future__ import annotations

import io
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PYTHON_SWITCHES = frozenset(
    {
        "PYTHONBREAKPOINT",
        "PYTHONDEVMODE",
        "PYTHONINSPECT",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONOPTIMIZE",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONSTARTUP",
        "PYTHONTRACEMALLOC",
        "PYTHONWARNINGS",
    }
)
"""They change how every Python behaves. Where its modules are (PYTHONPATH) is left alone: a user's
notebook may need it."""

STACK_BYTES = 8 << 20
"""The usual soft limit of the stack. PostgreSQL does not start with 512 KiB."""

FOR_SERVERS = ("LABKIT_", "LOGNAME", "PATH", "TMPDIR", "USER")
"""All that a lab's servers see of the user's environment: names, and beginnings of names that end
with an underscore."""


FOLDERS = ("LABKIT_HOME", "LABKIT_RUNS", "LABKIT_NOTEBOOKS")
"""Variables that name a folder as the user types it; a kernel runs in another than the user."""


def of_programs(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment without libpq's variables and Python's switches.

    What is dialled on this machine is not dialled through a proxy.
    """
    there = os.environ if environment is None else environment
    kept = {
        name: value
        for name, value in there.items()
        if not name.startswith("PG") and name not in PYTHON_SWITCHES
    }
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, [there.get(name, ""), "127.0.0.1", "localhost"]))
    return kept


def of_servers(extra: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of a lab's servers.

    Their time zone is UTC, whatever the user's is: what one of them logs is read by any command.
    Their letters are UTF-8: Python 3.11 reads by the locale where its packages are, and ends when
    a folder's name has a letter that the locale lacks.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in FOR_SERVERS or name.startswith(tuple(n for n in FOR_SERVERS if n[-1] == "_"))
    }
    return {**kept, "LC_CTYPE": "C.UTF-8", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1", **extra}


def drop_foreign() -> None:
    """Let this process, and what it starts, go on in an environment of labkit's own.

    For processes that belong to labkit. Files that it makes can be read by their owner whatever the
    umask is, and it may open as many as the hard limit allows. What it prints it prints in any
    locale.
    """
    own = of_programs()
    if "PYTHONWARNINGS" in os.environ:
        # it may turn any library's warning into an error
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks becomes a "?"
            stream.reconfigure(errors="replace")
    _raise(resource.RLIMIT_NOFILE)
    _raise(resource.RLIMIT_STACK, STACK_BYTES)
    for name in [name for name in os.environ if name not in own]:
        del os.environ[name]
    os.environ.update(own)
    for name in filter(os.environ.get, FOLDERS):
        # of a user who is not there, `~name` stays as it is, as in a shell
        folder = Path(os.path.expanduser(os.environ[name]))  # noqa: PTH111
        with suppress(FileNotFoundError):  # the current folder is gone; whoever needs it says so
            os.environ[name] = str(folder.absolute())
    os.umask(os.umask(0o077) & 0o077)


def _raise(which: int, enough: int | None = None) -> None:
    """Raise a soft limit of this process to what is enough, or as far as the hard limit allows."""
    soft, hard = resource.getrlimit(which)
    wanted = hard
    if enough is not None:
        wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or soft < wanted):
        with suppress(ValueError, OSError):  # macOS allows fewer than it says
            resource.setrlimit(which, (wanted, hard))
