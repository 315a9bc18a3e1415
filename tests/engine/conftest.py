"""A PostgreSQL for the double's nodes, and clusters of them on 127.0.0.1."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port
from trading.plain_server import Server

from engine.fixtures import grammar_folder
from engine.local import LocalCluster, local_cluster

CREATE = (
    'CREATE DATABASE trading PRIMARY REGION "us-west-2" REGIONS "us-east-1", "eu-west-1"'
    " SURVIVE REGION FAILURE"
)


@pytest.fixture(scope="session")
def grammar() -> Path:
    """The folder with CockroachDB's documented grammar and lists; not part of this project."""
    folder = grammar_folder()
    if folder is None:
        pytest.skip("no CockroachDB grammar: LABKIT_CRDB_GRAMMAR names no folder with it")
    return folder


@contextmanager
def postgres() -> Iterator[Server]:
    # not tmp_path: its parents are closed to the user that PostgreSQL runs as under root
    folder = Path(tempfile.mkdtemp(prefix="labkit-test-"))
    server = Server(folder, free_port())
    try:
        server.init()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _store() -> Iterator[Server]:
    with postgres() as server:
        yield server


@pytest.fixture
def fresh(_store: Server) -> Iterator[LocalCluster]:
    """Three nodes, one a region, 20 ms apart, not initialised."""
    with local_cluster(_store, rtt_ms=20) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def _running() -> Iterator[LocalCluster]:
    with postgres() as server, local_cluster(server, rtt_ms=20) as cluster:
        assert cluster.init().returncode == 0
        yield cluster


@pytest.fixture
def cluster(_running: LocalCluster) -> Iterator[LocalCluster]:
    """Such nodes in service, with a new database that survives the loss of a region."""
    _running.heal()
    made = _running.sql(f"DROP DATABASE IF EXISTS trading CASCADE; {CREATE}")
    assert made.returncode == 0, made.stderr
    yield _running
    _running.heal()
