"""A Jupyter server extension that saves a picture in the place of a live widget.

A widget is dead without its kernel. Jupyter servers of this environment load this module as an
extension (`jupyter/saving.json` turns it on), so that a notebook that somebody saves by hand keeps
the desk's picture, and no dead box. The extension also has the ports of kernels encrypted: others
on this machine can reach them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "image/svg+xml"
NOT_SAVED = "LABKIT_PAGE_ONLY"
"""Set where notebooks are pages and nobody can save them: what stands for a widget costs time."""


def drop_widgets(notebook: dict[str, Any], *, all_of_them: bool) -> None:
    """Take widgets out of a notebook's outputs, and leave what stands beside them.

    Args:
        notebook: as nbformat has it.
        all_of_them: also those that no picture stands for; of others, a reader whose kernel lives
            gets the widget back when the page is loaded again.
    """
    for data in _data(notebook):
        if all_of_them or PICTURE in data:
            data.pop(WIDGET, None)


def _data(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in notebook.get("cells", ()):
        for output in cell.get("outputs", ()):
            yield output.get("data", {})


def _before_saving(model: dict[str, Any], **_: object) -> None:
    if model.get("type") == "notebook" and model.get("content"):
        drop_widgets(model["content"], all_of_them=False)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    # the setting of this name stays the user's
    server.contents_manager.register_pre_save_hook(_before_saving)
    if server.kernel_manager.transport_encryption == "disabled":  # Jupyter's default
        server.kernel_manager.transport_encryption = "auto"
