"""plotly.js as one static file that the notebook server already serves.

Sent as widget state, plotly.js would enter every saved notebook (megabytes) and pass the websocket
once a widget. As an ES module among JupyterLab's extensions it is fetched once a page, without a
CDN: JupyterLab serves the folder below `lab/extensions/`, voila below `voila/labextensions/`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import plotly
from jupyter_core.paths import jupyter_data_dir

# The wheel's file is a UMD bundle: give it a CommonJS `module`, hide AMD from it, and give
# `window.Plotly`, which it overwrites, back to whoever owns it on the page.
_HEAD = b"const had = globalThis.Plotly;\nconst module = { exports: {} }, define = undefined;\n"
_TAIL = b"\nglobalThis.Plotly = had;\nexport default module.exports;\n"


def ensure_plotly_module(folders: tuple[Path, ...] | None = None) -> Path:
    """Put the installed plotly's plotly.js where notebook servers find it. Idempotent.

    The name holds plotly's version and a hash of the content, so a browser never keeps a stale one.

    Args:
        folders: where it may stand, the best first; by default this environment's Jupyter folder,
            then the user's.

    Returns:
        The module's path; its name is what a page asks for.

    Raises:
        OSError: no folder can be written; the last one's error.
    """
    module = _HEAD + files(plotly).joinpath("package_data", "plotly.min.js").read_bytes() + _TAIL
    name = f"plotly-{plotly.__version__}-{sha256(module).hexdigest()[:12]}.mjs"
    folders = folders or tuple(
        base / "labextensions" / "labkit"
        for base in (Path(sys.prefix, "share", "jupyter"), Path(jupyter_data_dir()))
    )
    for folder in folders:
        if (path := folder / name).is_file():
            return path
    for last, folder in enumerate(folders, start=1):
        try:
            return _write(folder / name, module)
        except OSError:
            if last == len(folders):
                raise
    raise ValueError("no folder given")


def _write(path: Path, content: bytes) -> Path:
    """Write a whole file or none: a page may ask while another process writes it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
    return path
