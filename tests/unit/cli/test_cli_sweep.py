"""Every option and argument of every command is given what its type does not take.

Never a traceback: an exit code that docs/cli.md has, and where a command is refused one line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import Became, labkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.cli.app import app
from labkit.errors import NotReady
from labkit.run.finished import Run
from labkit.testing import FakeCluster

CODES = {0, 1, 2, 3}

ARGUMENTS = {
    "workload": "orders",
    "region": "us-east-1",
    "target": "us-east-1",
    "name": "us-east-1/2",
    "notebook": "03_node_loss",
    "runs": "last",
}
"""For arguments that a command cannot do without, while another one is given nonsense."""


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something."""
    children = getattr(command, "commands", {})
    if not children:
        yield words, command
    for name, child in children.items():
        yield from leaves(child, (*words, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))
VALUED, FLAGS = (
    [
        pytest.param(words, parameter, id=f"{' '.join(words)} {parameter.name}")
        for words, command in COMMANDS.items()
        for parameter in command.params
        if bool(getattr(parameter, "is_flag", False)) is flags
    ]
    for flags in (False, True)
)

# what can stand in a command line: anything but NUL, and bytes that are no UTF-8 as surrogates
TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=12)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["", "-", "0", "-1", "1e308", "1e999", "nan", "-inf", "9" * 400, "0x1", "1_0"]),
)
ODD = ("", "x" * 5000, "\x1b[31m", "a\nb", "\udcff", "beside=kill fly")
NAMES = st.sampled_from(
    (
        ".",
        "..",
        "/",
        ":",
        ">",
        "lb:",
        "lb:us-east-1",
        "lb:mars",
        "primary",
        "leader-region",
        "us-east-1/",
        "us-east-1/9",
        "us-east-1/2",
        "us-east-1:us-east-1",
        "us-east-1>eu-west-1",
        "a>b>c",
        "[/foo]",
        "[red]x",
        "x=",
        "=x",
        "hold_s=-5",
        "hold_s=(((",
        "seed=1e999",
        "goals=galaxy",
        "victim=",
        "last",
        "last-",
        "last-99",
        "00_setup.ipynb",
        "broken.ipynb",
        *ODD,
    )
)
PATHS = st.sampled_from(
    (
        "/nonexist/x",
        "/proc/x/y",
        "/dev/null/x",
        "/etc",
        "file",
        "binary",
        "folder",
        "{x}",
        "bad.toml",
        *ODD,
    )
)
OF_TYPE = {"int": NUMBERS | TEXTS, "float": NUMBERS | TEXTS, "Path": PATHS | TEXTS}


def nonsense(parameter: Any) -> st.SearchStrategy[str]:
    """Values that a parameter's type may be given, most of which it does not take."""
    name = getattr(parameter.type_descriptor.annotation, "__name__", "")
    return OF_TYPE.get(name, NAMES | TEXTS | PATHS | NUMBERS)


@pytest.fixture
def fake(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCluster:
    """A lab in memory; what would serve, send, execute or wait for long ends at once."""

    def become(*_: Any, **__: Any) -> None:
        raise Became

    def refuse(*_: Any, **__: Any) -> None:
        raise NotReady("the workload workers: not ready after 25 s")

    def execute(_notebook: Path, _values: Any, folder: Path, *_: Any) -> Run:
        return Run(folder)

    def probe_once(fault: Any, cluster: FakeCluster, **_: Any) -> Any:
        return fault.probe(cluster)

    monkeypatch.chdir(tmp_path)
    for variable in ("LABKIT_HOME", "LABKIT_RUNS", "LABKIT_NOTEBOOKS"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    (tmp_path / "file").write_text("[]")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "broken.ipynb").write_text("{}")
    (tmp_path / "bad.toml").write_text("survive = 3")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("labkit.cluster.create", lambda *_, **__: cluster)
    monkeypatch.setattr("labkit.cluster.attach_to_change", lambda: cluster)
    monkeypatch.setattr(cluster, "purge", lambda: ())
    monkeypatch.setattr("labkit.lab.connect", lambda *_, **__: cluster)
    monkeypatch.setattr("labkit.run.notebook._execute", execute)
    monkeypatch.setattr("labkit.demo.demo", lambda *_: Run(tmp_path / "folder"))
    monkeypatch.setattr("labkit.ui.page_server.serve_page", become)
    monkeypatch.setattr("labkit.ui.notebook_server.serve_notebooks", become)
    monkeypatch.setattr("labkit.workload.classes.ClassWorkload.start", refuse)
    monkeypatch.setattr("labkit.faults.inject.await_effect", probe_once)
    monkeypatch.setattr("labkit.faults.disaster.sleep", lambda _seconds: None)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(os, "execve", become)
    return cluster


@contextmanager
def becoming_is_fine() -> Iterator[None]:
    """A command that got as far as turning into a server has taken what it was given."""
    try:
        yield
    except Became:
        return


def check(*words: str) -> None:
    with becoming_is_fine():
        done = labkit(*words)
        assert done.exit_code in CODES, words
        said = [line for line in done.stderr.splitlines() if line.startswith("labkit: ")]
        if done.exit_code == 2:
            assert (done.stdout, done.stderr.splitlines()) == ("", said), words
        if done.exit_code in (2, 3):
            assert len(said) == 1, words
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stderr + done.stdout) is None, words


def needed(words: tuple[str, ...], but: Any) -> list[str]:
    """The arguments without which a command says only that they are missing."""
    parameters = COMMANDS[words].params
    return [ARGUMENTS[one.name] for one in parameters if one is not but and one.required]


@pytest.mark.parametrize(("words", "parameter"), VALUED)
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_value_of_any_parameter_ends_in_a_traceback(
    fake: FakeCluster, words: tuple[str, ...], parameter: Any, data: st.DataObject
) -> None:
    fake.start()
    value = data.draw(nonsense(parameter))
    if parameter.param_type_name == "argument":
        check(*words, *needed(words, parameter), "--", value)
    else:
        check(*words, *needed(words, parameter), f"{parameter.opts[0]}={value}")


def test_a_number_that_is_too_long_or_none_at_all_ends_in_no_traceback(fake: FakeCluster) -> None:
    fake.start()
    numbers = 0
    for words, parameter in (one.values for one in VALUED):
        if getattr(parameter.type_descriptor.annotation, "__name__", "") in ("int", "float"):
            numbers += 1
            for value in ("9" * 400, "1e999", "nan"):
                check(*words, *needed(words, parameter), f"{parameter.opts[0]}={value}")
    assert numbers > 15


@pytest.mark.parametrize(("words", "parameter"), FLAGS)
@pytest.mark.usefixtures("fake")
def test_no_switch_ends_in_a_traceback(words: tuple[str, ...], parameter: Any) -> None:
    for switch in (*parameter.opts, *parameter.secondary_opts):
        check(*words, *needed(words, parameter), switch)
        check(*words, *needed(words, parameter), f"{switch}=1")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.usefixtures("fake")
def test_no_folder_that_a_setting_names_ends_in_a_traceback(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for value in ("/dev/null/x", "/etc/hostname", "\udcff{x}"):
        with monkeypatch.context() as here:
            for variable in ("LABKIT_HOME", "LABKIT_RUNS", "LABKIT_NOTEBOOKS"):
                here.setenv(variable, value)
            check(*words, *needed(words, None))
