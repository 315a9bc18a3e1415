"""Gather the pages of the documentation in build/pages, for mkdocs: `make docs`.

A page keeps its place in the repository, so that links between pages work in both. A notebook is
shown as its newest run left it (`labkit run --all` runs them); without a run it has no outputs.
Two pages are made here: docs/python.md has an entry for each name that `import labkit` offers, and
docs/files.md has one for each class that is the format of a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path

import labkit
from labkit.assets import runs_folder
from labkit.cluster.settings import LabSettings
from labkit.events import Event
from labkit.notebooks import notebooks
from labkit.record import FaultWindow, Op
from labkit.topology import Link, Region
from labkit.verdict.summary import Machine, Measurements, Spread, Summary, Trial

PAGES = Path("build/pages")
GATHERED = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"),
    *("docs", "compose", "sql", "workloads"),
)

PYTHON_HEAD = """# Python

What `import labkit as lab` offers to the author of a notebook. Names in capitals are what an
experiment is made of; the others are functions.

"""
FILES_HEAD = """# Files

What is in the files that labkit reads and writes. Each entry is the class that the file is read
into, so a name here is a key or a column there. [runs.md](runs.md) explains a whole run folder.

"""

FILES: dict[str, tuple[type, ...]] = {
    "A [topology](python.md#labkit.topology.Topology)": (Region, Link),
    "`result.json`": (Summary, Measurements, Spread, Trial, Machine),
    "`samples.parquet`: one row per operation": (Op,),
    "`faults.jsonl`: one line per fault": (FaultWindow,),
    "`events.jsonl`: one line per event": (Event,),
    "`lab.json` in the state folder": (LabSettings,),
}


def gather() -> None:
    """Copy what is read, and the notebooks with the outputs of their newest runs."""
    shutil.rmtree(PAGES, ignore_errors=True)
    for name in GATHERED:
        source, target = Path(name), PAGES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (PAGES / "notebooks").mkdir()
    for name, path in notebooks().items():
        run = newest_run(name)
        print(f"{path.name}: {run or 'no run of it, so no outputs: `labkit run --all`'}")
        shutil.copy(run or path, PAGES / "notebooks" / path.name)


def newest_run(name: str) -> Path | None:
    """Find the executed notebook of the newest run of a scenario."""
    found = runs_folder().glob(f"*-{name}-*/notebook.ipynb")
    return max(found, key=lambda path: path.parent.name, default=None)


def python_page() -> Iterator[str]:
    """Write what mkdocstrings replaces with docstrings: classes first, then functions."""
    yield PYTHON_HEAD
    for name in sorted(labkit.__all__, key=lambda one: (not isclass(getattr(labkit, one)), one)):
        yield _entry(getattr(labkit, name))


def files_page() -> Iterator[str]:
    """Write the same for the classes that are the formats of files."""
    yield FILES_HEAD
    for title, classes in FILES.items():
        yield f"## {title}\n\n"
        yield from map(_entry, classes)


def _entry(one: type) -> str:
    return f"::: {one.__module__}.{one.__qualname__}\n\n"


if __name__ == "__main__":
    gather()
    for name, page in {"python.md": python_page(), "files.md": files_page()}.items():
        (PAGES / "docs" / name).write_text("".join(page), encoding="utf-8")
