from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pandas as pd
import psycopg
import pytest
from living import alive
from ports import free_port

from labkit.clock import wait_until
from labkit.cluster.status import State
from labkit.errors import BadInput, RunError, UnknownTarget
from labkit.history import OP_COLUMNS
from labkit.record import OpKind, Outcome
from labkit.topology import Topology
from labkit.trading.audit import final_read, opening_read
from labkit.trading.catalogue import DEMO_ACCOUNT, GENERATED_ACCOUNTS
from labkit.trading.ids import RunId
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict
from labkit.workload.ledger import read_ledger
from labkit.workload.oplog import OpTail
from labkit.workload.running import RunningWorkload, kill, spawn
from labkit.workload.shape import Shape, Steps
from labkit.workload.trading import TradingWorkload
from labkit.workload.worker import WorkerConfig

from .plain_server import Server

only_orders = partial(TradingWorkload, reads_per_order=0)

TWO_REGIONS = Topology.model_validate(
    {
        "region": [{"name": "us-west-2"}, {"name": "eu-west-1"}],
        "link": [{"between": ("us-west-2", "eu-west-1"), "rtt_ms": 0}],
        "survive": "none",
    }
)


@dataclass
class OneServer:
    """A cluster whose regions all lead to one server."""

    address: str
    topology: Topology = TWO_REGIONS

    def dsn(self, region: str, *, read_only: bool = False) -> str:
        return self.address

    def status(self) -> SimpleNamespace:
        """Enough of a status to tell that it runs."""
        return SimpleNamespace(parts=[SimpleNamespace(state=State.RUNNING)])


@pytest.fixture
def running(dsn: str, tmp_path: Path) -> Iterator[RunningWorkload]:
    workload = only_orders(rate_per_s=100, connections=3)
    with workload.start(OneServer(dsn), tmp_path) as running:
        yield running


def poll_until(running: RunningWorkload, count: int) -> pd.DataFrame:
    """Poll until `count` operations have come."""
    frames = [running.poll()]

    def enough() -> bool:
        frames.append(running.poll())
        return sum(map(len, frames)) >= count

    wait_until(enough, what=f"{count} operations", timeout_s=30)
    return pd.concat(frames, ignore_index=True)


def test_what_was_acknowledged_is_in_history_ledger_and_database(
    dsn: str, tmp_path: Path, running: RunningWorkload
) -> None:
    polled = poll_until(running, 40)
    running.check()
    history = running.stop()
    polled = pd.concat([polled, running.poll()], ignore_index=True)

    assert history.regions == ("us-west-2", "eu-west-1")
    assert set(history.ops["region"]) == set(history.regions)
    assert set(history.ops["outcome"]) == {Outcome.OK}
    assert history.ops["order_id"].is_unique
    read = final_read(dsn, running.run_id)
    for ids in (polled["order_id"], read.orders["order_id"], pd.Series(read_ledger(tmp_path))):
        assert sorted(ids) == sorted(history.ops["order_id"])


def test_workers_process_what_was_ordered_before_they_end(
    dsn: str, running: RunningWorkload
) -> None:
    poll_until(running, 40)
    running.stop()
    orders = final_read(dsn, running.run_id).orders
    assert set(orders["statuses"]) == {"order_received,processing,order_processed"}
    assert set(orders["executions"]) == {1}
    assert set(orders["trades"]) == {1}


def test_without_processing_orders_stay_received(dsn: str, tmp_path: Path) -> None:
    workload = TradingWorkload(rate_per_s=50, connections=2, process=False)
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 10)
        running.stop()
    orders = final_read(dsn, running.run_id).orders
    assert set(orders["statuses"]) == {"order_received"}


def test_poll_gives_the_columns_of_a_history(running: RunningWorkload) -> None:
    frame = poll_until(running, 1)
    assert list(frame.columns) == list(OP_COLUMNS)


def test_regions_trade_different_rows_by_default(dsn: str, running: RunningWorkload) -> None:
    poll_until(running, 200)
    running.stop()
    orders = final_read(dsn, running.run_id).orders
    worker = orders["order_id"].str[15:18]  # after the version digit
    assert worker.nunique() == 2
    for column in ("account_nbr", "symbol"):
        assert worker.groupby(orders[column]).nunique().max() == 1


def test_chosen_rows_are_traded_by_all_regions(dsn: str, tmp_path: Path) -> None:
    workload = only_orders(rate_per_s=100, symbols=("AAPL",), accounts=(DEMO_ACCOUNT,))
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 20)
        running.stop()
    orders = final_read(dsn, running.run_id).orders
    assert set(orders["symbol"]) == {"AAPL"}
    assert set(orders["account_nbr"]) == {DEMO_ACCOUNT}
    assert orders["order_id"].str[15:18].nunique() == 2


def test_customers_look_at_what_they_ordered_and_nothing_they_see_is_wrong(
    dsn: str, tmp_path: Path
) -> None:
    workload = TradingWorkload(rate_per_s=100, connections=3, reads_per_order=1)
    opening = opening_read(dsn)
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 300)
        history = running.stop()
    orders, reads = history.orders.ops, history.ops[history.ops["order_id"] == ""]
    assert set(reads["kind"]) == {OpKind.FRESH_READ, OpKind.REPLICA_READ}
    assert set(reads["outcome"]) == {Outcome.OK}
    ordered = set(zip(orders["session"], orders["symbol"], strict=True))
    assert set(zip(reads["session"], reads["symbol"], strict=True)) <= ordered
    assert len(reads) > len(orders) / 2
    final = final_read(dsn, running.run_id)
    evidence = Evidence.of(read_ledger(tmp_path), history, final, opening)
    found = [checker.check(evidence) for checker in CHECKERS]
    assert [f for f in found if f is None or f.verdict is not Verdict.PASS] == []


def test_reads_that_nobody_answers_fail(tmp_path: Path) -> None:
    cluster = OneServer(f"postgresql://postgres@127.0.0.1:{free_port()}/trade")
    workload = TradingWorkload(rate_per_s=100, deadline_s=0.2)
    with workload.start(cluster, tmp_path) as running:
        poll_until(running, 50)
        ops = running.stop().ops
    assert set(ops["kind"]) == {str(kind) for kind in OpKind}
    assert set(ops["outcome"]) == {Outcome.FAIL}


def test_a_hot_symbol_is_ordered_most(dsn: str, tmp_path: Path) -> None:
    symbols = ("AAPL", "MSFT", "DIS", "NFLX")
    workload = only_orders(rate_per_s=200, symbols=symbols, skew=2.0, iterations=200)
    with workload.start(OneServer(dsn), tmp_path) as running:
        wait_until(lambda: running.ended, what="the last order", timeout_s=30)
        orders = running.stop().ops["symbol"].value_counts()
    assert orders.index[0] == "AAPL"
    assert orders["AAPL"] > 2 * orders["MSFT"] > 0


def test_iterations_end_the_run_by_themselves(dsn: str, tmp_path: Path) -> None:
    with only_orders(rate_per_s=200, iterations=31).start(OneServer(dsn), tmp_path) as running:
        wait_until(lambda: running.ended, what="the last order", timeout_s=30)
        running.check()
        ops = running.stop().ops
    assert len(ops) == 31
    assert ops["region"].value_counts().to_dict() == {"us-west-2": 16, "eu-west-1": 15}


def test_one_region_alone_sends_all_of_the_rate_and_has_its_own_rows(
    dsn: str, tmp_path: Path
) -> None:
    workload = only_orders(rate_per_s=200, regions=("eu-west-1",), iterations=20)
    with workload.start(OneServer(dsn), tmp_path) as running:
        wait_until(lambda: running.ended, what="the last order", timeout_s=30)
        history = running.stop()
    assert history.regions == ("eu-west-1",)
    orders = final_read(dsn, running.run_id).orders
    assert set(orders["order_id"].str[15:18]) == {"001"}


def test_an_unknown_region_is_refused_before_anything_starts(dsn: str, tmp_path: Path) -> None:
    workload = only_orders(regions=("us-west-2", "mars"))
    with pytest.raises(UnknownTarget, match="mars"):
        workload.start(OneServer(dsn), tmp_path)
    assert not list(tmp_path.iterdir())


def in_flight(ops: pd.DataFrame, at_s: float) -> int:
    return int(((ops["scheduled_s"] <= at_s) & (ops["finished_s"] > at_s)).sum())


def test_in_a_closed_loop_as_many_are_under_way_as_there_are_customers(
    dsn: str, tmp_path: Path
) -> None:
    """Each region's customers: three, then one."""
    steps = Steps((3, 1), every_s=1.0)
    with only_orders(concurrency=steps).start(OneServer(dsn), tmp_path) as running:
        begun_s = monotonic()
        wait_until(lambda: monotonic() > begun_s + 4, what="the second step", timeout_s=20)
        history = running.stop()
    ops = history.ops
    for region in history.regions:
        here = ops[ops["region"] == region]
        first_s = here["scheduled_s"].min()
        assert max(in_flight(here, at_s) for at_s in here["finished_s"] - 1e-6) == 3
        late = here[here["scheduled_s"] > first_s + 2.0]
        assert len(late) > 0
        assert max(in_flight(late, at_s) for at_s in late["finished_s"] - 1e-6) == 1
    assert set(ops["outcome"]) == {Outcome.OK}
    assert sorted(read_ledger(tmp_path)) == sorted(ops["order_id"])


def test_a_closed_loop_goes_on_after_a_crash_of_the_server(
    server: Server, dsn: str, tmp_path: Path
) -> None:
    workload = only_orders(concurrency=2, deadline_s=10)
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 20)
        server.stop()
        server.start()
        poll_until(running, 50)
        ops = running.stop().ops
    there = set(final_read(dsn, running.run_id).orders["order_id"])
    assert set(ops["order_id"][ops["outcome"] == Outcome.OK]) <= there


def test_stopping_twice_returns_the_same(running: RunningWorkload) -> None:
    poll_until(running, 5)
    pd.testing.assert_frame_equal(running.stop().ops, running.stop().ops)


def test_a_crash_of_the_server_leaves_a_truthful_record(
    server: Server, dsn: str, tmp_path: Path
) -> None:
    """Orders in flight end as they may; what was acknowledged is there, what failed is not."""
    workload = only_orders(rate_per_s=200, connections=3, deadline_s=3)
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 40)
        server.stop()
        sleep(0.5)
        server.start()
        poll_until(running, 100)
        ops = running.stop().ops
    there = set(final_read(dsn, running.run_id).orders["order_id"])
    by_outcome = {outcome: set(ops["order_id"][ops["outcome"] == outcome]) for outcome in Outcome}
    assert set(read_ledger(tmp_path)) == by_outcome[Outcome.OK]
    assert by_outcome[Outcome.OK] <= there
    assert not by_outcome[Outcome.FAIL] & there
    assert there <= by_outcome[Outcome.OK] | by_outcome[Outcome.INFO]
    late = ops[ops["finished_s"] - ops["scheduled_s"] > 0.3]
    assert len(late) >= 20, "orders scheduled during the outage count it in their latency"


def test_a_cluster_that_is_down_is_measured_too(tmp_path: Path) -> None:
    cluster = OneServer(f"postgresql://postgres@127.0.0.1:{free_port()}/trade")
    workload = only_orders(rate_per_s=100, deadline_s=0.2)
    with workload.start(cluster, tmp_path) as running:
        poll_until(running, 10)
        ops = running.stop().ops
    assert set(ops["outcome"]) == {Outcome.FAIL}
    assert ops["sent_s"].isna().all()


def test_a_killed_worker_is_an_error_and_its_record_stays(
    dsn: str, tmp_path: Path, running: RunningWorkload
) -> None:
    poll_until(running, 40)
    os.kill(running.pids["eu-west-1"], signal.SIGKILL)
    wait_until(lambda: not alive(running.pids["eu-west-1"]), what="the kill", timeout_s=10)
    with pytest.raises(RunError, match="worker of eu-west-1 ended with -9, orders in flight"):
        running.check()
    with pytest.raises(RunError, match="eu-west-1"):
        running.stop()
    assert not any(map(alive, running.pids.values()))

    acked = set(running.history().ops["order_id"])
    ledger = set(read_ledger(tmp_path))
    assert acked <= ledger, "the ledger is written first"
    assert ledger <= set(final_read(dsn, running.run_id).orders["order_id"])


def test_a_worker_that_cannot_start_says_why(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with pytest.raises(
        RunError, match=r"worker of (us-west-2|eu-west-1) ended with 1.*FileExistsError"
    ):
        only_orders(connections=1).start(OneServer(dsn), tmp_path)


def test_clients_cannot_fail_over_where_there_is_one_address(dsn: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no fail_over"):
        TradingWorkload(fail_over=True).start(OneServer(dsn), tmp_path)


def test_a_folder_of_another_run_is_refused(
    dsn: str, tmp_path: Path, running: RunningWorkload
) -> None:
    """Its ledger would be held against this run's orders."""
    poll_until(running, 1)
    running.stop()
    for left in ("ledger", "ops"):
        with pytest.raises(BadInput, match=f"has the {left} of another run"):
            only_orders().start(OneServer(dsn), tmp_path)
        shutil.rmtree(tmp_path / left)


def test_workers_stop_when_their_parent_is_killed(dsn: str, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from trading.test_workload import OneServer, TradingWorkload\n"
        "workload = TradingWorkload(rate_per_s=50, connections=2)\n"
        "running = workload.start(OneServer(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(*running.pids.values(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, dsn, tmp_path],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        text=True,
    ) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        parent.kill()
    wait_until(lambda: not any(map(alive, pids)), what="the workers' end", timeout_s=20)


def a_config(dsn: str, folder: Path) -> WorkerConfig:
    return WorkerConfig(
        region="us-west-2",
        worker=0,
        run=str(RunId.new()),
        dsn=dsn,
        folder=str(folder),
        rate_per_s=Shape.of(50),
        concurrency=None,
        iterations=None,
        seed=1,
        deadline_s=5,
        attempt_timeout_s=2,
        connections=2,
        regions=3,
        accounts=GENERATED_ACCOUNTS[:1],  # it may sell short: nothing is refused
        symbols=("AAPL", "MSFT"),
        process=False,
    )


@pytest.fixture
def worker(dsn: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker without a parent that knows it, sending."""
    with subprocess.Popen(
        [sys.executable, "-m", "labkit.workload.worker"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write(a_config(dsn, tmp_path).to_line())
        process.stdin.flush()
        wait_until(lambda: acks(tmp_path) > 0, what="the first ack", timeout_s=20)
        yield process
        process.kill()


def test_a_worker_whose_ledger_cannot_be_written_ends_and_counts_nothing(
    dsn: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger" / "us-west-2.log"
    ledger.parent.mkdir()
    ledger.symlink_to("/dev/full")
    worker = spawn(a_config(dsn, tmp_path))
    try:
        assert worker.wait(20) == 1
    finally:
        kill({"us-west-2": worker})
    assert "No space left on device" in (tmp_path / "ops" / "us-west-2.log").read_text()
    assert not [op for op in OpTail(tmp_path, ["us-west-2"]).read() if op["outcome"] == "ok"]


def acks(folder: Path) -> int:
    return len(read_ledger(folder))


@pytest.mark.parametrize("how", ["stop line", "end of stdin", "SIGTERM"])
def test_a_told_worker_ends_well(
    worker: subprocess.Popen[bytes], tmp_path: Path, conn: psycopg.Connection, how: str
) -> None:
    """Every order it sent is recorded."""
    assert worker.stdin
    match how:
        case "stop line":
            worker.stdin.write(b"stop\n")
            worker.stdin.flush()
        case "end of stdin":
            worker.stdin.close()
        case _:
            worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    recorded = len(OpTail(tmp_path, ["us-west-2"]).read())
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (recorded,)


def test_a_worker_ignores_ctrl_c(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    before = acks(tmp_path)
    worker.send_signal(signal.SIGINT)
    wait_until(lambda: acks(tmp_path) > before + 10, what="further acks", timeout_s=20)
    assert worker.poll() is None
