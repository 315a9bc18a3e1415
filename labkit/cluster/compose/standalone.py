"""The folder that `docker compose` runs without labkit: `compose/` of the repository."""

from __future__ import annotations

from pathlib import Path

from labkit.cluster.compose import render
from labkit.cluster.compose.layout import ComposeLayout
from labkit.errors import BadInput

PROJECT = "labkit"
LAB_ID = "standalone"
"""Its containers' label: no lab of `labkit up` has it, so neither touches the other's."""


def rendered(layout: ComposeLayout, folder: Path) -> dict[str, str]:
    """The files of the folder, by name."""
    return render.files(render.Project(layout, PROJECT, LAB_ID, package_from(folder)))


def package_from(folder: Path) -> str:
    """Where the WAN's program is, as a Compose file in `folder` says it: relative if beside it."""
    package = Path(__file__).resolve().parents[2]
    beside = folder.resolve().parent == package.parent
    return f"../{package.name}" if beside else str(package)


def write(layout: ComposeLayout, folder: Path) -> Path:
    """Write the folder; what an earlier rendering left and this one has not is removed.

    Returns:
        The Compose file.

    Raises:
        BadInput: it cannot be written.
    """
    files = rendered(layout, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("haproxy-*.cfg"), folder / render.WAN_FILE):
            if old.name not in files:
                old.unlink(missing_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from error
    return folder / render.COMPOSE_FILE
