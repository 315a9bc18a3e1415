"""One notebook as a page of its own: voila on 127.0.0.1, with a token, and nothing else served."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets.config import Config
from voila.app import Voila

from labkit.errors import PortInUse

TEMPLATES = Path(__file__).parent / "jupyter"
"""A folder as those of JUPYTER_PATH are; it holds the page's template."""
CLOSED_S = 30
"""A kernel ends when its page has been closed for this long; a page that is loaded again has a new
one."""


class PageKernels(AsyncMappingKernelManager):
    """Counts how long a kernel has had no page, not how long it has been silent.

    A page's widgets are fed by threads, whose messages would count as activity for ever.
    """

    def track_message_type(self, message_type: str) -> bool:
        """No message is a sign that somebody looks on."""
        return False

    def notify_disconnect(self, kernel_id: str) -> None:
        """A page was closed, or lost its connection: its kernel's time begins to run."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self._kernels:
            # what the manager itself calls at the start, and counts idleness from
            self._kernels[kernel_id].last_activity = datetime.now(UTC)


def serve_page(
    notebook: Path, *, port: int, browser: bool, on_ready: Callable[[str], None]
) -> None:
    """Serve a notebook until Ctrl-C or SIGTERM; then every kernel has ended.

    Each page has a kernel of its own. The token is made here, and is in no command line.

    Args:
        port: on 127.0.0.1.
        browser: open it in the user's browser.
        on_ready: called with the page's URL, token included.

    Raises:
        PortInUse: something listens there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(f"port {port} on 127.0.0.1: {error.strerror}; choose --port") from error
    there = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(TEMPLATES), there)))
    os.environ["JUPYTER_NO_CONFIG"] = "1"  # a user's settings for voila are for the user's pages
    token = secrets.token_urlsafe(32)
    config = Config()
    config.Voila.ip = "127.0.0.1"
    config.Voila.port = port
    config.Voila.port_retries = 0
    config.Voila.token = token
    config.Voila.open_browser = browser
    config.Voila.notebook_path = str(notebook)
    config.Voila.log_level = "ERROR"
    config.VoilaConfiguration.template = "labkit"
    config.VoilaConfiguration.file_allowlist = []
    config.VoilaConfiguration.multi_kernel_manager_class = PageKernels
    config.PageKernels.cull_idle_timeout = CLOSED_S
    config.PageKernels.cull_interval = CLOSED_S // 3
    app = Voila(config=config)
    app.initialize([])
    on_ready(f"http://127.0.0.1:{port}/?token={token}")
    app.start()
