"""One notebook as a page of its own: voila on 127.0.0.1, with a token, and nothing else served."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

from jupyter_core.paths import jupyter_config_dir
from jupyter_server import DEFAULT_STATIC_FILES_PATH
from jupyter_server.log import log_request
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler
from traitlets import Unicode
from traitlets.config import Config
from voila.app import Voila

from labkit.errors import PortInUse
from labkit.ui.saving import NOT_SAVED

TEMPLATES = Path(__file__).parent / "jupyter"
"""A folder as those of JUPYTER_PATH are; it holds the page's template."""
CLOSED_S = 60
"""A kernel ends when its page has been closed for this long; a page that is loaded again has a new
one."""
PREPARING_S = 300
"""How long a kernel may take until its page is there; after that, its reader has left."""


WARM = "import labkit; labkit.connect, labkit.TradingDesk"
"""What a kernel has imported before it has a page: most of what a page would wait for."""


class PageKernels(AsyncMappingKernelManager):
    """The kernels of one notebook's pages: each page has its own, and one waits for the next.

    It counts how long a kernel has had no page, not how long it has been silent: a page's widgets
    are fed by threads, whose messages would count as activity for ever.
    """

    folder = Unicode(help="Where the notebook is, and its kernels run.").tag(config=True)
    _met: set[str]
    _next: asyncio.Future[str] | None

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._met = set()
        self._next = None

    def prepare(self) -> None:
        """Let a kernel wait for the next page, unless one does."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._start())

    async def start_kernel(self, *_: object, **__: object) -> str:  # type: ignore[override]
        """Give a page its kernel. Which notebook asks, and from where, is always the same."""
        waiting, self._next = self._next, None
        if waiting is not None:
            kernel_id = await waiting
            if kernel_id in self and await self.is_alive(kernel_id):
                self._kernels[kernel_id].last_activity = datetime.now(UTC)
                return kernel_id
        return await self._start()

    async def _start(self) -> str:
        warm = [f"--IPKernelApp.exec_lines={WARM}"]
        kernel_id: str = await super().start_kernel(cwd=self.folder, extra_arguments=warm)
        return kernel_id

    def track_message_type(self, message_type: str) -> bool:
        """No message is a sign that somebody looks on."""
        return False

    def notify_connect(self, kernel_id: str) -> None:
        """Take note that a page was opened."""
        super().notify_connect(kernel_id)  # type: ignore[no-untyped-call]
        self._met.add(kernel_id)
        self.prepare()  # not before: it would slow down the page that is opening

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel without a page; one that prepares its page is given longer."""
        if self._next is not None and self._next.done() and self._next.result() == kernel_id:
            return
        age = datetime.now(UTC) - self._kernels[kernel_id].last_activity
        if kernel_id in self._met or age > timedelta(seconds=PREPARING_S):
            await super().cull_kernel_if_idle(kernel_id)  # type: ignore[no-untyped-call]

    def notify_disconnect(self, kernel_id: str) -> None:
        """Note that a page was closed or lost its connection: its kernel's time begins to run."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self._kernels:
            # what the manager itself calls at the start, and counts idleness from
            self._kernels[kernel_id].last_activity = datetime.now(UTC)


def give_the_page_its_xsrf_token(request: RequestHandler, **_more: object) -> None:
    """Set the cookie whose value voila's page sends when it is left, to end its kernel.

    Voila checks the value and never sets the cookie: every such request was refused, and the kernel
    of a page that was closed or loaded again lived on until it was culled.
    """
    _ = request.xsrf_token  # tornado sets the cookie when the token is asked for


def serve_page(
    notebook: Path, *, port: int, browser: bool, on_ready: Callable[[str], None]
) -> None:
    """Serve a notebook until Ctrl-C or SIGTERM; then every kernel has ended.

    The token is made here, and is in no command line.

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
    os.chdir(notebook.parent)  # voila runs a `voila.py` where it is started, which may be /tmp
    there = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(TEMPLATES), there)))
    os.environ["JUPYTER_NO_CONFIG"] = "1"  # a user's settings for voila are for the user's pages
    os.environ[NOT_SAVED] = "1"
    token = secrets.token_urlsafe(32)
    # a cookie belongs to a host and a path, not to a port: whoever serves another port of this
    # machine is sent it unless the path is one that nobody can guess
    base_url = f"/{secrets.token_urlsafe(12)}/"
    url = f"http://127.0.0.1:{port}{base_url}?token={token}"
    config = Config()
    config.Voila.ip = "127.0.0.1"
    config.Voila.port = port
    config.Voila.port_retries = 0
    config.Voila.token = token
    config.Voila.base_url = base_url
    config.Voila.open_browser = False  # voila's way leaves the token out
    config.Voila.notebook_path = str(notebook)
    config.Voila.log_level = "ERROR"
    settings: dict[str, object] = {
        "static_path": DEFAULT_STATIC_FILES_PATH,  # voila's error pages ask for this
        "allow_remote_access": False,  # no request under another name than that of this machine
        "xsrf_cookie_kwargs": {"samesite": "Strict", "path": base_url},
        "log_function": log_request,  # tornado's own would log URLs with their token
    }
    config.Voila.tornado_settings = settings
    config.IdentityProvider.cookie_options = {"samesite": "Strict"}
    config.VoilaConfiguration.prelaunch_hook = give_the_page_its_xsrf_token
    config.VoilaConfiguration.template = "labkit"
    config.VoilaConfiguration.file_allowlist = []
    config.VoilaConfiguration.show_tracebacks = True  # who opens the page owns the machine
    config.VoilaConfiguration.multi_kernel_manager_class = PageKernels
    config.PageKernels.folder = str(notebook.parent)
    # others on this machine can reach a kernel's ports: they read nothing there
    config.PageKernels.transport_encryption = "required"
    # a kernel that died is told as dead; started again it would know nothing of its page, and the
    # one that waits could be given to a page while it starts again
    config.KernelRestarter.restart_limit = 0
    config.PageKernels.cull_idle_timeout = CLOSED_S
    config.PageKernels.cull_interval = max(1, CLOSED_S // 4)
    # jupyter_server gives tornado milliseconds for seconds, and tornado complains to the user
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    app = Voila(config=config)
    app.initialize([])

    def ready() -> None:
        app.kernel_manager.prepare()
        on_ready(url)
        if browser:
            open_in_browser(url, Path(folder))

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-desk-"))
        # jupyter makes an empty folder in place of the user's settings, and would leave it there
        stack.callback(shutil.rmtree, jupyter_config_dir())
        IOLoop.current().add_callback(ready)  # comes to its turn when the server listens
        app.start()


def open_in_browser(url: str, folder: Path) -> None:
    """Open a URL with a secret in the user's browser, by way of a file.

    Everybody can read the browser's command line.

    Args:
        folder: one that only this user can read.
    """
    way = folder / "desk.html"
    way.write_text(f'<meta http-equiv="refresh" content="0; url={url}">', encoding="utf-8")
    # some browsers come back only when they are closed
    Thread(target=webbrowser.open, args=(way.as_uri(),), daemon=True).start()
