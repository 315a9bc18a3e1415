"""`labkit load` with real workers on a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from living import lives
from ports import free_port
from typer.testing import CliRunner

from labkit.cli.app import app

from .test_workload import OneServer


@pytest.fixture
def cluster(dsn: str, monkeypatch: pytest.MonkeyPatch) -> OneServer:
    """The lab that the command finds: two regions that lead to one server."""
    cluster = OneServer(dsn)
    monkeypatch.setattr("labkit.cluster.attach", lambda: cluster)
    return cluster


def load(*arguments: str, **environment: str) -> Any:
    return CliRunner(env=environment).invoke(
        app, ["load", *arguments], catch_exceptions=False, prog_name="labkit"
    )


def orders(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM orders").fetchone()
    assert row
    return int(row[0])


@pytest.mark.usefixtures("cluster")
def test_iterations_end_it_and_the_summary_counts_them(conn: psycopg.Connection) -> None:
    done = load("orders", "--rate", "100", "--iterations", "40")
    assert done.exit_code == 0, done.output
    assert orders(conn) == 40
    west, _, eu, _, both, _ = (line.split() for line in done.stdout.splitlines()[1:])
    assert west[:3] == ["us-west-2", "place_order", "20"]
    assert eu[:3] == ["eu-west-1", "place_order", "20"]
    assert both[:4] == ["all", "regions", "place_order", "40"]
    assert "orders: 100 orders a second" in done.stderr


@pytest.mark.usefixtures("cluster")
def test_accounts_are_opened_by_every_region(conn: psycopg.Connection) -> None:
    done = load("accounts", "--concurrency", "2", "--iterations", "10")
    assert done.exit_code == 0, done.output
    kinds = {line.split()[1] for line in done.stdout.splitlines()[1:7]}
    assert kinds == {"create_account", "deposit", "look_up"}
    row = conn.execute("SELECT count(*) FROM users WHERE name LIKE 'A customer%'").fetchone()
    assert row == (10,)


@pytest.mark.usefixtures("cluster")
def test_duration_ends_it_with_a_line_a_second(conn: psycopg.Connection) -> None:
    done = load("orders", "--rate", "60", "--duration", "2.5")
    assert done.exit_code == 0, done.output
    told = [line.split() for line in done.stderr.splitlines()[3:]]
    seconds = [int(words[0]) for words in told if words[1:2] == ["s"]]
    assert seconds
    assert seconds == sorted({*seconds})  # a busy machine may leave one out
    assert orders(conn) > 60


@pytest.mark.usefixtures("cluster")
def test_one_region_alone_and_as_json(conn: psycopg.Connection) -> None:
    done = load(
        "orders", "--region", "eu-west-1", "--concurrency", "2", "--iterations", "9", "--json"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    rows = [(row["region"], row["kind"], row["ok"]) for row in said["throughput"]]
    assert rows == [("eu-west-1", "place_order", 9), ("eu-west-1", "process_orders", 9)]
    assert said["errors"] == []
    assert orders(conn) == 9


@pytest.mark.usefixtures("cluster")
def test_the_environment_of_the_original_works(conn: psycopg.Connection) -> None:
    done = load("orders", CONCURRENCY="3", ITERATIONS="12", DURATION="60")
    assert done.exit_code == 0, done.output
    assert "3 customers a region" in done.stderr
    assert orders(conn) == 12


@pytest.mark.usefixtures("cluster")
def test_a_typed_rate_counts_more_than_the_environments_concurrency() -> None:
    done = load("orders", "--rate", "50", "--iterations", "4", CONCURRENCY="3")
    assert done.exit_code == 0, done.output
    assert "50 orders a second" in done.stderr


def test_errors_are_counted_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = OneServer(f"postgresql://postgres@127.0.0.1:{free_port()}/trade")
    monkeypatch.setattr("labkit.cluster.attach", lambda: nobody)
    done = load("orders", "--rate", "50", "--iterations", "6", "--region", "us-west-2")
    assert done.exit_code == 1, done.output  # nothing was acknowledged
    assert " ".join(done.stdout.split()).endswith("no connection in time fail 6")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rate", "5", "--concurrency", "2"], "choose one"),
        (["--rate", "0"], "--rate 0: it must be above 0"),
        (["--duration", "-1"], "--duration -1: it must be above 0"),
        (["--iterations", "0"], "--iterations 0: it must be above 0"),
        (["--region", "mars"], "mars"),
    ],
)
def test_bad_input_is_one_line_and_sends_nothing(
    conn: psycopg.Connection, arguments: list[str], complaint: str
) -> None:
    done = load("orders", *arguments)
    assert done.exit_code == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("labkit: ")
    assert complaint in line
    assert orders(conn) == 0


SCRIPT = """
import sys
import labkit.cluster
from labkit.cli import main
from trading.test_workload import OneServer

cluster = OneServer(sys.argv.pop(1))
labkit.cluster.attach = lambda: cluster
main()
"""


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--duration", "600"], 130)])
def test_ctrl_c_ends_it_with_the_summary_and_no_process_is_left(
    dsn: str, arguments: list[str], code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, dsn, "load", "orders", "--rate", "50", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        text=True,
    ) as command:
        assert command.stderr
        while not re.match(r"\s*\d+ s", line := command.stderr.readline()):
            assert line, "it ended by itself"
        workers = psutil.Process(command.pid).children()
        assert len(workers) == 2
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=30)
    assert command.returncode == code, err
    assert "all regions" in out
    assert "Traceback" not in err
    assert not any(map(lives, workers))
