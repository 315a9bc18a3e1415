"""Parameters of notebooks: read as Python, typed by their defaults, held to what is declared."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.errors import BadInput, UnknownParameter
from labkit.notebooks import notebooks
from labkit.run.notebook import NOTEBOOK_FILE, run_notebook
from labkit.run.parameters import (
    TAKES,
    declared_parameters,
    parse_parameters,
    require_taken,
    short_parameters,
    with_parameters,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))


def notebook(folder: Path, parameters: str, *sources: str) -> Path:
    """A notebook without a kernelspec, as `new_notebook` makes it."""
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "mine.ipynb")
    return folder / "mine.ipynb"


@pytest.mark.parametrize(
    ("default", "typed", "value"),
    [
        ('"a # b"', "c", "c"),
        ('"a # b"', "c # d", "c # d"),
        ("'it\\'s'", "it's", "it's"),
        ('"a=b"', "c=d", "c=d"),
        ('"""a\nb"""', "c", "c"),
        ('"x"', "none", "none"),
        ('"x"', "2", "2"),
        ("1e3", "2000", 2000),
        ("-1e-3", "0.5", 0.5),
        ("0.5", "-1e-3", -1e-3),
        ("0.5", "1E5", 1e5),
        ("1_000", "2_000", 2000),
        ("0x20", "0x21", 33),
        ("60 * 2", "3", 3),
        ("-(2 + 0.5)", "3", 3),
        ("None", "30", 30),
        ("None", "0.5", 0.5),
        ("None", "-1e-3", -1e-3),
        ("None", "None", None),
        ("None", "us-east-1", "us-east-1"),
        ("None", "[1, 2]", [1, 2]),
        ("int(2)", "30", 30),
        ("True", "no", False),
        ("False", "TRUE", True),
        ("[1, 2]", "[]", []),
        ("[1, 2]", "[3, 'x']", [3, "x"]),
        ("(1, 2)", "(3,)", (3,)),
        ("{'a': 1}", "{'b': [2]}", {"b": [2]}),
        ("{1}", "{2}", {2}),
    ],
)
def test_a_value_has_the_type_of_its_default_and_arrives_as_it_is(
    tmp_path: Path, default: str, typed: str, value: object
) -> None:
    path = notebook(tmp_path, f"x = {default}  # a comment, with = and ' in it\ny: int = 1", "x")
    (parsed,) = parse_parameters(path, {"x": typed}).values()
    assert (type(parsed), parsed) == (type(value), value)
    put_in = with_parameters(path, {"x": parsed}).cells[1].source
    (line,) = ast.parse(put_in).body
    assert isinstance(line, ast.Assign)
    assert ast.literal_eval(line.value) == value
    short_parameters(path)


@pytest.mark.parametrize(
    ("default", "typed", "says"),
    [
        ("1e3", "soon", "x is a number such as 1e3, not 'soon'"),
        ("1", "1j", "is a number"),
        ("1", "nan", "is a number"),
        ("1", "1e999", "is a number"),
        ("1", "9" * 400, "is a number"),
        ("1", "", "is a number"),
        ("1", "True", "is a number"),
        ("60 * 2", "many", "is a number"),
        ("1", "(" * 50_000, "is a number"),
        ("True", "2", "is true or false"),
        ("[1]", "1", "is a list such as [1], not '1'"),
        ("[1]", "[x]", "is a list"),
        ("{'a': 1}", "[1]", "is a dict"),
    ],
    ids=lambda text: text[:20],
)
def test_a_value_of_another_type_is_refused_with_an_example(
    tmp_path: Path, default: str, typed: str, says: str
) -> None:
    with pytest.raises(BadInput) as refused:
        parse_parameters(notebook(tmp_path, f"x = {default}"), {"x": typed})
    assert says in str(refused.value)


def test_nothing_of_a_notebook_or_a_value_is_evaluated(tmp_path: Path) -> None:
    made = tmp_path / "made"
    attack = f"__import__('pathlib').Path({str(made)!r}).touch()"
    path = notebook(tmp_path, f"x = {attack}\ny = 1 if {attack} else 2\nz = 9 ** 9 ** 9")
    assert parse_parameters(path, dict.fromkeys("xyz", attack)) == dict.fromkeys("xyz", attack)
    assert not made.exists()


def test_lines_for_ipython_declare_nothing_and_what_is_no_python_is_refused(tmp_path: Path) -> None:
    assert set(declared_parameters(notebook(tmp_path, "%matplotlib inline\n!ls\nx = 1"))) == {"x"}
    with pytest.raises(BadInput, match="is no Python"):
        declared_parameters(notebook(tmp_path, "x = = 1"))
    (tmp_path / "none.ipynb").write_text("{")
    with pytest.raises(BadInput, match=r"none\.ipynb is no notebook"):
        declared_parameters(tmp_path / "none.ipynb")
    with pytest.raises(UnknownParameter, match=r"no parameter 'y': it has x=1"):
        parse_parameters(notebook(tmp_path, "x = 1"), {"y": "1"})


def test_a_notebook_with_half_a_character_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 'HALF'")])
    path.write_text(nbformat.writes(notebook).replace("HALF", r"\ud800"))
    with pytest.raises(BadInput, match=r"half\.ipynb is no notebook: .*surrogates not allowed"):
        declared_parameters(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(default=st.text(max_size=20), typed=st.text(max_size=20), quote=st.sampled_from(["a", "r"]))
def test_any_text_is_a_default_and_a_value(
    tmp_path: Path, default: str, typed: str, quote: str
) -> None:
    written = ascii(default) if quote == "a" else repr(default)
    path = notebook(tmp_path, f"x = {written} # {typed!r}".encode(errors="ignore").decode())
    try:
        kept = declared_parameters(path)["x"].default
    except BadInput:  # a NUL in the cell
        return
    assert isinstance(kept, str)
    assert parse_parameters(path, {"x": typed}) == {"x": typed}


def test_a_notebook_without_a_kernelspec_in_a_folder_with_braces_runs(tmp_path: Path) -> None:
    path = notebook(tmp_path / "{x} {", "x = 1", "assert x == 2")
    run = run_notebook(str(path), {"x": "2"})
    executed = nbformat.read(run.folder / NOTEBOOK_FILE, as_version=4)
    assert executed.cells[1].source == "# Parameters\nx = 2"


def test_a_folder_of_runs_with_braces_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "{a}{"))
    assert run_notebook(str(notebook(tmp_path, "x = 1")), {}).folder.parent.name == "{a}{"


# what labkit's own notebooks take


@pytest.mark.parametrize("name", notebooks())
def test_every_parameter_of_our_notebooks_says_what_it_takes_and_takes_its_default(
    name: str,
) -> None:
    declared = declared_parameters(notebooks()[name])
    assert declared.keys() <= TAKES.keys()
    require_taken(notebooks()[name], {key: one.default for key, one in declared.items()})
    require_taken(notebooks()[name], short_parameters(notebooks()[name]))


@pytest.mark.parametrize(
    ("name", "parameter", "typed"),
    [
        ("03_node_loss", "hold_s", "-5"),
        ("03_node_loss", "steady_s", "0"),
        ("03_node_loss", "rate_per_s", "0"),
        ("03_node_loss", "rate_per_s", "1e300"),
        ("03_node_loss", "trials", "0"),
        ("03_node_loss", "trials", "1.5"),
        ("03_node_loss", "beside", "kill fly"),
        ("03_node_loss", "beside_victims", ""),
        ("03_node_loss", "backend", "oracle"),
        ("07_slow_wan", "share", "1.7"),
        ("07_slow_wan", "delay_ms", "-1"),
        ("08_survival_goals", "goals", "galaxy"),
        ("08_survival_goals", "goals", ""),
        ("10_scale", "levels", "30 x"),
        ("10_scale", "levels", "30 -1"),
        ("10_scale", "connections", "1000000"),
        ("02_consistency", "symbol", "NOPE"),
    ],
)
def test_a_value_that_our_notebook_does_not_take_is_refused_before_anything_runs(
    tmp_path: Path, name: str, parameter: str, typed: str
) -> None:
    with pytest.raises(BadInput, match=f"parameter {parameter} is "):
        run_notebook(name, {parameter: typed})
    assert not (tmp_path / "runs").exists()
