"""The Docker Engine of a test session; tests/conftest.py imports these fixtures for all tests."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from ports import free_port
from trading.plain_server import Server

from engine.daemon import Engine, NoEngine, engine
from engine.images import PACKAGE, ensure, write_cockroach
from engine.rootfs import NoPackages
from engine.standin.cli import STORE_VARIABLE
from engine.standin.grammar import VARIABLE

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


def python_for_everybody(folder: Path) -> str:
    """Give the command of this Python for every user; copy it into `folder` if only root has it.

    Root's servers are another user's, and the double is a server that is Python.
    """
    python = Path(sys.executable).resolve()
    if all(parent.stat().st_mode & 0o001 for parent in python.parents):
        return str(python)
    library = Path(os.__file__).parent
    copy = folder / "python"
    # beside `bin` the interpreter finds its library by itself
    (copy / "bin").mkdir(parents=True)
    copytree(
        library,
        copy / library.relative_to(sys.base_prefix),
        ignore=ignore_patterns("site-packages", "test", "idlelib", "config-*"),
    )
    for shared in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        shutil.copy(shared, copy / "lib")
    # `env`: its libpython is asked for where it was built, or at the system's, which is another
    return f"env LD_LIBRARY_PATH={copy / 'lib'} {shutil.copy(python, copy / 'bin')}"


@contextmanager
def cockroach_on_path() -> Iterator[None]:
    """A `cockroach` on PATH, for a while: the one that is there, if asked for, else the double.

    The double's PostgreSQL runs beside it.
    """
    before = dict(os.environ)
    if os.environ.get(REAL):
        if shutil.which("cockroach") is None:
            pytest.skip("no cockroach program on PATH")
        yield
        return
    # not tmp_path: its parents are closed to the user that the lab's processes run as under root
    folder = Path(tempfile.mkdtemp(prefix="labkit-standin-"))
    folder.chmod(0o755)
    server = Server(folder, free_port(), max_connections=400)
    try:
        server.init()
        server.start()
        package = copytree(PACKAGE, folder / PACKAGE.name, ignore=ignore_patterns("__pycache__"))
        grammar = grammar_folder()
        own = {
            STORE_VARIABLE: f"postgres@127.0.0.1:{server.port}",
            **({VARIABLE: str(grammar)} if grammar else {}),
        }
        # a lab's servers have an environment of their own: what the double needs is in its program
        setting = " ".join(["env", *(shlex.quote(f"{name}={own[name]}") for name in own)])
        write_cockroach(
            folder / "bin" / "cockroach",
            python=f"{setting} {python_for_everybody(folder)}",
            package=package,
        )
        os.environ["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
        shutil.rmtree(folder)
