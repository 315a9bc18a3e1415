"""`labkit load`: the workloads of `workloads/`, from every region, until told otherwise."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

import labkit.cluster
from labkit.assets import asset
from labkit.cli import completion
from labkit.cli.outcome import Exit
from labkit.cli.show import AsJson, console, new_table, print_json
from labkit.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from labkit.history import History
    from labkit.workload.running import RunningWorkload

LINE_EVERY_S = 1.0
LOOK_EVERY_S = 0.1
COLUMN = 28


class Kind(StrEnum):
    """Which class of `workloads/`."""

    ACCOUNTS = "accounts"
    ORDERS = "orders"


def load(
    context: typer.Context,
    workload: Annotated[Kind, typer.Argument(help="Open accounts, or place orders.")],
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
    """Drive a workload through each region's balancer, with a line a second and a summary.

    Ctrl-C ends it, with the summary.
    """
    from labkit.workload.classes import ClassWorkload

    source = context.get_parameter_source("concurrency")
    if rate is not None and source is not None and source.name == "ENVIRONMENT":
        concurrency = None  # what is typed counts more
    if rate is not None and concurrency is not None:
        raise BadInput("--rate and --concurrency: send by schedule or by reply, choose one")
    numbers = {
        "rate": rate,
        "concurrency": concurrency,
        "duration": duration,
        "iterations": iterations,
    }
    for name, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise BadInput(f"--{name} {number:g}: it must be positive")
    chosen = ClassWorkload(
        file=asset("workloads", f"trade_{workload}.py"),
        rate_per_s=rate,
        concurrency=concurrency,
        iterations=iterations,
        regions=None if region is None else (region,),
    )
    cluster = labkit.cluster.attach()
    interrupted = False
    with (
        tempfile.TemporaryDirectory(prefix="labkit-load-") as folder,
        chosen.start(cluster, Path(folder)) as running,
    ):
        console(stderr=True).print(Text(f"{workload}: {chosen.load}"))
        try:
            _watch(running, duration)
        except KeyboardInterrupt:
            interrupted = True
        history = running.stop()
    _print_summary(history, as_json)
    if interrupted and (duration or iterations):  # else there was no other way to end it
        raise typer.Exit(Exit.INTERRUPTED)


def _watch(running: RunningWorkload, duration_s: float | None) -> None:
    """A line a second on standard error, until it is over."""
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
        if monotonic() >= line_s + LINE_EVERY_S:
            line_s += LINE_EVERY_S
            out.print(_line(line_s - begun_s, pd.concat(recent), running.regions), soft_wrap=True)
            recent.clear()


def _line(at_s: float, ops: pd.DataFrame, regions: tuple[str, ...]) -> Text:
    """What ended in the last second, region by region."""
    from labkit.measurement.percentiles import nearest_rank
    from labkit.measurement.windows import is_ok, latency_s

    line = Text(f"{at_s:6.0f} s  ")
    for region in regions:
        here = ops[ops["region"] == region]
        ok = is_ok(here)
        cell = f"{ok.sum()}/s"
        if ok.any():
            took_ms = latency_s(here)[ok] * 1000
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
