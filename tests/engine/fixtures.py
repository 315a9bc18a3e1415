"""The Docker Engine of a test session; tests/conftest.py imports these fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.daemon import Engine, NoEngine, engine
from engine.images import ensure
from engine.rootfs import NoPackages

STANDINS = {
    "cockroach": "cockroachdb/cockroach:standin",
    "haproxy": "haproxy:standin",
    "python": "python:standin",
}
"""No tag that a registry has: nobody can take them for the real images."""
IMAGE_VARIABLES = {
    "COCKROACH_IMAGE": "cockroachdb/cockroach",
    "COCKROACH_VERSION": "standin",
    "HAPROXY_IMAGE": STANDINS["haproxy"],
    "PYTHON_IMAGE": STANDINS["python"],
}


REAL = "LABKIT_TEST_REAL_IMAGES"
"""Set, the tests run real images on the engine that answers (`make test-cockroachdb`)."""


def grammar_folder() -> Path | None:
    """The folder with CockroachDB's documented grammar, if it is here: no part of this project."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "crdb"
    folder = Path(os.environ.get("LABKIT_CRDB_GRAMMAR", beside))
    return folder if (folder / "check.py").is_file() else None


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """An engine, and this process's environment pointing to it.

    `docker_engine.standin` says what the images are. When they are stand-ins they are built here,
    and the Compose file's variables name them.
    """
    before = dict(os.environ)
    try:
        with engine() as found:
            if not found.standin and not os.environ.get(REAL):
                pytest.skip(
                    "the Docker Engine here would run the real CockroachDB: `make test-cockroachdb`"
                )
            os.environ.update(found.environment)
            if found.standin:
                ensure(found, STANDINS)
                os.environ.update(IMAGE_VARIABLES)
            yield found
    except (NoEngine, NoPackages) as error:
        pytest.skip(str(error))
    finally:
        os.environ.clear()
        os.environ.update(before)
