"""The folder that `docker compose` runs without labkit: `compose/` of the repository."""

from __future__ import annotations

import json
import os
from pathlib import Path

from labkit import files
from labkit.cluster.engines.cockroachdb import haproxy
from labkit.cluster.engines.cockroachdb.containers import render
from labkit.cluster.engines.cockroachdb.containers.layout import ComposeLayout
from labkit.errors import BadInput

PROJECT = "labkit"
LAB_ID = "standalone"
"""Its containers' label: no lab of `labkit up` has it, so neither touches the other's."""


def rendered(layout: ComposeLayout, folder: Path) -> dict[str, str]:
    """Return the files of the folder, by name."""
    return render.files(render.Project(layout, PROJECT, LAB_ID, package_from(folder)))


def package_from(folder: Path) -> str:
    """Return the WAN program's path for a Compose file in `folder`; relative if beside it."""
    package = Path(__file__).resolve().parents[4]
    beside = folder.resolve().parent == package.parent
    return f"../{package.name}" if beside else str(package)


def write(layout: ComposeLayout, folder: Path) -> Path:
    """Write the folder; what an earlier rendering left and this one has not is removed.

    Returns:
        The Compose file.

    Raises:
        BadInput: it cannot be written, or files stand there that labkit did not write. Nothing
            was changed then.
    """
    wanted = rendered(layout, folder)
    old = [path for path in sorted(folder.glob("haproxy-*.cfg")) if _is_rendered(path)]
    plan = folder / render.WAN_FILE
    old += [plan] if _is_rendered(plan) else []
    there = [folder / name for name in wanted if os.path.lexists(folder / name)]
    theirs = [path.name for path in there if not _is_rendered(path)]
    if theirs:
        raise BadInput(
            f"{folder} holds files that `labkit compose render` did not write "
            f"({', '.join(theirs)}): give --output another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in old:
            if path.name not in wanted:
                path.unlink()
        for name, text in wanted.items():
            files.write_text(folder / name, text)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from error
    return folder / render.COMPOSE_FILE


def _is_rendered(path: Path) -> bool:
    """Tell whether a file is one that was rendered, by this or an earlier labkit."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == render.COMPOSE_FILE:
            return "Rendered by `labkit compose render`" in text.partition("\nname:")[0]
        if path.name == render.WAN_FILE:
            return bool({"control_port", "listeners"} <= json.loads(text).keys())
    except (OSError, ValueError, AttributeError):
        return False
    return haproxy.ABOUT in text.partition("\n")[0]
