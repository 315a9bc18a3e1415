"""Gather the pages of the documentation in build/pages, for mkdocs: `make docs`.

A page keeps its place in the repository, so that links between pages work in both. A notebook is
shown as its newest run left it (`labkit run --all` runs them); without a run it has no outputs.
docs/python.md is made here: one entry for each name that `import labkit` offers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path

import labkit
from labkit.assets import runs_folder
from labkit.notebooks import notebooks

PAGES = Path("build/pages")
GATHERED = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"),
    *("docs", "compose", "sql", "workloads"),
)

PYTHON_HEAD = """# Python

What `import labkit as lab` offers to the author of a notebook. Names in capitals are what an
experiment is made of; the others are functions.

"""


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
        yield f"::: {getattr(labkit, name).__module__}.{name}\n\n"


if __name__ == "__main__":
    gather()
    (PAGES / "docs" / "python.md").write_text("".join(python_page()), encoding="utf-8")
