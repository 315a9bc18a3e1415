"""Running notebooks headless, and the folders that runs leave.

A run folder holds, under the same names always:

    notebook.ipynb    the executed notebook, also of a run that failed half-way
    running.json      only while the run goes on: its process, and since when
    trial.json        only while trials go on: which of how many
    report.html       the report: one file that opens offline
    result.json       what was measured and judged (docs/result.schema.json)
    samples.parquet   every operation of every client
    faults.jsonl      what was done to the cluster, and what the probes saw
    events.jsonl      what clients and cluster noticed of outages
    kernel.log        what the notebook's kernel said beside its cells
    ledger/           ids of acknowledged orders, written before they were counted
    trials/           with trials: a folder for each
    more/             a notebook's second and further experiments
    watchdog.log      only where the watchdog had to heal
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from labkit import files
from labkit.cluster import attach, backend_of, home
from labkit.cluster.marks import Claim, claimed, marked
from labkit.errors import LabError, LabTakenDown, NotRunning, RunError
from labkit.notebooks import find_notebook
from labkit.run.finished import Run, make_whole
from labkit.run.folders import RUN_FOLDER, TRIAL_FILE, new_folder, trial_going_on
from labkit.run.parameters import (
    parse_parameters,
    require_taken,
    short_parameters,
    with_parameters,
)
from labkit.run.watchdog import heal_lab
from labkit.ui.saving import drop_widgets
from labkit.verdict.seal import RESULT_FILE

NOTEBOOK_FILE = "notebook.ipynb"
UNFINISHED_FILE = "notebook.unfinished.ipynb"
"""The notebook as far as it is executed; `NOTEBOOK_FILE` is there when it has ended."""
KERNEL_LOG = "kernel.log"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a notebook.

    Attributes:
        cell: the cell being executed, from 1.
        cells: how many there are.
        line: the last line the notebook printed.
        trial: the trial that the cell is in, from 1; 0 when it is in none.
        trials: how many of them the cell does.
    """

    cell: int
    cells: int
    line: str
    trial: int = 0
    trials: int = 0


def run_notebook(
    name: str,
    parameters: Mapping[str, str],
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    *,
    short: bool = False,
) -> Run:
    """Execute a notebook headless into a new run folder.

    Whatever way it ends, no fault of it stays in the lab, and the run folder is whole.

    Args:
        name: as `find_notebook` takes it.
        parameters: as `parse_parameters` takes them.
        on_progress: told where the notebook is.
        short: parameters that are not given are no larger than `SHORT` has them.

    Raises:
        BadInput: no such notebook, or a parameter is refused; nothing was run.
        RunError: a cell failed for another reason than a verdict; names it. The folder with the
            notebook as far as it came is kept and named.
    """
    notebook = find_notebook(name)
    values = parse_parameters(notebook, parameters)
    require_taken(notebook, values)
    if short:
        values = short_parameters(notebook) | values
    scenario = notebook.stem.replace("_", "-")
    folder = new_folder(scenario, _backend())
    lab = home() if backend_of(home()) else None
    with claimed(lab, folder) as claim:
        folder.mkdir(parents=True)
        with marked(folder), _interrupted_when_taken_down(claim):
            return _execute(notebook, values, folder, on_progress, claim)


def _execute(
    notebook: Path,
    values: Mapping[str, Any],
    folder: Path,
    on_progress: Callable[[Progress], None],
    claim: Claim,
) -> Run:
    """`run_notebook` with a run folder, and with the lab to itself."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    unfinished = folder / UNFINISHED_FILE
    nbformat.write(with_parameters(notebook, values), unfinished)  # type: ignore[no-untyped-call]
    refused = False
    with _left_whole(folder, claim):
        try:
            with (
                tempfile.TemporaryDirectory(prefix="labkit-") as sockets,
                _environment({RUN_FOLDER: str(folder), "JUPYTER_RUNTIME_DIR": sockets}),
            ):
                # papermill takes paths for templates
                executed = str(unfinished).replace("{", "{{").replace("}", "}}")
                papermill.execute_notebook(
                    executed,
                    executed,
                    kernel_name="python3",  # that of this environment, whatever the notebook names
                    language="python",
                    engine_name=_engine(on_progress, folder, Path(sockets)),
                    progress_bar=False,
                    stdout_file=None,
                    cwd=notebook.parent,
                )
        except PapermillExecutionError as error:
            refused = error.ename.startswith("Verdict")  # a verdict that says no is a result
            if error.ename == LabTakenDown.__name__ or claim.ended_by:
                raise _taken_down(claim, folder) from error
            if not refused:
                raise RunError(
                    f"{notebook.stem}: cell {error.cell_index + 1} failed: {error.ename}: "
                    f"{error.evalue}; {folder / NOTEBOOK_FILE} shows it"
                ) from error
        except DeadKernelError as error:
            raise RunError(
                f"{notebook.stem}: its kernel died; {folder / KERNEL_LOG} may say why"
            ) from error
        except KeyboardInterrupt:
            if claim.ended_by:
                raise _taken_down(claim, folder) from None
            raise
    run = Run(folder)
    if refused and not run.summaries:
        raise RunError(f"{notebook.stem} ended in a verdict but left no {RESULT_FILE} in {folder}")
    return run


@contextmanager
def _left_whole(folder: Path, claim: Claim) -> Iterator[None]:
    """Heal the lab and complete the run folder after a notebook, whatever way it ends.

    An error of the notebook goes on. What goes wrong here is noted on it, and does not replace it.

    Raises:
        LabError: the lab cannot be healed.
        OSError: the run folder cannot be completed.
    """
    try:
        yield
    except BaseException as error:
        try:
            _clean_up(folder, claim)
        except (LabError, OSError) as failed:
            for note in (str(failed), *getattr(failed, "__notes__", ())):
                error.add_note(note)
        else:
            if isinstance(error, KeyboardInterrupt):
                error.add_note(
                    f"no fault of the run stays in the lab, and {folder} has what it measured"
                )
        raise
    _clean_up(folder, claim)


def _clean_up(folder: Path, claim: Claim) -> None:
    try:
        if not claim.ended_by:
            heal_lab()  # an experiment heals its own fault; a kernel that died could not
    except LabError as error:
        error.add_note(f"the lab is not healed: `labkit heal`; {folder} has what was measured")
        raise
    finally:
        (folder / TRIAL_FILE).unlink(missing_ok=True)  # of a kernel that was killed
        finish_notebook(folder / UNFINISHED_FILE, folder / NOTEBOOK_FILE)
        make_whole(folder, "its notebook was interrupted, or its kernel died")


PATIENCE_S = 20.0
"""How long the experiment of a notebook may take to end when its lab is taken down."""


@contextmanager
def _interrupted_when_taken_down(claim: Claim) -> Iterator[None]:
    """Interrupt this process when its lab is taken down and no experiment of its notebook ends it.

    An experiment sees by itself that its lab is taken down, but there may be none right now.
    """
    over = Event()

    def watch() -> None:
        while not over.wait(0.5):
            if claim.ended_by:
                if not over.wait(PATIENCE_S):
                    os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = Thread(target=watch, name="labkit-taken-down", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _taken_down(claim: Claim, folder: Path) -> LabTakenDown:
    by = claim.ended_by or "`labkit down`"
    return LabTakenDown(f"the lab was taken down during the run, by {by}; {folder} says how far")


def finish_notebook(unfinished: Path, notebook: Path) -> None:
    """Give an executed notebook its name, with a picture or a line of text for each widget.

    An executed notebook's widgets are dead, and their state is most of its bytes. One that was not
    written to its end, such as on a full disk, keeps the name of an unfinished one.

    Raises:
        OSError: the notebook cannot be written.
    """
    import nbformat

    if not unfinished.is_file():
        return
    try:
        executed = nbformat.read(unfinished, as_version=4)  # type: ignore[no-untyped-call]
    except (ValueError, nbformat.reader.NotJSONError):
        return
    executed.metadata.pop("widgets", None)
    drop_widgets(executed, all_of_them=True)
    files.write_text(notebook, nbformat.writes(executed))  # type: ignore[no-untyped-call]
    unfinished.unlink()


def _backend() -> str:
    try:
        return attach().backend
    except NotRunning:
        return "embedded"


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the kernel, which inherits those of this process."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _engine(on_progress: Callable[[Progress], None], folder: Path, sockets: Path) -> str:
    """Register a papermill engine that reports which cell runs and what it prints.

    Args:
        sockets: a folder for those of the kernel; where the notebook is, nobody may write.
    """
    from jupyter_client.manager import AsyncKernelManager
    from papermill.engines import NBClientEngine, papermill_engines

    class LocalKernelManager(AsyncKernelManager):
        """Talks to the kernel through sockets in a folder of this user's, not through ports."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**{**kwargs, "transport": "ipc", "ip": str(sockets / "kernel")})

        async def start_kernel(self, **kwargs: Any) -> None:  # type: ignore[override]
            with (folder / KERNEL_LOG).open("ab") as stderr:
                await super().start_kernel(**kwargs, stderr=stderr)

    class _Lines:
        """Papermill writes a cell's standard output here as it comes."""

        def __init__(self) -> None:
            self.now = Progress(0, 0, "")

        def tell(self, **changes: Any) -> None:
            self.now = replace(self.now, **changes)
            on_progress(self.now)

        def write(self, text: str) -> None:
            for line in filter(None, map(str.strip, text.splitlines())):
                trial, trials = trial_going_on(folder)
                self.tell(line=line, trial=trial, trials=trials)

        def flush(self) -> None:
            pass

    class ReportingEngine(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
            lines = _Lines()
            cells = len(nb_man.nb.cells)
            cell_start = nb_man.cell_start

            def start(cell: Any, cell_index: int | None = None, **more: Any) -> Any:
                lines.tell(cell=(cell_index or 0) + 1, cells=cells, line="", trial=0, trials=0)
                return cell_start(cell, cell_index, **more)

            nb_man.cell_start = start
            return super().execute_managed_notebook(
                nb_man,
                kernel_name,
                **{**kwargs, "stdout_file": lines, "kernel_manager_class": LocalKernelManager},
            )

    papermill_engines.register("labkit", ReportingEngine)
    return "labkit"
