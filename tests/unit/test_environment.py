"""Nothing that the user's environment says to other programs reaches a lab."""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

import labkit
from labkit import environment, libpq
from labkit.cluster.identity import Identity
from labkit.cluster.processes import ProcessTable
from labkit.errors import BadInput

DSN = "postgresql://trader@127.0.0.1:{port}/trade_db?sslmode=disable&gssencmode=disable"
LIBPQ = sorted(one.envvar.decode() for one in Conninfo.get_defaults() if one.envvar)
OTHERS = ["PGTZ", "PGDATESTYLE", "PGGEQO", "PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No libpq variable of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Who listens where the lab should."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(5)
        yield server


@pytest.mark.usefixtures("nowhere")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from([name for name in LIBPQ if name != "PGSERVICE"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        max_size=8,
    )
)
def test_libpq_takes_nothing_from_the_environment(there: dict[str, str]) -> None:
    dsn = DSN.format(port=1)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in there.items():
            patched.setenv(name, value)
        found = conninfo_to_dict(libpq.alone(dsn, application_name="labkit"))
        with pytest.raises(psycopg.OperationalError, match=r"127\.0\.0\.1.*port 1 .*refused"):
            libpq.connect(dsn, application_name="labkit", connect_timeout=2)
    usual = {
        one.keyword.decode(): (one.compiled or b"").decode() for one in Conninfo.get_defaults()
    }
    asked = conninfo_to_dict(dsn, application_name="labkit")
    for name, value in found.items():
        assert value in (asked.get(name), usual[name], *libpq._NOT_EMPTY.values())


@pytest.mark.usefixtures("nowhere")
def test_a_connection_goes_where_labkit_says_and_nowhere_else(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LIBPQ:
        if name != "PGSERVICE":
            monkeypatch.setenv(name, "127.0.0.2" if name == "PGHOSTADDR" else "nonsense")
    with pytest.raises(psycopg.OperationalError):
        libpq.connect(DSN.format(port=listener.getsockname()[1]), connect_timeout=2)
    arrived, _ = listener.accept()
    with arrived:
        said = arrived.recv(4096)
    assert b"nonsense" not in said
    assert b"trader" in said


@pytest.mark.usefixtures("nowhere")
def test_a_service_of_the_users_is_refused_because_no_parameter_overrides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSERVICE", "prod")
    with pytest.raises(BadInput, match=r"PGSERVICE is set \(prod\).*unset it"):
        libpq.connect(DSN.format(port=1))


def test_every_connection_of_labkit_is_made_by_libpq_connect() -> None:
    folder = Path(labkit.__file__).parent
    direct = re.compile(r"psycopg\.connect\(|AsyncConnection\.connect\(")
    found = [
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if direct.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["libpq.py"]


def test_servers_see_nothing_that_the_user_set_for_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = [
        *LIBPQ,
        *OTHERS,
        *("PATRONI_NAME", "ETCD_NAME", "HAPROXY_CFG", "COCKROACH_URL", "KUBERNETES_PORT"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS"),
        *("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "LANG", "LC_MESSAGES", "GOGC", "MALLOC_CHECK_"),
    ]
    for name in foreign:
        monkeypatch.setenv(name, "hostile")
    monkeypatch.setenv("TZ", "Mars/Base")
    monkeypatch.setenv("LC_ALL", "xx_XX")
    monkeypatch.setenv("LABKIT_CHOICE", "kept")
    table = ProcessTable(tmp_path / "processes", tmp_path, "some-lab", Identity(0, 0))
    seen = table.environment({"GOMAXPROCS": "1"})
    assert "hostile" not in seen.values()
    assert "LC_ALL" not in seen
    assert (seen["TZ"], seen["LC_CTYPE"], seen["GOMAXPROCS"]) == ("UTC", "C.UTF-8", "1")
    assert (seen["LABKIT_LAB"], seen["LABKIT_CHOICE"]) == ("some-lab", "kept")
    assert seen["PATH"] == os.environ["PATH"]


def test_short_programs_of_the_servers_user_see_no_more_than_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PGHOSTADDR", "LD_PRELOAD", "LANG"):
        monkeypatch.setenv(name, "/hostile")
    monkeypatch.setenv("TZ", "Mars/Base")
    seen = dict(line.split("=", 1) for line in Identity.current().run("env").stdout.splitlines())
    assert seen["TZ"] == "UTC"
    assert "/hostile" not in seen.values()


def test_a_server_starts_where_its_packages_are_in_a_folder_with_any_letters(
    tmp_path: Path,
) -> None:
    (tmp_path / "labkit.pth").write_text("/home/büro/labkit\n", encoding="utf-8")
    code = "import site, sys; site.addsitedir(sys.argv[1])"
    command = [sys.executable, "-S", "-c", code, tmp_path]
    subprocess.run(command, env=environment.of_servers({}), check=True)


def test_programs_keep_the_users_environment_but_what_would_change_them() -> None:
    there = {
        **dict.fromkeys([*LIBPQ, *OTHERS], "hostile"),
        **dict.fromkeys(environment.PYTHON_SWITCHES, "hostile"),
        "PYTHONPATH": "/own/modules",
        "HTTPS_PROXY": "http://proxy:3128",
        "NO_PROXY": "intranet",
        "DOCKER_HOST": "unix:///run/docker.sock",
    }
    kept = environment.of_programs(there)
    assert "hostile" not in kept.values()
    assert (kept["PYTHONPATH"], kept["DOCKER_HOST"]) == ("/own/modules", "unix:///run/docker.sock")
    assert kept["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_a_program_of_labkits_drops_them_from_its_own_environment(tmp_path: Path) -> None:
    script = (
        "import os, warnings\n"
        "from labkit.environment import drop_foreign\n"
        "drop_foreign()\n"
        "warnings.warn('a library says this', DeprecationWarning)\n"
        "open('mine', 'w').close()\n"
        "import resource\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (500, 500)\n"
        "assert resource.getrlimit(resource.RLIMIT_STACK)[0] >= 8 << 20\n"
        "print(sorted(name for name in os.environ if name.startswith('PG')), end='')\n"
    )

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 500))
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        resource.setrlimit(resource.RLIMIT_STACK, (512 << 10, hard))

    hostile = {**dict.fromkeys([*LIBPQ, *OTHERS], "hostile"), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **hostile},
        cwd=tmp_path,
        umask=0o777,
        preexec_fn=few,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]"), done.stderr
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600


def test_a_folder_named_from_the_current_one_is_the_same_for_a_kernel_elsewhere(
    tmp_path: Path,
) -> None:
    script = (
        "import os\n"
        "from labkit.environment import drop_foreign\n"
        "drop_foreign()\n"
        "print(*map(os.environ.get, ['LABKIT_HOME', 'LABKIT_RUNS', 'LABKIT_NOTEBOOKS']))\n"
    )
    chosen = {"LABKIT_HOME": "lab", "LABKIT_RUNS": "~nobody-of-this-name/runs", "HOME": "/h"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **chosen, "LABKIT_NOTEBOOKS": "~/mine"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"{tmp_path}/lab {tmp_path}/~nobody-of-this-name/runs /h/mine\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
