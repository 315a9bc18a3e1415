"""How every command ends: without a lab, by a signal, by a bug, on a full disk."""

from __future__ import annotations

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from commands import labkit

from labkit.testing import FakeCluster


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["heal"],
        ["dsn", "us-west-2"],
        ["sql", "us-west-2"],
        ["fault", "kill", "primary"],
    ],
    ids=" ".join,
)
def test_without_a_lab_there_is_one_line_that_says_how_to_get_one(arguments: list[str]) -> None:
    done = labkit(*arguments)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "labkit: no lab here: `labkit up` makes one\n"


def test_a_bug_keeps_its_traceback(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "status", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        labkit("status")


def test_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", labkit("--version").stdout)


BLOCKING = """
import signal, sys, time
import labkit.cluster, labkit.lab
from labkit.cli import main
from labkit.testing import FakeCluster

def bring_up(cluster, on_stage):
    try:
        on_stage("waiting")
        time.sleep(60)
    finally:
        print("stopped what was started", flush=True)

labkit.cluster.create = lambda *args, **kwargs: FakeCluster()
labkit.lab.bring_up = bring_up
sys.argv = ["labkit", "up"]
main()
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "labkit: interrupted\n"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_a_signal_cleans_up_and_leaves_no_traceback(
    number: signal.Signals, code: int, said: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (code, "stopped what was started\n", said)


def test_light_commands_do_not_import_heavy_packages() -> None:
    heavy = {"pandas", "plotly", "papermill", "IPython", "jupyterlab", "pyarrow", "numpy"}
    imports = "import sys, labkit.cli.app, labkit.cluster.engines.postgresql.cluster"
    script = f"{imports}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_full_disk_is_one_line(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/samples.parquet")

    monkeypatch.setattr(cluster, "heal", fail)
    done = labkit("heal")
    assert done.exit_code == 3
    assert done.stderr.startswith("labkit: the disk is full")
    assert "/somewhere/samples.parquet" in done.stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "/a/b: Permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a"), "/a: Not a directory"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a: Read-only file system"),
        (OSError(errno.EMFILE, "Too many open files"), "`ulimit -n`"),
        (TimeoutError("timed out"), "timed out"),
        (psycopg.OperationalError("FATAL: no\nDETAIL: at all"), "the database: FATAL: no DETAIL"),
        (psycopg.errors.QueryCanceled(), "the database: QueryCanceled: `labkit status`"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_machine_and_the_database_refuse_is_one_line(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cluster, "heal", fail)
    done = labkit("heal")
    assert done.exit_code == 3
    assert re.fullmatch(r"labkit: .*\n", done.stderr)
    assert says in done.stderr


@pytest.mark.parametrize("variable", ["LABKIT_HOME", "LABKIT_RUNS"])
def test_a_folder_that_cannot_be_used_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "folder"))

    def fail(*_: object) -> None:
        (tmp_path / "file" / "folder").mkdir()

    monkeypatch.setattr("labkit.cluster.attach", fail)
    done = labkit("heal")
    assert done.exit_code == 3
    assert re.fullmatch(r"labkit: .*/file/folder: Not a directory: .*\n", done.stderr)
    assert f"{variable} names another folder" in done.stderr


def test_the_home_of_a_user_who_is_not_there_is_a_name_as_in_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("LABKIT_HOME", "LABKIT_RUNS"):
        monkeypatch.setenv(variable, "~nobody-of-this-name/x")
    assert "~nobody-of-this-name/x" in labkit("status").stderr
    assert labkit("runs").stdout.startswith("no runs yet")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nonsense"], "No such option: --nonsense: see `labkit --help`"),
        (["nonsense"], "No such command 'nonsense'"),
        (["fault", "nonsense"], "No such command 'nonsense': see `labkit fault --help`"),
        (["fault", "kill"], "Missing argument 'TARGET': see `labkit fault kill --help`"),
        (["up", "--port-base", "70000"], "'70000' for '--port-base'"),
        (["up", "--survive", "galaxy"], "'none', 'zone', 'region'"),
        (["desk", "--port", "0"], "'0' for '--port'"),
        (["notebook", "--port", "-1"], "'-1' for '--port'"),
        (["compose", "render", "--port-base", "99999"], "'99999' for '--port-base'"),
    ],
)
def test_a_refused_command_line_is_one_line(words: list[str], says: str) -> None:
    done = labkit(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.fullmatch(r"labkit: .* --help`\n", done.stderr)
    assert says in done.stderr
    assert "Value error" not in done.stderr


def test_a_current_folder_that_was_removed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("LABKIT_RUNS", "runs")
    done = labkit("runs")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "labkit: the current folder was removed: go to another one, and repeat the command\n"
    )
