"""`python -m labkit.wan PLAN.json`: run the WAN until SIGTERM or SIGINT.

Prints "ready" when every port is bound. Ends with 0 when told to, with 1 and one line on
standard error when it cannot start. Link changes and refused diallers are logged there too.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import secrets
import signal
import sys
from pathlib import Path

from labkit.errors import LabError
from labkit.wan.control import ControlServer
from labkit.wan.plan import Plan
from labkit.wan.proxy import Proxy

OPEN_FILES = 65_536


async def run(plan: Plan) -> None:
    """Serve a plan until SIGTERM or SIGINT.

    Raises:
        PortInUse: a port is taken; names it and its listener.
        ClusterError: a port cannot be bound for another reason.
    """
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    proxy = Proxy(plan)
    control = ControlServer(plan, proxy)
    try:
        await proxy.listen()
        await control.listen()
        print("ready", flush=True)
        await told_to_stop.wait()
    finally:
        control.close()
        proxy.close()


def raise_open_files_limit() -> None:
    """Each connection takes two files; a long cut gathers many, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def become(user: str) -> None:
    """Drop root's rights, with all imported that is needed later, when it may lie out of reach."""
    import encodings.idna  # noqa: F401 - asyncio asks for it when it resolves a host

    from labkit.privileges import become_with_imports

    become_with_imports(user)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m labkit.wan", description=__doc__)
    parser.add_argument("plan", type=Path, help="a file as labkit.wan.plan.Plan.save writes it")
    parser.add_argument(
        "--token-variable",
        metavar="NAME",
        help="take the token from this environment variable instead of the file; when it is "
        "empty, nobody can use the control API",
    )
    parser.add_argument("--run-as", metavar="UID:GID", help="drop root's rights for this user's")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    raise_open_files_limit()
    if arguments.run_as:
        become(arguments.run_as)
    try:
        asyncio.run(run(Plan.load(arguments.plan, _token(arguments.token_variable))))
    except LabError as error:
        print(f"labkit.wan: {error}", file=sys.stderr)
        return 1
    return 0


def _token(variable: str | None) -> str | None:
    """Read the token from an environment variable, or draw one at random."""
    if variable is None:
        return None
    return os.environ.get(variable) or secrets.token_urlsafe(24)


if __name__ == "__main__":
    sys.exit(main())
