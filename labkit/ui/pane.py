"""The base of labkit's widgets: files, a view of plain data, commands."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.report.figures import theme
from labkit.ui.assets import ensure_plotly_module

_HERE = Path(__file__).parent


def script(name: str) -> str:
    """Return a widget's JavaScript after what all widgets share: one module, as anywidget wants."""
    return "\n".join(
        (_HERE / f"{part}.js").read_text(encoding="utf-8") for part in ("common", name)
    )


def style(name: str) -> str:
    """Return the CSS of a widget, after the tokens and what all of them share."""
    return theme.css() + "".join(
        (_HERE / f"{part}.css").read_text(encoding="utf-8") for part in ("common", name)
    )


def plotly_module() -> dict[str, str]:
    """Tell where a page finds plotly.js (`module`), or why it cannot (`problem`)."""
    try:
        return {"module": ensure_plotly_module().name, "problem": ""}
    except OSError as error:
        return {
            "module": "",
            "problem": f"plotly.js could not be stored for the notebook server: {error}",
        }


class Pane(anywidget.AnyWidget):
    """A widget whose page draws `view` and sends commands.

    `view` may be set from any thread. A page that comes late or is loaded again gets the last one.
    Commands are methods `do_NAME(content)`, called in the kernel's main thread: they hand work to
    another one.
    """

    spec = traitlets.Dict().tag(sync=True)
    """What does not change."""
    view = traitlets.Dict().tag(sync=True)
    """What does."""

    def __init__(self, **spec: object) -> None:
        super().__init__()
        self.spec = spec
        self.on_msg(self._on_message)

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        command = getattr(self, f"do_{content.get('do')}", None)
        if command is None:
            return
        try:
            command(content)
        except (KeyError, TypeError, ValueError):  # a page of another version, or made up
            self.log.warning("not understood: %s\n%s", content, traceback.format_exc())
