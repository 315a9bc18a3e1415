"""The process that members are forked from.

Its command line is `python -m labkit.cluster.engines.postgresql.members LOGS`.

For root it takes `UID:GID` as well: the user to become before the first configuration is read. It
imports Patroni once and forks one child for each configuration file that it reads from its standard
input, which saves about half a second of processor time and 30 MB a node against starting each
alone. Answers each line with the child's pid, and ends at the end of its input; the children live
on by themselves.

Patroni is changed in seven small ways, each for this lab only:

- The floors of ttl, loop_wait and retry_timeout (20, 1, 3 seconds) are lowered. They protect
  clusters whose machines pause for seconds; here they would make every failover take half a
  minute. 5/1/2 is the lowest that can still elect (loop_wait + 2 x retry_timeout <= ttl).
- Requests to other members' REST API say which region they come from, so that the WAN can delay
  them.
- A warning about hardware watchdogs, logged every second with so short a ttl, is left out.
- PostgreSQL is started by a forked helper instead of a fresh Python that imports Patroni again
  ("spawn", which Patroni uses to run on Windows too): nine of those cost four seconds of
  processor time at every start.
- PostgreSQL's initdb and its single-user mode do not run as a user without a name, which root's
  labs have: the first data directory is made before (`first_data`), and a crashed server recovers
  by an ordinary start that nobody else can reach.
- What it looks for in its own folder later is looked for before root's rights are dropped.
- The REST API answers those only who know its password, questions too, and takes no orders at all.
  The password is sent in every health check, so a stranger who gets hold of the port of a node that
  is down learns it; it must be of no use to change anything. labkit gives orders through etcd.
"""

from __future__ import annotations

import functools
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from labkit.privileges import become_with_imports

FIRST_DATA = ".first"
"""What a data directory that was made for a member is called before the member takes it."""

LOWEST = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}
"""Seconds; see above."""

LATER = (
    "_strptime",
    "encodings.idna",
    "multiprocessing.popen_fork",
    "patroni.config_generator",
    "patroni.postgresql.mpp.citus",
    "patroni.thread_pool",
    "patroni.validator",
    "patroni.watchdog.linux",
    "setproctitle",
    "traceback",
)
"""What a member imports after its first seconds; its log names what is missing here
(`labkit.privileges.LateImports`)."""


def adapt_patroni() -> None:
    """Change the imported Patroni as the module says."""
    import multiprocessing
    from types import SimpleNamespace

    import patroni.postgresql.postmaster as postmaster
    from patroni.api import RestApiHandler
    from patroni.config import Config
    from patroni.request import PatroniRequest

    floor = "_Config__get_and_maybe_adjust_int_value"
    stock_floor = getattr(Config, floor)
    stock_reload = PatroniRequest.reload_config
    stock_parse = RestApiHandler.parse_request

    def lower_floor(self: Any, config: dict[str, Any], param: str, min_value: int) -> Any:
        return stock_floor(self, config, param, LOWEST.get(param, min_value))

    def reload_with_region(self: Any, config: Any) -> None:
        stock_reload(self, config)
        region = config.get("tags", {}).get("region", "")
        self._pool.headers = {**self._pool.headers, "X-Region": region}

    def parse_known(self: Any) -> bool:
        if not stock_parse(self):
            return False
        if self.server.check_auth_header(self.headers.get("Authorization")):
            self.close_connection = True
            self.write_response(401, "the password is missing or wrong")
            return False
        if self.command.partition("_")[0] not in ("GET", "HEAD", "OPTIONS"):
            self.close_connection = True
            self.write_response(403, "orders are given through etcd")
            return False
        return True

    setattr(Config, floor, lower_floor)
    RestApiHandler.parse_request = parse_known
    PatroniRequest.reload_config = reload_with_region
    forking = multiprocessing.get_context("fork")
    postmaster.multiprocessing = SimpleNamespace(get_context=lambda _method: forking)
    logging.getLogger("patroni.watchdog.base").addFilter(
        lambda record: not str(record.msg).startswith("Watchdog not supported")
    )


def do_without_a_name() -> None:
    """Change the imported Patroni so that its user needs no entry in /etc/passwd."""
    from patroni.postgresql import Postgresql
    from patroni.postgresql.rewind import Rewind

    def take_first_data(self: Any, *_options: str, **_more: Any) -> bool:
        data = Path(self.data_dir)
        data.with_name(FIRST_DATA).rename(data)
        return True

    def recover(
        self: Any, communicate: dict[str, Any] | None = None, options: dict[str, str] | None = None
    ) -> int:
        # it must listen somewhere: in its data directory, which nobody else can reach
        nobody_else = {"listen_addresses": "", "unix_socket_directories": "."}
        settings = {**(options or {}), **nobody_else, "autovacuum": "off"}
        words = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        if communicate is not None:
            communicate.update(stdout=b"", stderr=b"")
        pg_ctl = self._postgresql.pg_ctl
        done = pg_ctl("start", "-sw", "-o", shlex.join(words)) and pg_ctl("stop", "-sw")
        return int(not done)

    Postgresql.initdb = take_first_data
    Rewind.single_user_mode = recover


def import_all() -> None:
    """Import what Patroni and Python import later, when it may lie out of reach."""
    import importlib

    from patroni import dcs, dynamic_loader

    for name in LATER:
        importlib.import_module(name)
    sys.modules.setdefault("psycopg2", None)  # type: ignore[arg-type] # not looked for again
    # Patroni lists its folders to see which modules it has
    remembering = functools.cache(dynamic_loader.iter_modules)
    for package in ("patroni.dcs", "patroni.postgresql.mpp"):
        remembering(package)
    dynamic_loader.iter_modules = dcs.iter_modules = remembering


def run_member(config: Path, log: Path) -> None:
    """Be one member: log into `log`, run Patroni, never return."""
    from patroni.__main__ import main
    from setproctitle import setproctitle

    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor, number in ((nothing, 0), (written, 1), (written, 2)):
        os.dup2(descriptor, number)
    os.close(nothing)
    os.close(written)
    # libpq tools that Patroni starts (pg_basebackup, pg_rewind) dial other members: the WAN
    # knows their region by this name
    os.environ["PGAPPNAME"] = config.stem
    setproctitle(f"labkit patroni {config.stem}")
    sys.argv = ["patroni", str(config)]
    status = 1
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Fork a member for each configuration file named on standard input."""
    import gc

    # what a member needs in its first seconds, imported once for all
    import patroni.__main__
    import patroni.api
    import patroni.dcs.etcd3
    import patroni.ha
    import patroni.postgresql  # noqa: F401

    adapt_patroni()
    if len(sys.argv) > 2:
        do_without_a_name()
    import_all()
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, the shared pages
    logs = Path(sys.argv[1])
    if len(sys.argv) > 2:
        become_with_imports(sys.argv[2])
    for line in sys.stdin:
        config = Path(line.rstrip("\n"))
        pid = os.fork()
        if pid == 0:
            run_member(config, logs / f"{config.stem}.log")
        print(pid, flush=True)


if __name__ == "__main__":
    main()
