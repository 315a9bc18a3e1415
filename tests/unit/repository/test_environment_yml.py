"""The conda environment is what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_brings_a_python_that_labkit_runs_on_and_pip_the_rest() -> None:
    *conda, by_pip = ENVIRONMENT["dependencies"]
    assert {"pip", "make"} <= set(conda)
    assert by_pip == {"pip": ["-e ."]}
    (python,) = [line for line in conda if line.startswith("python ")]
    oldest = re.fullmatch(r"python >=([\d.]+)(,<[\d.]+)?", python)
    assert oldest
    assert PROJECT["requires-python"] == f">={oldest[1]}"


def test_it_has_a_name_and_a_channel() -> None:
    assert ENVIRONMENT["name"] == "labkit"
    assert ENVIRONMENT["channels"] == ["conda-forge"]
