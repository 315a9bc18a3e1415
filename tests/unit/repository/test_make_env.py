"""`make env` on machines that lack something: each is told what, in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SCRIPT = Path(__file__).parents[3] / "tools" / "env.sh"
PYTHON = """#!/bin/sh
# a Python of version 3.{minor}, with or without ensurepip
case "$1" in
  --version) echo "Python 3.{minor}.1" ;;
  -c) [ {minor} -ge 11 ] ;;
  -m)
    [ "$2 $3" != "pip install" ] || {{ echo "no network" >&2; exit 1; }}
    [ "$2" = venv ] || exit 0
    mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python"
    [ {works} = True ] || {{ echo "ensurepip is not available"; exit 1; }} ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >> "$CALLS"
if [ "$1" = venv ]; then
  for folder in "$@"; do :; done
  mkdir -p "$folder/bin" && touch "$folder/pyvenv.cfg" && cp "$NEW" "$folder/bin/python"
else
  echo "Installed 2 packages"; echo " + one==1"; echo " + two==2"; exit {status}
fi
"""


class Machine:
    """A checkout, and a PATH with nothing on it but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.checkout = folder / "bin", folder / "check out"
        self.calls = folder / "calls"
        for path in (self.bin, self.checkout):
            path.mkdir()
        self.calls.touch()
        for tool in ("chmod", "cp", "dirname", "grep", "ls", "mkdir", "rm", "sh", "tail", "touch"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def has(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str = "python3", *, minor: int = 12, works: bool = True) -> Path:
        return self.has(name, PYTHON.format(minor=minor, works=works))

    def uv(self, status: int = 0) -> None:
        self.has("uv", UV.format(status=status))

    @property
    def venv(self) -> Path:
        return self.checkout / ".venv"

    def make_env(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        new = self.bin.parent / "new"
        new.write_text(PYTHON.format(minor=13, works=True))
        new.chmod(0o755)
        return subprocess.run(
            ["sh", SCRIPT, ".venv", *arguments],
            cwd=self.checkout,
            env={"PATH": str(self.bin), "CALLS": str(self.calls), "NEW": str(new)},
            capture_output=True,
            text=True,
            check=False,
        )

    def refuses(self, *arguments: str) -> str:
        done = self.make_env(*arguments)
        assert done.returncode == 1, done.stdout
        (line,) = done.stderr.splitlines()
        return line


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_says_what_it_does_and_lists_no_packages_in_a_log(machine: Machine) -> None:
    machine.python()
    machine.uv()
    done = machine.make_env()
    assert done.returncode == 0
    making, installing, installed = done.stdout.splitlines()
    assert "making the environment" in making
    assert "installing labkit" in installing
    assert installed == "Installed 2 packages"
    assert "making" not in machine.make_env().stdout


def test_an_old_python_without_uv_is_refused_with_both_ways_out(machine: Machine) -> None:
    machine.python(minor=10)
    line = machine.refuses()
    assert "python3 is Python 3.10.1" in line
    assert "PYTHON=" in line
    assert "uv" in line
    assert not machine.venv.exists()


def test_no_python_at_all_is_refused(machine: Machine) -> None:
    assert "python3 is missing" in machine.refuses()


def test_a_newer_python_beside_an_old_one_is_found(machine: Machine) -> None:
    machine.python(minor=10)
    newer = machine.python("python3.12")
    machine.uv()
    assert machine.make_env().returncode == 0
    assert f"--python {newer}" in machine.calls.read_text()


def test_uv_brings_a_python_where_there_is_none_new_enough(machine: Machine) -> None:
    machine.python(minor=10)
    machine.uv()
    done = machine.make_env()
    assert done.returncode == 0, done.stderr
    assert "uv brings one" in done.stdout
    assert "--python 3.13" in machine.calls.read_text()


def test_the_python_that_is_asked_for_is_taken_or_refused(machine: Machine) -> None:
    machine.python()
    other = machine.python("my python", minor=9)
    assert "my python is Python 3.9.1" in machine.refuses(str(other))


def test_without_ensurepip_the_package_is_named_and_the_next_try_begins_afresh(
    machine: Machine,
) -> None:
    machine.python(works=False)
    assert "apt install python3-venv" in machine.refuses()
    assert not machine.venv.exists()
    machine.python()
    machine.uv()
    assert machine.make_env().returncode == 0


def test_without_a_network_pips_words_are_followed_by_what_it_needs(machine: Machine) -> None:
    machine.python()
    words, line = machine.make_env().stderr.splitlines()
    assert words == "no network"
    assert "PIP_INDEX_URL" in line


def test_what_an_interrupted_try_left_is_made_anew(machine: Machine) -> None:
    machine.venv.mkdir()
    (machine.venv / "pyvenv.cfg").touch()
    (machine.venv / "half").touch()
    machine.python()
    machine.uv()
    assert machine.make_env().returncode == 0
    assert not (machine.venv / "half").exists()


def test_a_folder_that_is_no_environment_is_left_alone(machine: Machine) -> None:
    machine.venv.mkdir()
    (machine.venv / "letter").write_text("dear")
    machine.python()
    machine.uv()
    assert "is no Python environment" in machine.refuses()
    assert (machine.venv / "letter").read_text() == "dear"


def test_a_failed_installation_is_a_failure(machine: Machine) -> None:
    machine.python()
    machine.uv(status=2)
    assert machine.make_env().returncode == 1
    machine.uv()
    assert machine.make_env().returncode == 0


def test_after_an_installation_that_did_not_end_every_package_is_installed_again(
    machine: Machine,
) -> None:
    machine.python()
    machine.uv(status=2)
    machine.make_env()
    machine.uv()
    for again in (True, False):
        machine.calls.write_text("")
        assert machine.make_env().returncode == 0
        assert ("--reinstall" in machine.calls.read_text()) is again


def test_a_disk_that_executes_nothing_is_refused_before_anything_is_made(machine: Machine) -> None:
    machine.python()
    machine.uv()
    (machine.bin / "chmod").unlink()
    machine.has("chmod", "#!/bin/sh\n")
    line = machine.refuses()
    assert "noexec" in line
    assert "make VENV=" in line
    assert list(machine.checkout.iterdir()) == []


@pytest.mark.parametrize("said", ["this user is not in /etc/passwd", ""])
def test_a_user_who_cannot_have_a_lab_is_told_so_before_anything_is_fetched(
    machine: Machine, said: str
) -> None:
    machine.has("python3", f"#!/bin/sh\necho '{said}'\n")
    make = ["make", "--no-print-directory", "-C", SCRIPT.parents[1], "able"]
    path = f"{machine.bin}:{os.environ['PATH']}"
    done = subprocess.run(make, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if said else 0)
    assert (f"make demo: {said}\n" in done.stderr) == bool(said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_checkout_that_cannot_be_written_to_is_refused(machine: Machine) -> None:
    machine.checkout.chmod(0o555)
    assert "cannot be written to" in machine.refuses()


def test_uv_warns_of_no_extra_that_its_package_does_not_have() -> None:
    settings = tomllib.loads((SCRIPT.parents[1] / "pyproject.toml").read_text())["tool"]["uv"]
    overridden = {Requirement(line).name for line in settings["override-dependencies"]}
    found = {canonicalize_name(each.metadata["Name"]): each for each in distributions()}
    asked = [Requirement(line) for each in found.values() for line in each.requires or ()]
    missing = [
        str(one)
        for one in asked
        if (package := found.get(canonicalize_name(one.name)))
        and one.name not in overridden
        and one.extras - set(package.metadata.get_all("Provides-Extra") or ())
        and (one.marker is None or one.marker.evaluate({"extra": ""}))
    ]
    assert missing == []
