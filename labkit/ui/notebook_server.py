"""JupyterLab on a folder of notebooks: on 127.0.0.1, for its owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from jupyterlab.labapp import LabApp

from labkit.errors import RunError

SETTINGS = Path(__file__).parent / "jupyter" / "lab"
"""A folder of Jupyter's configuration that comes before the user's own.

- Others on this machine can reach a kernel's ports: they are encrypted.
- No request under another name than that of this machine, and no cookie along with requests that
  other sites make.
- No news and no look for updates: JupyterLab asks whether it may, on top of the notebook's figures.
- No debugger: its port takes commands from every user of the machine.
- No voila, which would run a `voila.py` of the folder that it is started in.
"""


def serve_notebooks(folder: Path, *, port: int, browser: bool) -> None:
    """Serve JupyterLab until Ctrl-C or SIGTERM; then its kernels have ended.

    Args:
        folder: what JupyterLab shows; nothing above it is served.
        port: on 127.0.0.1; JupyterLab takes the next one that is free.
        browser: open it in the user's browser.

    Raises:
        RunError: the user's Jupyter configuration asks nobody for a token or a password.
    """
    there = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, (str(SETTINGS), there)))
    # extensions look for programs and settings where they are started, which may be /tmp
    os.chdir(folder)
    # this list is in no command line that others can read
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={folder}",
        # a cookie belongs to a host and a path, not to a port: whoever serves another port of this
        # machine is sent it unless the path is one that nobody can guess
        f"--ServerApp.base_url=/{secrets.token_urlsafe(12)}/",
    ]
    if not browser:
        options.append("--no-browser")
    if os.geteuid() == 0:
        options.append("--allow-root")
    server = LabApp.initialize_server(argv=options)
    if not server.identity_provider.auth_enabled:
        raise RunError(
            "your Jupyter configuration turns tokens off, so every user of this machine could run "
            "commands as you: take the empty `token` out of it (`jupyter --paths` says where)"
        )
    server.start()
