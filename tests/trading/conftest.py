"""One plain PostgreSQL server for all tests here, and a database for each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from labkit.trading import schema
from labkit.trading.ids import RunId

from .plain_server import Server, free_port


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


_databases = count(1)


@pytest.fixture
def dsn(server: Server) -> Iterator[str]:
    """A database of the test's own, with the application loaded."""
    name = f"trade_{next(_databases)}"
    server.admin(f"CREATE DATABASE {name} TEMPLATE template_trade")
    yield server.dsn(name)
    server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def run() -> RunId:
    return RunId.new()


@pytest.fixture
def no_standby_answers(server: Server) -> Iterator[Server]:
    """Commits wait for a standby that does not exist."""
    server.wait_for_standby("absent")
    yield server
    server.wait_for_standby("")
