"""labkit's driver beside stock dbworkload and pgbench: orders a second, CPU an order, an outage.

    python -m bench.compare

All three place the same order through the same balancer of the same lab, over as many connections.
pgbench is the ceiling: it is written in C, and neither schedules nor records nor repeats anything.
How near Python comes to it when it does nothing else either is measured too (bench/least.py).

Then the primary is killed once, under all three at the same time. What each would have told of the
outage stands beside the longest time without an order that labkit's ledger has.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from labkit.assets import asset
from labkit.cluster.base import Cluster
from labkit.cluster.engines.postgresql.cluster import EmbeddedCluster
from labkit.cluster.machines.programs import postgres
from labkit.demo import temporary_lab
from labkit.faults.signals import Kill
from labkit.history import History
from labkit.measurement.recovery import recovery, write_gap_s
from labkit.measurement.rounding import seconds
from labkit.record import FaultWindow
from labkit.topology import SurvivalGoal
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.workload.ledger import read_ledger
from labkit.workload.trading import TradingWorkload

CONNECTIONS = 8
WARM_UP_S = 3.0
MEASURED_S = 8.0
ROUNDS = 3
TIMES_DBWORKLOAD = 2.0
TIMES_PGBENCH = 0.6

BEFORE_KILL_S = 8.0
AFTER_KILL_S = 22.0
RATE_PER_S = 50.0

ORDER = """\\set account 1000001 + :client_id + :connections * random(0, :rows)
\\set symbol 1 + :client_id + :connections * random(0, :rows)
\\set sell random(0, 1)
\\set quantity random(1, 10)
SELECT * FROM place_order(gen_random_uuid(), lpad((:account)::BIGINT::TEXT, 10, '0'),
    'LK' || lpad((:symbol)::BIGINT::TEXT, 3, '0'),
    CASE (:sell)::INT WHEN 1 THEN 'sell' ELSE 'buy' END, (:quantity)::BIGINT);
"""
"""The order that labkit's workloads place, as pgbench can say it: its connections, too, have rows
of their own, so that none waits for another's lock."""


@contextmanager
def labkit(cluster: Cluster, region: str, folder: Path) -> Iterator[psutil.Process]:
    workload = TradingWorkload(concurrency=CONNECTIONS, regions=(region,), process=False)
    with workload.start(cluster, folder) as running:
        yield psutil.Process(running.pids[region])
        running.stop()


@contextmanager
def dbworkload(cluster: Cluster, region: str, folder: Path) -> Iterator[psutil.Process]:
    with ended(dbworkload_argv(cluster.dsn(region), seconds=600), folder) as process:
        yield process


@contextmanager
def pgbench(cluster: Cluster, region: str, folder: Path) -> Iterator[psutil.Process]:
    with ended(pgbench_argv(cluster.dsn(region), folder, seconds=600), folder) as process:
        yield process


@contextmanager
def least(cluster: Cluster, region: str, folder: Path) -> Iterator[psutil.Process]:
    program = Path(__file__).with_name("least.py")
    argv = [sys.executable, str(program), cluster.dsn(region), str(CONNECTIONS)]
    with ended(argv, folder) as process:
        yield process


Driver = Callable[[Cluster, str, Path], AbstractContextManager[psutil.Process]]
DRIVERS: dict[str, Driver] = {
    "labkit": labkit,
    "dbworkload": dbworkload,
    "pgbench": pgbench,
}
MEASURED = {**DRIVERS, "libpq in a loop": least}


def dbworkload_argv(dsn: str, seconds: int) -> list[str]:
    return [
        str(Path(sys.executable).with_name("dbworkload")),
        *("run", "-w", str(asset("workloads", "trade_orders.py")), "--uri", dsn),
        *("-c", str(CONNECTIONS), "-d", str(seconds), "--port", "0"),
        *("--args", '{"process": false}'),
    ]


def pgbench_argv(dsn: str, folder: Path, seconds: int) -> list[str]:
    script = folder / "order.sql"
    script.write_text(ORDER)
    rows = min(len(GENERATED_ACCOUNTS), len(GENERATED_SYMBOLS)) // CONNECTIONS - 1
    return [
        str(postgres().path.with_name("pgbench")),
        *("--no-vacuum", "--protocol=prepared", "--progress=1", f"--define=rows={rows}"),
        f"--define=connections={CONNECTIONS}",
        *(f"--client={CONNECTIONS}", "--jobs=1", f"--time={seconds}", f"--file={script}", dsn),
    ]


@contextmanager
def ended(argv: list[str], folder: Path) -> Iterator[psutil.Process]:
    """A program that is not needed any more when the block is left."""
    with (folder / "output").open("wb") as output:
        program = psutil.Popen(argv, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield program
    finally:
        for process in [*family(program), program]:
            with suppress(psutil.NoSuchProcess):  # it ended by itself
                process.kill()
        program.wait()


def family(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True) if process.is_running() else []


@dataclass(frozen=True, slots=True)
class Cost:
    """What a driver did and what it cost.

    Attributes:
        cpu_us: of all its processes, user and system, an order.
    """

    orders_per_s: float
    cpu_us: float

    @property
    def orders_per_core_s(self) -> float:
        return 1e6 / self.cpu_us


def measure(driver: Driver, cluster: Cluster, region: str) -> Cost:
    with (
        tempfile.TemporaryDirectory() as folder,
        psycopg.connect(cluster.dsn(region), autocommit=True) as conn,
        driver(cluster, region, Path(folder)) as process,
    ):
        wait_for_orders(conn)
        sleep(WARM_UP_S)
        begun_s, before, busy_s = monotonic(), orders(conn), cpu_s(process)
        sleep(MEASURED_S)
        took_s, done, busy_s = monotonic() - begun_s, orders(conn) - before, cpu_s(process) - busy_s
    return Cost(done / took_s, 1e6 * busy_s / done)


def wait_for_orders(conn: psycopg.Connection) -> None:
    before = orders(conn)
    while orders(conn) < before + 20:
        sleep(0.2)


def orders(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM orders").fetchone()
    assert row
    return int(row[0])


def cpu_s(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in [process, *family(process)])


def costs(cluster: EmbeddedCluster) -> Table:
    """Rounds of all in turn; the median of each."""
    cluster.set_survival_goal(SurvivalGoal.ZONE)
    region = cluster.leader().region
    rounds: dict[str, list[Cost]] = {name: [] for name in MEASURED}
    for _ in range(ROUNDS):
        for name, driver in MEASURED.items():
            rounds[name].append(measure(driver, cluster, region))
    cluster.set_survival_goal(SurvivalGoal.REGION)
    cost = {
        name: Cost(
            median(one.orders_per_s for one in measured), median(one.cpu_us for one in measured)
        )
        for name, measured in rounds.items()
    }
    table = Table(title=f"{CONNECTIONS} connections, ZONE survival, median of {ROUNDS}")
    for column in ("driver", "orders/s", "client CPU an order", "orders a client core-second", ""):
        table.add_column(column, justify="left" if column in ("driver", "") else "right")
    for name, one in cost.items():
        table.add_row(
            name,
            f"{one.orders_per_s:.0f}",
            f"{one.cpu_us:.0f} us",
            f"{one.orders_per_core_s:,.0f}",
            goal(cost["labkit"].orders_per_core_s / one.orders_per_core_s, name),
        )
    return table


def goal(times: float, other: str) -> str:
    wanted = {"dbworkload": TIMES_DBWORKLOAD, "pgbench": TIMES_PGBENCH}.get(other)
    if wanted is None:
        return ""
    kept = "[green]kept[/]" if times >= wanted else "[red]missed[/]"
    return f"labkit has {times:.2f} times that, goal {wanted:g}: {kept}"


def outage(cluster: EmbeddedCluster) -> Table:
    """One kill of the primary under all three at once."""
    region = next(r for r in cluster.topology.region_names if r != cluster.leader().region)
    dsn = cluster.dsn(region)
    seconds = int(BEFORE_KILL_S + AFTER_KILL_S)
    with tempfile.TemporaryDirectory() as name:
        folders = {driver: Path(name) / driver for driver in DRIVERS}
        for folder in folders.values():
            folder.mkdir()
        workload = TradingWorkload(rate_per_s=RATE_PER_S, regions=(region,), process=False)
        with (
            workload.start(cluster, folders["labkit"]) as running,
            ended(dbworkload_argv(dsn, seconds), folders["dbworkload"]) as stock,
            ended(pgbench_argv(dsn, folders["pgbench"], seconds), folders["pgbench"]),
        ):
            sleep(BEFORE_KILL_S)
            fault = Kill(cluster.leader())
            killed_s = monotonic()
            fault.inject(cluster)
            sleep(AFTER_KILL_S)
            stock.wait(30)
            history = running.stop()
            fault.heal(cluster)
        ledger = set(read_ledger(folders["labkit"]))
        stock_said, pgbench_said = (
            (folders[name] / "output").read_text() for name in ("dbworkload", "pgbench")
        )
    kill = FaultWindow("kill", fault.target_name, killed_s, killed_s, None)
    table = Table(title=f"one kill of the primary, clients in {region}")
    for column in ("who", "outage", "how it is told"):
        table.add_column(column)
    table.add_row(
        "labkit's ledger",
        f"{ledger_gap_s(history, ledger, kill):.1f} s",
        "the longest time without an acknowledged order",
    )
    table.add_row("labkit", *told_by_labkit(history, kill))
    table.add_row("dbworkload", *told_by_dbworkload(stock_said))
    table.add_row("pgbench", *told_by_pgbench(pgbench_said))
    return table


def ledger_gap_s(history: History, ledger: set[str], kill: FaultWindow) -> float:
    """By the orders that the ledger has, whatever the history says of them."""
    ops = history.ops[history.ops["order_id"].isin(ledger)]
    gap_s = write_gap_s(ops, kill)
    assert gap_s is not None
    return gap_s


def told_by_labkit(history: History, kill: FaultWindow) -> tuple[str, str]:
    row = recovery(history.with_faults([kill]))[0]
    rto = "not over" if row.rto_s is None else seconds(row.rto_s, row.rto_error_s)
    return rto, "RTO: from the kill until orders are served in time again"


def told_by_dbworkload(said: str) -> tuple[str, str]:
    """Its last table has the longest latency of what succeeded; what failed is in its log."""
    rows = [line.split("│") for line in said.splitlines() if "place_order" in line and "│" in line]
    if not rows:
        return "none", "it ended without its table"
    longest_ms = float(rows[-1][-2].replace(",", ""))
    errors = said.count("error_type=")
    return f"{longest_ms / 1000:.1f} s", f"max(ms) of its report, which leaves out {errors} errors"


def told_by_pgbench(said: str) -> tuple[str, str]:
    """With --progress=1 it prints each second's rate, while it has connections."""
    rates = re.findall(r"progress: .* s, ([0-9.]+) tps", said)
    silent_s = max(
        map(len, re.findall("0+", "".join("1" if float(r) else "0" for r in rates))), default=0
    )
    aborted = said.count("aborted in command")
    if "Run was aborted" in said or aborted:
        return (
            "none",
            f"it gave up: {aborted} of {CONNECTIONS} connections were lost, none is opened again",
        )
    return f"{silent_s} s", "seconds in a row without a transaction"


def main() -> None:
    console = Console()
    with temporary_lab() as cluster:
        assert isinstance(cluster, EmbeddedCluster)
        console.print(costs(cluster))
        console.print(outage(cluster))


if __name__ == "__main__":
    main()
