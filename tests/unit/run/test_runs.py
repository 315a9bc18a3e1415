"""Headless runs of notebooks that need no cluster."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from commands import labkit
from histories import failover_run

from labkit.errors import BadInput, NotReady, RunError, UnknownParameter
from labkit.notebooks import find_notebook, notebooks
from labkit.run.finished import list_runs
from labkit.run.notebook import (
    NOTEBOOK_FILE,
    run_notebook,
)
from labkit.run.parameters import parse_parameters, short_parameters
from labkit.verdict.finding import Verdict

PROMISE = """
import os
from pathlib import Path
from labkit.verdict.result import Result

result = Result.load(Path({saved!r})).save(Path(os.environ["LABKIT_RUN_FOLDER"]))
print("judging")
result.require({limits})
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path / "runs"))


def write_notebook(folder: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def promise(tmp_path: Path, limits: str) -> Path:
    saved = tmp_path / "saved"
    saved.mkdir()
    failover_run().save(saved)
    return write_notebook(tmp_path, PROMISE.format(saved=str(saved), limits=limits))


def test_a_promise_that_is_broken_is_a_result_and_the_report_says_so(tmp_path):
    lines = []
    run = run_notebook(
        str(promise(tmp_path, "rto_s=0.001")), {}, lambda progress: lines.append(progress.line)
    )
    assert run.verdict is Verdict.FAIL
    assert "judging" in lines
    assert "rto_s" in (run.folder / "report.html").read_text()
    assert (run.folder / "notebook.ipynb").exists()
    assert [found.name for found in list_runs()] == [run.name]


def test_a_cell_that_breaks_down_is_named_and_its_notebook_kept(tmp_path):
    notebook = write_notebook(tmp_path, "1 + 1", "raise OSError('no such thing')")
    with pytest.raises(RunError, match="cell 2 failed: OSError: no such thing"):
        run_notebook(str(notebook), {})
    (run,) = list_runs()
    assert run.verdict is None
    assert (run.folder / "notebook.ipynb").exists()


def test_a_lab_that_cannot_be_healed_hides_no_error_of_the_notebook(tmp_path, monkeypatch):
    def fail() -> None:
        raise NotReady("the lab: not ready after 180 s")

    monkeypatch.setattr("labkit.run.notebook.heal_lab", fail)
    broken = write_notebook(tmp_path, "raise OSError('no such thing')")
    done = labkit("run", str(broken))
    assert done.exit_code == 3
    (run,) = list_runs()
    assert "cell 1 failed: OSError: no such thing" in done.stderr
    assert f"not ready after 180 s; the lab is not healed: `labkit heal`; {run.folder}" in (
        done.stderr
    )
    assert (run.folder / NOTEBOOK_FILE).exists()

    fine = write_notebook(tmp_path, "1 + 1")
    done = labkit("run", str(fine))
    assert done.exit_code == 3
    assert "labkit: the lab: not ready after 180 s; the lab is not healed" in done.stderr
    assert (list_runs()[0].folder / NOTEBOOK_FILE).exists()


def test_a_run_leaves_what_stands_for_a_widget_and_not_the_widget(tmp_path):
    shown = (
        "from IPython.display import display\n"
        "import ipywidgets\n"
        "display(ipywidgets.IntSlider(description='of no use now'))"
    )
    run = run_notebook(str(write_notebook(tmp_path, shown)), {})
    executed = nbformat.read(run.folder / NOTEBOOK_FILE, as_version=4)
    assert "widgets" not in executed.metadata
    (output,) = [output for cell in executed.cells for output in cell.get("outputs", ())]
    assert list(output.data) == ["text/plain"]


def test_a_kernel_that_dies_is_one_clear_line(tmp_path):
    notebook = write_notebook(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RunError, match="its kernel died"):
        run_notebook(str(notebook), {})


def test_a_notebook_is_found_by_number_by_name_and_by_path(tmp_path):
    path = notebooks()["03_node_loss"]
    for name in ("03_node_loss", "node_loss", "03_node_loss.ipynb", str(path)):
        assert find_notebook(name) == path
    with pytest.raises(BadInput, match=", ".join(notebooks())):
        find_notebook("04_volcano")


def test_parameters_get_the_type_of_their_default():
    values = parse_parameters(
        notebooks()["03_node_loss"], {"hold_s": "20", "victim": "us-east-1/2", "rate_per_s": "7.5"}
    )
    assert values == {"hold_s": 20, "victim": "us-east-1/2", "rate_per_s": 7.5}


def test_a_text_is_taken_as_it_stands():
    """Not as YAML, to which they are a list, a truth and nothing."""
    given = {"beside": "", "victim": "no", "backend": "null"}
    assert parse_parameters(notebooks()["03_node_loss"], given) == given


def test_an_unknown_parameter_is_refused_with_those_there_are():
    with pytest.raises(UnknownParameter, match=r"no parameter 'hold'.*hold_s=15"):
        parse_parameters(notebooks()["03_node_loss"], {"hold": "20"})


@pytest.mark.parametrize("text", ["soon", "[1, 2]", "true", "__import__('os')"])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(BadInput, match="hold_s is a number"):
        parse_parameters(notebooks()["03_node_loss"], {"hold_s": text})


def test_a_short_run_lowers_what_is_larger_leaves_out_victims_and_nothing_else(tmp_path):
    path = tmp_path / "mine.ipynb"
    source = "hold_s = 60  # long\nsteady_s = 1\nsymbol = 'AAPL'\ntrials = 5"
    source += "\nbeside_victims = 'replica primary'"
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), path)
    assert short_parameters(path) == {"hold_s": 10, "trials": 1, "beside_victims": "primary"}
