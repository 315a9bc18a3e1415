"""What a shell offers when TAB is pressed, asked for as bash, zsh and fish ask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit.cli import completion
from labkit.cli.app import app
from labkit.cli.targets import node_named, nodes_named, region_named
from labkit.cluster.engines.postgresql.settings import Settings
from labkit.faults.parse import parse
from labkit.notebooks import notebooks
from labkit.testing import FakeCluster
from labkit.topology import Topology

LABKIT = Path(sys.executable).with_name("labkit")


def ask(tmp_path: Path, **variables: str) -> str:
    """Run labkit as a shell does after TAB; it says nothing on standard error, whatever happens."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LABKIT_HOME": str(tmp_path / "lab"),
        "LABKIT_RUNS": str(tmp_path / "runs"),
    }
    done = subprocess.run(
        [LABKIT], env=env | variables, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


def bash(tmp_path: Path, *words: str) -> list[str]:
    return ask(
        tmp_path,
        _LABKIT_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(("labkit", *words)),
        COMP_CWORD=str(len(words)),
    ).split()


def test_bash_is_offered_the_rest_of_a_word_that_it_takes_apart(tmp_path: Path) -> None:
    regions = ["us-west-2", "us-east-1", "eu-west-1"]
    assert bash(tmp_path, "fault", "kill", "lb", ":") == regions
    assert bash(tmp_path, "fault", "kill", "lb", ":", "us-e") == ["us-east-1"]
    assert bash(tmp_path, "fault", "slow", "us-west-2", ":", "eu") == ["eu-west-1"]
    assert bash(tmp_path, "run", "node_loss", "-p", "hold_s", "=") == ["15"]
    assert bash(tmp_path, "up", "--survive", "=", "z") == ["zone"]


def test_zsh_is_offered_targets_with_their_colons_escaped(tmp_path: Path) -> None:
    told = ask(
        tmp_path,
        _LABKIT_COMPLETE="complete_zsh",
        _TYPER_COMPLETE_ARGS="labkit fault stop lb:us-w",
    )
    assert told.strip() == r"""_arguments '*: :(("lb\\:us-west-2"))'"""


def test_fish_is_offered_runs(tmp_path: Path) -> None:
    for name in ("20260101T000000Z-a", "20260102T000000Z-b", "notes"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    told = ask(
        tmp_path,
        _LABKIT_COMPLETE="complete_fish",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_ARGS="labkit compare ",
    )
    assert told.split() == ["last", "last-1", "20260102T000000Z-b", "20260101T000000Z-a"]


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What fish is offered, in this process, for a line up to its last word."""
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "lab"))
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def offered(*words: str) -> list[str]:
        asked = {
            completion.VARIABLE: "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": " ".join(("labkit", *words)),
        }
        done = CliRunner().invoke(app, [], env=asked, prog_name="labkit")
        assert done.stderr == ""
        return [one.partition("\t")[0] for one in done.stdout.splitlines() if one]

    return offered


def test_every_target_that_is_offered_is_one(line) -> None:
    cluster = FakeCluster()
    cluster.start()
    for kind in ("kill", "stop", "pause", "disaster", "partition", "slow"):
        targets = line("fault", kind, "")
        assert {"us-west-2", "leader-region"} <= {*targets}
        for target in targets:
            parse(kind, target, cluster)
    assert {"primary", "eu-west-1/3", "lb:us-east-1"} <= {*line("fault", "kill", "")}
    for word in line("node", "remove", ""):
        node_named(cluster, word)
    for word in line("node", "restart", ""):
        nodes_named(cluster, word)
    assert "primary" in line("node", "remove", "")
    assert {"primary", "leader-region", "us-east-1"} <= {*line("node", "restart", "")}
    for words in (("dsn",), ("sql",), ("node", "add"), ("load", "orders", "--region")):
        assert "leader-region" in line(*words, "")
        for word in line(*words, ""):
            region_named(cluster, word)


def test_judge_is_offered_runs(line, tmp_path: Path) -> None:
    (tmp_path / "runs" / "20260101T000000Z-a").mkdir(parents=True)
    assert line("judge", "") == ["last", "20260101T000000Z-a"]


def test_the_shape_of_the_lab_that_is_there_is_offered(line, tmp_path: Path) -> None:
    shape = Topology.model_validate(
        {
            "survive": "zone",
            "region": [{"name": "mars", "nodes": 3}, {"name": "moon", "nodes": 3}],
            "link": [{"between": ["mars", "moon"], "rtt_ms": 50}],
        }
    )
    (tmp_path / "lab").mkdir()
    Settings(topology=shape).save(tmp_path / "lab")
    assert line("dsn", "") == ["leader-region", "mars", "moon"]
    assert line("load", "orders", "--region", "ma") == ["mars"]
    assert line("node", "remove", "moon/") == ["moon/1", "moon/2", "moon/3"]


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"topology": 3}', "\x00", '{"topology": {}}'])
def test_a_damaged_lab_offers_the_shape_of_a_new_one(line, tmp_path: Path, damage: str) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.json").write_text(damage)
    assert line("dsn", "us-") == ["us-west-2", "us-east-1"]


def test_notebooks_are_offered_by_both_names_and_those_of_the_folder_too(
    line, tmp_path: Path
) -> None:
    (tmp_path / "mine.ipynb").touch()
    offered = line("run", "")
    assert {*notebooks()} <= {*offered}
    assert {"node_loss", "mine.ipynb"} <= {*offered}


@pytest.mark.parametrize("before", [("node_loss",), ("--short", "03_node_loss", "-p", "seed=2")])
def test_parameters_are_offered_with_their_defaults_once(line, before: tuple[str, ...]) -> None:
    offered = line("run", *before, "-p", "")
    assert "hold_s=15" in offered
    assert ("seed=1" in offered) == ("-p" not in before)
    assert line("run", *before, "-p", "hold") == ["hold_s=15"]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "nonsense", "-p", ""),
        ("run", "-p", ""),
        ("run", "broken.ipynb", "-p", ""),
        ("compare", ""),
        ("fault", "kill", "zzz"),
    ],
)
def test_what_cannot_be_known_offers_nothing(line, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "broken.ipynb").write_text("{")
    assert line(*words) == []


def test_asking_imports_nothing_that_takes_long(tmp_path: Path) -> None:
    code = (
        "import sys, labkit.cli.app, labkit.cli.completion\n"
        "slow = {'pandas', 'numpy', 'plotly', 'papermill', 'psycopg', 'docker', 'IPython'}\n"
        "print(*(slow & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
