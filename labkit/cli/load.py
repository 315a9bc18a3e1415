"""The command that drives a workload from every region: `labkit load`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from labkit.assets import asset
from labkit.cli import completion
from labkit.cli.outcome import Exit, complain
from labkit.cli.show import AsJson, console, counted, new_table, print_json
from labkit.cli.targets import region_named, running_lab
from labkit.errors import BadInput, ClusterError, LabMismatch

if TYPE_CHECKING:
    import pandas as pd

    from labkit.history import History
    from labkit.workload.classes import ClassWorkload
    from labkit.workload.running import RunningWorkload

LINE_EVERY_S = 1.0
LOOK_EVERY_S = 0.1
COLUMN = 28
MOST_SECONDS = 366 * 86_400
"""A year; a load without `--duration` goes on until Ctrl-C."""

SPARE_CONNECTIONS = 10
"""So many of the primary's connections are kept for the lab's own probes and other programs."""


class Kind(StrEnum):
    """The name of a class of `workloads/`."""

    ACCOUNTS = "accounts"
    ORDERS = "orders"


@dataclass(frozen=True, slots=True)
class Loop:
    """A description of one loop of a workload.

    Attributes:
        unit: the thing that a line counts, one per loop.
        counted: the function that does it, whose latency is shown; if empty, every call counts.
        does: what the other functions of the loop do.
    """

    unit: str
    counted: str
    does: str


LOOPS = {
    Kind.ORDERS: Loop("orders", "place_order", "each is placed, and then orders are processed"),
    Kind.ACCOUNTS: Loop(
        "accounts",
        "create_account",
        "each is opened, gets a deposit, and its customer looks a price up",
    ),
}

OF_YOUR_OWN = Loop("loops", "", "each call of its functions counts")


def _chosen(workload: str) -> tuple[Path, Loop]:
    """Find the class by its name: `orders`, `accounts`, or a Python file.

    Raises:
        BadInput: there is no such class.
    """
    if workload in LOOPS:
        return asset("workloads", f"trade_{workload}.py"), LOOPS[Kind(workload)]
    path = Path(workload)
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(
            f"no workload {workload!r}: say {', '.join(LOOPS)}, or a Python file with a class of "
            "your own (docs/workloads.md)"
        )
    return path, OF_YOUR_OWN


def load(
    context: typer.Context,
    workload: Annotated[
        str,
        typer.Argument(
            autocompletion=completion.workloads,
            help="`orders`, `accounts`, or a Python file with a class of your own.",
        ),
    ],
    region: Annotated[
        str | None,
        typer.Option(
            autocompletion=completion.regions,
            help="From this region alone (default: from every region).",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Loops a second, all regions together, sent by schedule whatever the replies "
            "(default: 60)."
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            envvar="CONCURRENCY",
            help="Customers a region, each waiting for the last reply before the next loop.",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(envvar="DURATION", help="Seconds (default: until Ctrl-C)."),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(envvar="ITERATIONS", help="Loops, all regions together (default: no end)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drive a workload through each region's balancer, with a line per second and a summary.

    Ctrl-C ends the load and prints the summary.
    """
    from labkit.measurement.windows import is_ok
    from labkit.workload.base import MOST_A_SECOND, MOST_CUSTOMERS, MOST_ITERATIONS, in_short
    from labkit.workload.classes import ClassWorkload

    source = context.get_parameter_source("concurrency")
    if rate is not None and source is not None and source.name == "ENVIRONMENT":
        concurrency = None  # what is typed counts more
    if rate is not None and concurrency is not None:
        raise BadInput("--rate and --concurrency: send by schedule or by reply, choose one")
    for name, number, most in (
        ("rate", rate, MOST_A_SECOND),
        ("concurrency", concurrency, MOST_CUSTOMERS),
        ("duration", duration, MOST_SECONDS),
        ("iterations", iterations, MOST_ITERATIONS),
    ):
        if number is not None and not 0 < number <= most:
            raise BadInput(
                f"--{name} {in_short(number)}: it must be above 0 and at most {most:,.0f}"
            )
    file, loop = _chosen(workload)
    cluster = running_lab()
    regions = cluster.topology.region_names
    if region is not None:
        regions = (region_named(cluster, region),)
    chosen = ClassWorkload(
        file=file,
        rate_per_s=rate,
        concurrency=concurrency,
        iterations=iterations,
        regions=regions,
    )
    _require_room(concurrency, regions, _connections_taken(cluster.dsn(regions[0])))
    interrupted = False
    with (
        tempfile.TemporaryDirectory(prefix="labkit-load-") as folder,
        chosen.start(cluster, Path(folder)) as running,
    ):
        out = console(stderr=True)
        out.print(Text(f"{workload}: {_how_much(chosen, loop)}; {loop.does}"), soft_wrap=True)
        out.print(
            Text(
                f"a line a second: {loop.unit} acknowledged a second, p50 and slowest; failed calls"
            ),
            soft_wrap=True,
        )
        try:
            _watch(running, loop, duration)
        except KeyboardInterrupt:
            interrupted = True
        history = running.stop()
    _print_summary(history, as_json)
    if interrupted and (duration or iterations):  # else there was no other way to end it
        raise typer.Exit(Exit.INTERRUPTED)
    if not is_ok(history.ops).any():
        complain("nothing was acknowledged: `labkit status` says what is out of service")
        raise typer.Exit(Exit.NO)


def _how_much(chosen: ClassWorkload, loop: Loop) -> str:
    if chosen.concurrency is not None:
        return f"{chosen.concurrency:g} customers a region"
    return f"{chosen.rate_per_s:g} {loop.unit} a second from all regions together"


def _connections_taken(dsn: str) -> int | None:
    """Ask how many connections the database takes; None if it has no limit or does not answer.

    Raises:
        LabMismatch: the database holds another version of the trading schema.
        ClusterError: it holds no trading schema.
    """
    import psycopg

    from labkit import libpq
    from labkit.trading import schema
    from labkit.trading.engines import MAX_CONNECTIONS

    try:
        loaded = schema.loaded(dsn)
    except LabMismatch:
        raise
    except ClusterError:
        return None  # an outage, which the load is there to show
    if not loaded:
        raise ClusterError("the lab has no trading schema: `labkit up` loads it")
    try:
        with libpq.connect(dsn, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute(MAX_CONNECTIONS).fetchone()
            takes = int(row[0]) if row else 0
            return takes if takes > 0 else None
    except (psycopg.Error, ValueError):
        return None


def _require_room(concurrency: int | None, regions: Sequence[str], takes: int | None) -> None:
    """Refuse more customers than the primary has connections for.

    Raises:
        BadInput: the message says how many there may be.
    """
    if concurrency is None or takes is None:
        return
    most = max(1, (takes - SPARE_CONNECTIONS) // len(regions))
    if concurrency > most:
        raise BadInput(
            f"--concurrency {concurrency}: at most {most}, since the primary takes {takes} "
            f"connections, {SPARE_CONNECTIONS} of them are kept for others, and customers come "
            f"from {counted(len(regions), 'region')}"
        )


def _watch(running: RunningWorkload, loop: Loop, duration_s: float | None) -> None:
    """Print a line per second on standard error until the load is over.

    A line counts the calls that ended since the line before, over the time that has really passed.
    After a pause of this process or of the machine, one line stands for the whole pause.
    """
    import pandas as pd

    out = console(stderr=True)
    heading = "".join(region.ljust(COLUMN) for region in running.regions)
    out.print(Text(f"{'':10}{heading}", "bold"), soft_wrap=True)
    begun_s = line_s = monotonic()
    recent: list[pd.DataFrame] = []
    while not running.ended and (duration_s is None or monotonic() < begun_s + duration_s):
        sleep(LOOK_EVERY_S)
        running.check()
        recent.append(running.poll())
        now_s = monotonic()
        if now_s >= line_s + LINE_EVERY_S:
            line = _line(
                now_s - begun_s, now_s - line_s, pd.concat(recent), running.regions, loop.counted
            )
            out.print(line, soft_wrap=True)
            line_s = now_s
            recent.clear()


def _line(
    at_s: float, over_s: float, ops: pd.DataFrame, regions: Sequence[str], counted: str
) -> Text:
    """Write the line of the calls that ended in the last `over_s` seconds, region by region.

    Args:
        counted: the function that counts and whose latency is shown; calls of every function that
            failed are counted beside it.
    """
    from labkit.measurement.percentiles import nearest_rank
    from labkit.measurement.windows import is_ok, latency_s

    line = Text(f"{at_s:6.0f} s  ")
    for region in regions:
        here = ops[ops["region"] == region]
        ok = is_ok(here)
        done = ok & (here["kind"] == counted) if counted else ok
        cell = f"{done.sum() / over_s:.0f}/s"
        if done.any():
            took_ms = latency_s(here)[done] * 1000
            cell += f"  {nearest_rank(took_ms, 50):.0f}, {took_ms.max():.0f} ms"
        failed = f"  {(~ok).sum()} failed" if not ok.all() else ""
        line.append(cell)
        line.append(failed, "red")
        line.append(" " * (COLUMN - len(cell) - len(failed)))
    return line


def _print_summary(history: History, as_json: bool) -> None:
    from labkit.measurement.load import error_counts, throughput

    rows = throughput(history.ops, history.regions)
    errors = error_counts(history.ops)
    if as_json:
        print_json(
            {"throughput": [asdict(row) for row in rows], "errors": [asdict(row) for row in errors]}
        )
        return
    out = console()
    table = new_table("region", "what", "ok", "a second", "p50", "p99", "max", "fail", "unknown")
    for row in rows:
        latencies = (_ms(value) for value in (row.p50_ms, row.p99_ms, row.max_ms))
        counts = (f"{row.fail:,}" if row.fail else "", f"{row.info:,}" if row.info else "")
        table.add_row(
            row.region, row.kind, f"{row.ok:,}", f"{row.ok_per_s:.1f}", *latencies, *counts
        )
    out.print(table if rows else "Nothing was sent.")
    if errors:
        table = new_table("error", "SQLSTATE", "outcome", "count")
        for error in errors:
            table.add_row(error.error, error.sqlstate, error.outcome, f"{error.count:,}")
        out.print(table)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"
