"""The notebooks that ship with labkit, and the copy of them in a user's folder.

People work on the copy: what is installed belongs to the installation, and JupyterLab saves what it
opens. Nothing of theirs is ever replaced or deleted. A notebook that labkit copied and nobody
changed is renewed when labkit has a newer one; beside a changed one the newer is put.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from labkit import files
from labkit.assets import asset
from labkit.errors import BadInput, RunError

FOLDER_VARIABLE = "LABKIT_NOTEBOOKS"
DEFAULT_FOLDER = "~/labkit-notebooks"
COPIED = ".labkit-copied.json"
"""In the user's folder: the digest of each notebook as labkit last put it there."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of copying the notebooks into a user's folder.

    Attributes:
        folder: where they are.
        new: names of notebooks that were not there.
        renewed: names of those that nobody had changed and that labkit has newer ones of.
        beside: of notebooks that the user changed: the name of the newer one, put beside it now.
    """

    folder: Path
    new: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    beside: Mapping[str, str] | None = None


def notebooks() -> dict[str, Path]:
    """Find the notebooks that ship with labkit, by name without ending."""
    return {path.stem: path for path in sorted(asset("notebooks").glob("[0-9]*.ipynb"))}


def find_notebook(name: str) -> Path:
    """Find a notebook by path, by name (`03_node_loss`) or by the name after its number.

    Raises:
        BadInput: there is none; lists what there is.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).absolute()
    known = notebooks()
    for stem, path in known.items():
        if name.removesuffix(".ipynb") in (stem, stem.partition("_")[2]):
            return path
    raise BadInput(f"no notebook {name!r}: there are {', '.join(known)}")


def users_folder() -> Path:
    """Name the folder of the user's copy: LABKIT_NOTEBOOKS, else ~/labkit-notebooks.

    Raises:
        RunError: the user has no home.
    """
    try:
        folder = Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER).expanduser()
    except RuntimeError as error:
        raise _no_copy(DEFAULT_FOLDER, "this user has no home") from error
    return folder.absolute()


def copy_notebooks(folder: Path) -> Copied:
    """Copy the notebooks into a user's folder, and keep what the user has there.

    Raises:
        RunError: the folder cannot be made or written to; names it and the way out.
    """
    ours = notebooks().values()
    new, renewed, beside = [], [], {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = _copied_before(folder)
        now = dict(before)
        for shipped in ours:
            content, there = shipped.read_bytes(), folder / shipped.name
            digest = now[shipped.name] = _digest(content)
            if not os.path.lexists(there):
                _write(there, content)
                new.append(shipped.name)
            elif _is_file_with(there, before.get(shipped.name)):
                if digest != before[shipped.name]:
                    _write(there, content)
                    renewed.append(shipped.name)
            elif digest != before.get(shipped.name) and not _is_file_with(there, digest):
                newer = folder / f"{shipped.stem}.newer-{digest[:6]}.ipynb"
                if not os.path.lexists(newer):
                    _write(newer, content)
                    beside[shipped.name] = newer.name
        if now != before:
            _write(folder / COPIED, json.dumps(now, indent=1).encode())
    except OSError as error:
        raise _no_copy(str(folder), error.strerror or str(error)) from error
    return Copied(folder, tuple(new), tuple(renewed), beside)


def _no_copy(folder: str, reason: str) -> RunError:
    return RunError(
        f"the notebooks cannot be copied to {folder} ({reason}): name a folder of yours, "
        f"`{FOLDER_VARIABLE}=FOLDER labkit notebook`"
    )


def _copied_before(folder: Path) -> dict[str, str]:
    """Read which notebooks labkit put there; a file that is damaged or made up says nothing."""
    try:
        found = json.loads((folder / COPIED).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _is_file_with(path: Path, digest: str | None) -> bool:
    """Tell whether a path is a plain file, no link, with that content."""
    return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) == digest


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with files.replacing(path) as new:
        new.write_bytes(content)
