"""One plain PostgreSQL server for all tests here, and a database for each.

Tests of modules that are marked `both_engines` run on CockroachDB's statements too
(cockroachdb_double.py).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import psycopg
import pytest
from ports import free_port

from labkit.trading import schema
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side

from . import cockroachdb_double
from .plain_server import Server

ENGINES = ("postgresql", "cockroachdb")

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"])
"""What CockroachDB has no part in: waiting for standbys, killing backends."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of a module for both engines runs on each, but where it says on which."""
    test = metafunc.definition
    said = any("engine" in mark.args[0] for mark in test.iter_markers("parametrize"))
    if "engine" in metafunc.fixturenames and test.get_closest_marker("both_engines") and not said:
        metafunc.parametrize("engine", ENGINES)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    # not tmp_path: its parents are closed to the user that PostgreSQL runs as under root
    folder = Path(tempfile.mkdtemp(prefix="labkit-test-"))
    server = Server(folder, free_port())
    try:
        server.init()
        server.start()
        server.admin("CREATE DATABASE template_trade")
        schema.load(server.dsn("template_trade"))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cockroachdb_template(server: Server) -> str:
    name = f"{cockroachdb_double.PREFIX}template"
    server.admin(f"CREATE DATABASE {name}")
    cockroachdb_double.load(server.dsn(name))
    return name


_databases = count(1)


@pytest.fixture
def engine() -> str:
    return "postgresql"


@pytest.fixture
def dsn(
    server: Server,
    engine: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A database of the test's own, with the application loaded."""
    if engine == "postgresql":
        name, template = f"trade_{next(_databases)}", "template_trade"
        dsn = server.dsn(name)
    else:
        template = request.getfixturevalue("cockroachdb_template")
        name = f"{cockroachdb_double.PREFIX}{next(_databases)}"
        dsn = cockroachdb_double.with_options(server.dsn(name))
        cockroachdb_double.speak(monkeypatch)
    server.admin(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield dsn
    server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def demo_may_short(conn: psycopg.Connection) -> None:
    """The person at the desk may sell what they do not hold."""
    conn.execute("UPDATE accounts SET may_short = true WHERE account_nbr = %s", (DEMO_ACCOUNT,))


@pytest.fixture
def run() -> RunId:
    return RunId.new()


@pytest.fixture
def buy(run: RunId) -> Order:
    return Order(run.order_id(0, 0), DEMO_ACCOUNT, "AAPL", Side.BUY, 3)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def no_standby_answers(server: Server) -> Iterator[Server]:
    """Commits wait for a standby that does not exist."""
    server.wait_for_standby("absent")
    yield server
    server.wait_for_standby("")
