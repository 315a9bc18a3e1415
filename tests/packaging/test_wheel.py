"""The wheel alone, outside the repository: what it holds, and that it is enough."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
UVX = Path(UV).with_name("uvx")
ALONE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""An environment in which nothing of this checkout is found."""

pytestmark = pytest.mark.skipif(
    not Path(UV).is_file(), reason="no uv, neither on PATH nor in this environment"
)


def uv(*arguments: object, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [UV, "--quiet", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def tracked_copy(to: Path) -> Path:
    """The files of the checkout, as somebody who clones it has them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("no git checkout: nothing says which files are the repository's")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def wheel_of(tree: Path, into: Path) -> Path:
    uv("build", "--wheel", "--out-dir", into, tree)
    [wheel] = into.glob("*.whl")
    return wheel


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")
        }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return wheel_of(tracked_copy(folder / "tree"), folder / "dist")


@pytest.fixture(scope="module")
def labkit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, installed into an environment of its own with what the wheel asks for."""
    env = tmp_path_factory.mktemp("installed") / "env"
    uv("venv", "--python", sys.executable, env)
    uv("pip", "install", "--python", env / "bin/python", wheel)
    return env / "bin/labkit"


def run(labkit: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = ALONE | {"HOME": str(folder), "LABKIT_HOME": str(folder / "lab")}
    return subprocess.run(
        [labkit, *arguments], env=env, cwd=folder, capture_output=True, text=True, timeout=300
    )


def use(tree: Path) -> None:
    """Leave in a checkout what working in it leaves."""
    notebooks = tree / "notebooks"
    for folder in (notebooks, tree / "labkit", tree / "workloads", tree / "sql"):
        for junk in (".ipynb_checkpoints/a-checkpoint.ipynb", "__pycache__/a.cpython-311.pyc"):
            (folder / junk).parent.mkdir(exist_ok=True)
            (folder / junk).write_text("{}")
    (notebooks / "Untitled.ipynb").write_text("{}")
    (notebooks / "runs").mkdir()
    (notebooks / "runs/report.html").write_text("{}")
    (tree / "sql/.scratch.sql.swp").touch()
    for path in notebooks.glob("[0-9]*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and not cell["metadata"].get("tags"):
                cell["execution_count"] = 7
                cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["mine"]}]
        path.write_text(json.dumps(notebook))


def test_a_used_checkout_makes_the_same_wheel_as_a_fresh_one(wheel: Path, tmp_path: Path) -> None:
    tree = tracked_copy(tmp_path / "tree")
    use(tree)
    fresh, used = content(wheel), content(wheel_of(tree, tmp_path / "dist"))
    assert used.keys() == fresh.keys()
    for name in fresh:
        if name.endswith(".ipynb"):
            assert json.loads(used[name]) == json.loads(fresh[name]), name
        else:
            assert used[name] == fresh[name], name


def test_the_wheel_holds_every_notebook_and_every_file_that_labkit_reads(wheel: Path) -> None:
    names = content(wheel).keys()
    for folder in ("notebooks", "sql", "workloads"):
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        assert {f"labkit/share/{name}" for name in tracked} <= names


def test_the_installed_wheel_answers_outside_the_repository(labkit: Path, tmp_path: Path) -> None:
    for arguments in (
        ["--help"], ["--version"], ["run", "--help"], ["fault", "kill", "--help"], ["runs"],
        ["notebook", "--help"], ["desk", "--help"], ["compose", "render", "--output", "compose"],
    ):  # fmt: skip
        done = run(labkit, tmp_path, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert done.stderr == ""


def test_the_installed_wheel_knows_its_notebooks(labkit: Path, tmp_path: Path) -> None:
    done = run(labkit, tmp_path, "run")
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert path.stem in done.stderr


def test_everything_that_commands_need_is_installed_with_the_wheel(
    labkit: Path, tmp_path: Path
) -> None:
    told = json.loads(run(labkit, tmp_path, "doctor", "--json").stdout)
    assert told["blockers"]["notebooks"] == []
    levels = {check["name"]: check["level"] for check in told["checks"]}
    for name in ("PostgreSQL", "Patroni", "etcd", "HAProxy"):
        assert levels[name] in ("ok", "warn"), name
    code = "import labkit.demo, labkit.ui.page_server, labkit.ui.notebook_server, labkit.run.rescue"
    done = subprocess.run(
        [labkit.with_name("python"), "-c", code], env=ALONE | {"HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_installed_notebook_runs(labkit: Path, tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None,
              "id": "a", "source": "import labkit\nprint(labkit.__file__)"}]  # fmt: skip
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    (tmp_path / "mine.ipynb").write_text(json.dumps(book))
    done = run(labkit, tmp_path, "run", "mine.ipynb")
    assert done.returncode == 0, done.stderr
    [executed] = (tmp_path / "runs").glob("*/notebook.ipynb")
    assert str(labkit.parents[1]) in executed.read_text()
    assert not (labkit.parents[1] / "runs").exists()
    assert os.fspath(ROOT) not in executed.read_text()


@pytest.mark.long
@pytest.mark.skipif(not UVX.is_file(), reason="no uvx beside uv")
def test_uvx_runs_the_wheel_without_an_install_in_a_folder_that_stays_empty(
    wheel: Path, tmp_path: Path
) -> None:
    folder, home = tmp_path / "elsewhere", tmp_path / "lab"
    folder.mkdir()
    ours = {name for name in os.environ if name.startswith(("LABKIT", "PYTHON", "VIRTUAL_ENV"))}
    env = {name: value for name, value in os.environ.items() if name not in ours}

    def uvx(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [UVX, "--quiet", "--python", sys.executable, "--from", wheel, "labkit", *arguments],
            env=env | {"LABKIT_HOME": str(home)}, cwd=folder,
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    version = uvx("--version")
    assert (version.returncode, version.stdout) == (0, f"{labkit_version()}\n"), version.stderr
    refused = uvx("run", "no_such_notebook")
    assert refused.returncode == 2
    assert "03_node_loss" in refused.stderr
    status = uvx("status")
    assert (status.returncode, status.stdout) == (3, "")
    assert "`labkit up` makes one" in status.stderr
    assert list(folder.iterdir()) == []


def labkit_version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])
