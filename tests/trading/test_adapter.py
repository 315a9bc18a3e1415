"""A class with dbworkload's interface under labkit's own driver."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import psycopg
import pytest
from ports import free_port

from labkit.assets import asset
from labkit.clock import wait_until
from labkit.errors import BadInput, RunError
from labkit.record import Outcome
from labkit.workload.classes import ClassWorkload
from labkit.workload.running import RunningWorkload

from .plain_server import Server
from .test_workload import OneServer, poll_until

ORDERS = asset("workloads", "trade_orders.py")


def a_class(folder: Path, body: str) -> Path:
    file = folder / "some_thing.py"
    file.write_text(
        "import psycopg\n\nclass SomeThing:\n    def __init__(self, args):\n        pass\n"
        + "".join(f"    {line}\n" for line in dedent(body).splitlines())
    )
    return file


@pytest.mark.parametrize("load", [{"rate_per_s": 100}, {"concurrency": 2}])
def test_the_class_for_dbworkload_runs_under_labkits_driver(
    dsn: str, conn: psycopg.Connection, tmp_path: Path, load: dict[str, float]
) -> None:
    workload = ClassWorkload(file=ORDERS, iterations=60, connections=3, **load)
    with workload.start(OneServer(dsn), tmp_path) as running:
        wait_until(lambda: running.ended, what="the last order", timeout_s=30)
        ops = running.stop().ops
    assert ops["kind"].value_counts().to_dict() == {"place_order": 60, "process_orders": 60}
    assert set(ops["outcome"]) == {Outcome.OK}
    assert ops["region"].value_counts().to_dict() == {"us-west-2": 60, "eu-west-1": 60}
    assert (ops["sent_s"] >= ops["scheduled_s"]).all()
    assert (ops["finished_s"] > ops["sent_s"]).all()
    regions = conn.execute("SELECT substring(order_id::TEXT, 16, 3) FROM orders").fetchall()
    assert sorted(regions) == [("000",)] * 30 + [("001",)] * 30


def test_functions_are_called_in_their_order_with_setup_before_them(
    dsn: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    conn.execute("CREATE TABLE calls (call BIGINT GENERATED ALWAYS AS IDENTITY, what TEXT)")
    file = a_class(
        tmp_path,
        """
        def setup(self, conn, id, total_thread_count):
            self.say(conn, f"setup {id} of {total_thread_count}")

        def loop(self):
            return [self.first, self.second]

        def first(self, conn):
            self.say(conn, "first")

        def second(self, conn):
            self.say(conn, "second")

        def say(self, conn, what):
            conn.execute("INSERT INTO calls (what) VALUES (%s)", (what,))
        """,
    )
    workload = ClassWorkload(file=file, concurrency=1, iterations=3, regions=("us-west-2",))
    with workload.start(OneServer(dsn), tmp_path / "run") as running:
        wait_until(lambda: running.ended, what="the last loop", timeout_s=30)
        ops = running.stop().ops
    calls = [what for (what,) in conn.execute("SELECT what FROM calls ORDER BY call").fetchall()]
    assert calls == ["setup 0 of 1", *["first", "second"] * 3]
    assert list(ops["kind"]) == ["first", "second"] * 3


def test_what_fails_is_recorded_by_its_sqlstate_and_ends_the_loop(dsn: str, tmp_path: Path) -> None:
    file = a_class(
        tmp_path,
        """
        def loop(self):
            return [self.divide, self.never]

        def divide(self, conn):
            with conn.transaction():
                conn.execute("SELECT 1 / 0")

        def never(self, conn):
            raise AssertionError
        """,
    )
    workload = ClassWorkload(file=file, concurrency=1, iterations=4)
    with workload.start(OneServer(dsn), tmp_path / "run") as running:
        wait_until(lambda: running.ended, what="the last loop", timeout_s=30)
        ops = running.stop().ops
    assert set(zip(ops["kind"], ops["outcome"], ops["sqlstate"], strict=True)) == {
        ("divide", Outcome.FAIL, "22012")
    }
    assert len(ops) == 4


def test_without_a_server_every_loop_fails_as_never_sent(tmp_path: Path) -> None:
    cluster = OneServer(f"postgresql://postgres@127.0.0.1:{free_port()}/trade")
    workload = ClassWorkload(file=ORDERS, rate_per_s=50, deadline_s=0.3, iterations=10)
    with workload.start(cluster, tmp_path) as running:
        wait_until(lambda: running.ended, what="the last loop", timeout_s=30)
        ops = running.stop().ops
    assert len(ops) == 10
    assert set(ops["outcome"]) == {Outcome.FAIL}
    assert ops["sent_s"].isna().all()


def test_no_order_of_the_class_is_lost_or_doubled_by_a_crash_of_the_server(
    server: Server, dsn: str, tmp_path: Path
) -> None:
    workload = ClassWorkload(file=ORDERS, concurrency=3, deadline_s=10)
    with workload.start(OneServer(dsn), tmp_path) as running:
        poll_until(running, 20)
        server.stop()
        server.start()
        poll_until(running, 50)
        ops = running.stop().ops
    assert (ops["attempts"] > 1).any()
    assert set(ops["outcome"]) == {Outcome.OK}
    with psycopg.connect(dsn) as conn:
        placed = (ops["kind"] == "place_order").sum()
        assert conn.execute("SELECT count(*) FROM orders").fetchone() == (placed,)


def test_a_class_with_a_bug_ends_the_run_with_its_traceback(dsn: str, tmp_path: Path) -> None:
    file = a_class(
        tmp_path,
        """
        def loop(self):
            return [self.bug]

        def bug(self, conn):
            raise ZeroDivisionError("in the class")
        """,
    )
    workload = ClassWorkload(file=file, rate_per_s=50)
    with pytest.raises(RunError, match="ZeroDivisionError: in the class"):
        to_its_end(workload.start(OneServer(dsn), tmp_path / "run"))  # it may end while it starts


def to_its_end(running: RunningWorkload) -> None:
    with running:
        wait_until(lambda: running.ended, what="the workers' end", timeout_s=30)
        running.stop()


def test_a_class_may_import_what_lies_beside_it(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "beside_some_thing.py").write_text("STATEMENT = 'SELECT 1'\n")
    file = tmp_path / "some_thing.py"
    file.write_text(
        dedent(
            """
            from __future__ import annotations
            from dataclasses import dataclass
            from beside_some_thing import STATEMENT

            @dataclass
            class SomeThing:
                args: dict

                def loop(self):
                    return [self.ask]

                def ask(self, conn):
                    conn.execute(STATEMENT)
            """
        )
    )
    workload = ClassWorkload(file=file, concurrency=1, iterations=2)
    with workload.start(OneServer(dsn), tmp_path / "run") as running:
        wait_until(lambda: running.ended, what="the last loop", timeout_s=30)
        assert set(running.stop().ops["outcome"]) == {Outcome.OK}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "has no class SomeThing"), (None, "no Python file with a workload class")],
)
def test_a_file_without_the_class_is_refused(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    file = tmp_path / "some_thing.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput, match=complaint):
        ClassWorkload(file=file)
