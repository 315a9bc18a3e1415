"""A workload class of the user's: what is wrong with it is said in the user's words, at once."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import labkit

from labkit.errors import BadInput, RunError
from labkit.run.experiment import Experiment
from labkit.testing import FakeCluster
from labkit.topology import Topology
from labkit.trading.retries import Patience
from labkit.verdict.steady import SteadyState
from labkit.workload import adapter
from labkit.workload.adapter import ClassError, user_code
from labkit.workload.classes import ClassWorkload

ONE = Topology.model_validate({"region": [{"name": "r0"}], "survive": "none"})


def a_class(folder: Path, body: str) -> Path:
    file = folder / "my_workload.py"
    head = "class MyWorkload:\n    def __init__(self, args):\n        self.args = args\n\n"
    file.write_text(head + textwrap.indent(textwrap.dedent(body), "    "))
    return file


def customer(file: Path, connection: Any = None) -> adapter._Customer:
    conn = connection or SimpleNamespace(closed=False, info=SimpleNamespace())
    return adapter._Customer(
        adapter.load_class(file)({}),
        region="r0",
        number=0,
        of=1,
        connect=lambda: conn,
        patience=Patience(5.0, 2.0),
        file=file,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class MyWorkload(:\n    pass\n", r"my_workload.py, line 1: SyntaxError: invalid syntax"),
        ("import no_such_module\n", r"line 1, in <module>: ModuleNotFoundError: No module named"),
        ("x = 1\n\nraise SystemExit('no more today')\n", r"line 3, .*SystemExit: no more today"),
        ("class Other:\n    pass\n", r"has no class MyWorkload"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_with_the_line(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "my_workload.py"
    file.write_text(text)
    with pytest.raises(BadInput, match=said) as caught:
        ClassWorkload(file=file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def loop(self):\n    return None", r"MyWorkload.loop\(\) returned None: it is a list"),
        ("def loop(self):\n    return ['f']", r"returned \['f'\]: it is a list of functions"),
        (
            "def loop(self):\n    return []",
            r"returned no function 3 times in a row: there is nothing to measure",
        ),
        (
            "def loop(self):\n    raise ValueError('a long\\nmessage, whole')",
            r"my_workload.py, line 6, in loop: ValueError: a long message, whole",
        ),
        ("def loop(self):\n    raise SystemExit('no more')", r"in loop: SystemExit: no more"),
        ("def loop(self):\n    assert False", r"line 6, in loop: AssertionError$"),
    ],
)
def test_a_loop_that_gives_no_functions_ends_the_load_and_says_why(
    tmp_path: Path, body: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MOST_EMPTY_LOOPS", 3)
    monkeypatch.setattr(adapter, "EMPTY_LOOP_S", 0.0)
    one = customer(a_class(tmp_path, body))

    def go_on() -> None:
        for _ in range(3):
            one.loop_once(adapter.monotonic())

    with pytest.raises(ClassError, match=said):
        go_on()


def test_an_error_of_the_database_stays_an_outcome(tmp_path: Path) -> None:
    error = adapter.psycopg.OperationalError("gone")
    with pytest.raises(adapter.psycopg.OperationalError), user_code(tmp_path, outcomes=True):
        raise error
    with pytest.raises(ClassError, match="gone"), user_code(tmp_path):
        raise error


def test_what_a_class_raises_reaches_whoever_started_the_load_as_it_is(tmp_path: Path) -> None:
    file = a_class(tmp_path, "def loop(self):\n    return []")
    file.write_text(file.read_text().replace("self.args = args", "self.key = args['colour']"))
    cluster = SimpleNamespace(
        topology=ONE, dsn=lambda _region, read_only=False: "postgresql://x@127.0.0.1:1/x"
    )
    workload = ClassWorkload(file=file, concurrency=1)
    with pytest.raises(RunError) as caught:
        workload.start(cluster, tmp_path / "run")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "r0: the workload class failed: my_workload.py, line 3, in __init__: KeyError: 'colour'"
    )


def test_an_experiment_says_at_once_that_it_cannot_judge_a_class(tmp_path: Path) -> None:
    workload = ClassWorkload(file=a_class(tmp_path, "def loop(self):\n    return []"))
    with pytest.raises(BadInput, match=r"my_workload.py: an experiment judges the orders"):
        Experiment(FakeCluster(), workload, SteadyState(p99_ms=1000))  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["galaxy", "nothing.py", "."])
def test_load_says_which_workloads_there_are(word: str) -> None:
    done = labkit("load", word)
    assert done.exit_code == 2
    assert re.search(rf"no workload '{re.escape(word)}': say orders, accounts, or", done.stderr)
