"""The desk, JupyterLab and their kernels against other users of the machine and other sites' pages.

What may listen is in docs/security.md.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import httpx
import psutil
import pytest
from chromium import ATTACKER, Attacker, attackers_site, victims_browser
from jupyter_client.blocking.client import BlockingKernelClient
from pages import TIMEOUT_S, Folder, kernels, page_server, served
from playwright.sync_api import Browser, Page
from ports import free_port
from test_page import MAP

from labkit.clock import wait_until

STRANGER = Path(__file__).with_name("stranger.py")
UID = 65534
AS_ROOT = os.geteuid() == 0
PORTS_OF_A_KERNEL = {"shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"}
CHANGING = {
    "desk": """
        GET / | GET api/kernels/KERNEL | DELETE api/kernels/KERNEL | PATCH api/kernels/KERNEL
        GET api/kernels/KERNEL/channels | POST voila/api/shutdown/KERNEL | POST api/kernels
        GET voila/files/secret.txt | PUT voila/api/themes/x | GET api/contents
    """,
    "jupyter": """
        GET lab | GET api/status | GET api/kernels | POST api/kernels | DELETE api/kernels/KERNEL
        POST api/kernels/KERNEL/interrupt | POST api/kernels/KERNEL/restart
        GET api/kernels/KERNEL/channels | GET api/sessions | POST api/sessions
        GET api/contents | PUT api/contents/new.ipynb | POST api/contents
        PATCH api/contents/secret.txt | DELETE api/contents/secret.txt | GET files/secret.txt
        POST api/terminals | GET api/terminals | GET terminals/websocket/1 | POST api/shutdown
        GET api/kernelspecs | GET api/config/x | PUT api/config/x | PATCH api/config/x
        GET lab/api/settings | PUT lab/api/settings/x | PUT lab/api/workspaces/x
        POST lab/api/extensions | GET nbconvert/html/secret.ipynb | POST nbconvert/html
        POST lsp/status | GET lsp/ws/pyright/websocket | GET api/me | POST api/security/csp-report
        GET voila/render/secret.ipynb | POST voila/api/shutdown/KERNEL | GET voila/files/secret.txt
    """,
}
"""Requests that read or change something."""


@dataclass(frozen=True)
class Server:
    """One of the two servers, and all that a stranger cannot know of it."""

    pid: int
    base: str
    token: str
    kernel_id: str
    folder: Path

    @property
    def port(self) -> int:
        return int(httpx.URL(self.base).port or 0)

    def requests(self, name: str) -> list[tuple[str, str]]:
        path = httpx.URL(self.base).path
        lines = re.split(r"[|\n]", CHANGING[name].replace("KERNEL", self.kernel_id))
        return [
            (method, path + rest.lstrip("/"))
            for method, rest in (line.split() for line in lines if line.strip())
        ]

    def connections(self) -> list[Path]:
        """The files by which one talks to its kernels."""
        lines = [kernel.cmdline() for kernel in kernels(self.pid)]
        return [Path(line[line.index("-f") + 1]) for line in lines]


@contextmanager
def labkit_notebook(folder: Path | None, home: Path) -> Iterator[tuple[str, int]]:
    """`labkit notebook` on a folder, or on the user's copy; yields its URL and its pid."""
    log = home / "jupyter.log"
    command = [
        Path(sys.executable).with_name("labkit"),
        "notebook",
        *filter(None, [folder]),
        "--no-browser",
    ]
    with log.open("wb") as output, subprocess.Popen(
        [*command, f"--port={free_port()}"],
        env={**os.environ, "HOME": str(home)}, stdout=output, stderr=output,
    ) as process:  # fmt: skip
        try:
            url = re.compile(r"http://127\.0\.0\.1:\S+token=\w+")
            wait_until(
                lambda: process.poll() is not None or url.search(log.read_text()),
                what="JupyterLab", timeout_s=TIMEOUT_S,
            )  # fmt: skip
            found = url.search(log.read_text())
            assert found, log.read_text()
            yield found[0], process.pid
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("desk")
    notebook = Folder(folder).write("map.ipynb", MAP)
    (folder / "secret.txt").write_text("not for strangers")
    with served(page_server(notebook, 600), dict(os.environ)) as (url, process):
        page = httpx.get(url, timeout=TIMEOUT_S)  # a page that nobody draws, with a kernel
        [kernel_id] = re.findall(r'"kernelId": "([\w-]+)"', page.text)
        base, _, token = url.partition("?token=")
        yield Server(process.pid, base, token, kernel_id, folder)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    (folder / "secret.txt").write_text("not for strangers")
    with labkit_notebook(folder, home) as (url, pid):
        base, _, token = url.replace("/lab?", "/?").partition("?token=")
        made = httpx.post(f"{base}api/kernels", params={"token": token}, timeout=TIMEOUT_S)
        wait_until(
            lambda: all(len(listening(kernel.pid)) >= 6 for kernel in kernels(pid)),
            what="the kernel's ports", timeout_s=TIMEOUT_S,
        )  # fmt: skip
        yield Server(pid, base, token, made.json()["id"], folder)


@pytest.fixture(scope="module", params=["desk", "jupyter"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


def listening(pid: int) -> set[int]:
    """The TCP ports of 127.0.0.1 that a process listens on; any other socket fails the test."""
    found = set()
    process = psutil.Process(pid)
    for one in process.net_connections("all"):
        if one.status == psutil.CONN_LISTEN or one.type.name == "SOCK_DGRAM":
            assert one.laddr == () or one.laddr.ip == "127.0.0.1", (process.cmdline(), one)
            found |= {one.laddr.port} if one.laddr else set()
        assert one.family.name != "AF_UNIX" or not one.laddr, (process.cmdline(), one)
    return found


def takes_only(port: int) -> bool:
    """Whether a port is that of a ZeroMQ PULL socket, by which nothing is ever answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48))
        line.sendall(b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH")
        told = b""
        while b"Socket-Type" not in told or len(told) < 64 + 20:
            told += line.recv(4096) or pytest.fail(f"{port} is no ZeroMQ socket in clear: {told!r}")
    return b"PULL" in told


def test_every_socket_of_the_servers_and_their_kernels_is_known(server: Server) -> None:
    assert listening(server.pid) == {server.port}
    running = kernels(server.pid)
    assert running
    for kernel in running:
        line = kernel.cmdline()
        connection = json.loads(Path(line[line.index("-f") + 1]).read_text())
        assert connection["ip"] == "127.0.0.1"
        [pipe] = listening(kernel.pid) - {connection[name] for name in PORTS_OF_A_KERNEL}
        assert takes_only(pipe)
    others = {*psutil.Process(server.pid).children(recursive=True)} - {*running}
    assert [other.cmdline() for other in others if listening(other.pid)] == []


def client_of(connection: Path) -> BlockingKernelClient:
    """Talk to a kernel as its owner does; it answers."""
    client = BlockingKernelClient()
    client.load_connection_file(str(connection))
    client.start_channels()
    client.wait_for_ready(timeout=TIMEOUT_S)
    return client


@pytest.fixture(scope="module")
def stranger(
    desk: Server, jupyter: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What another user got out of both servers. All of it is tried at once."""
    proof = tmp_path_factory.mktemp("proof")
    proof.chmod(0o777)
    files = [path for one in (desk, jupyter) for path in one.connections()]
    what = {
        "http": [
            (one.port, one.requests(name)) for name, one in (("desk", desk), ("jupyter", jupyter))
        ],
        "kernel_ports": sorted(
            port
            for one in (desk, jupyter)
            for kernel in kernels(one.pid)
            for port in listening(kernel.pid)
        ),
        "proof": str(proof / "executed"),
        "secret_files": [str(path) for path in files],
        "secret_folders": sorted({str(path.parent) for path in files}),
    }
    assert len(what["kernel_ports"]) >= 12
    listeners = [client_of(path) for path in files]
    done = subprocess.run(
        [sys.executable, STRANGER, str(UID)],
        input=json.dumps(what), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    found["executed"] = (proof / "executed").exists()
    found["told"] = []
    for listener in listeners:
        with suppress(Empty):
            for _ in range(50):  # a live page's kernel never falls silent
                message = listener.get_iopub_msg(timeout=1)
                found["told"] += [message] if "stranger" in str(message) else []
        listener.stop_channels()
    assert found["uid"] == (UID if AS_ROOT else os.geteuid())
    return found


def test_another_user_is_refused_every_request(stranger: dict[str, Any]) -> None:
    assert len(stranger["answers"]) > 100
    assert [a for a in stranger["answers"] if a[1] not in (302, 400, 403, 404, 405)] == []


def test_another_user_hears_nothing_from_a_kernel_and_runs_nothing_in_it(
    stranger: dict[str, Any],
) -> None:
    assert stranger["kernels"] == []
    assert stranger["told"] == []
    assert not stranger["executed"]


@pytest.mark.skipif(not AS_ROOT, reason="only root can be another user")
def test_another_user_cannot_read_how_to_talk_to_a_kernel(stranger: dict[str, Any]) -> None:
    assert stranger["readable"] == []


@pytest.mark.long
def test_the_owner_gets_what_a_stranger_does_not(server: Server, stranger: dict[str, Any]) -> None:
    model = httpx.get(
        f"{server.base}api/kernels/{server.kernel_id}", params={"token": server.token}
    )
    assert model.json()["id"] == server.kernel_id
    for path in server.connections():
        client_of(path).stop_channels()


@pytest.mark.parametrize("command", ["desk", "notebook"])
def test_nothing_of_the_folder_that_a_server_is_started_in_is_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, marker = tmp_path / "shared", tmp_path / "was-run"
    shared.mkdir()
    for name in ("voila", "jupyter_config", "jupyter_server_config", "ipykernel", "pandas"):
        (shared / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")
    notebooks = Folder(tmp_path / "notebooks")
    notebooks.path.mkdir()
    notebook = notebooks.write("word.ipynb", "print('a word')")
    monkeypatch.chdir(shared)
    if command == "desk":
        with served(page_server(notebook, 600), dict(os.environ)) as (url, _):
            assert "a word" in httpx.get(url, timeout=TIMEOUT_S).text
    else:
        (notebook.parent / "voila.py").write_text(f"open({str(marker)!r}, 'w')")
        with labkit_notebook(notebook.parent, tmp_path) as (url, _):
            assert httpx.get(url, timeout=TIMEOUT_S).status_code == 200
    assert not marker.exists()


def test_neither_token_nor_path_is_in_a_command_line(server: Server) -> None:
    path = httpx.URL(server.base).path
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        assert server.token not in line
        assert path not in line


# pages of other sites


ATTACK = """async ([base, kernel, requests]) => {
    const got = [];
    for (const [method, path] of requests) {
        const url = new URL(path, base);
        for (const mode of ["no-cors", "cors"]) {
            try {
                const answer = await fetch(url, {
                    method: mode === "no-cors" && method !== "GET" ? "POST" : method,
                    mode, credentials: "include",
                    body: method === "GET" ? undefined : "_xsrf=x",
                });
                if (answer.type !== "opaque") got.push([method, path, answer.status]);
            } catch (error) {}
        }
    }
    navigator.sendBeacon(new URL(`voila/api/shutdown/${kernel}`, base), new FormData());
    const socket = new WebSocket(
        new URL(`api/kernels/${kernel}/channels`, base).href.replace("http", "ws"));
    const opened = await new Promise((done) => {
        socket.onopen = () => done(true);
        socket.onerror = socket.onclose = () => done(false);
    });
    if (opened) got.push(["websocket", kernel, 101]);
    const frame = document.createElement("iframe");
    frame.src = base;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; setTimeout(done, 3000); });
    return got;
}"""


@pytest.fixture(scope="module")
def attacker() -> Iterator[int]:
    with attackers_site() as port:
        yield port


@pytest.fixture(scope="module")
def victim() -> Iterator[Browser]:
    with victims_browser() as browser:
        yield browser


@pytest.fixture
def owners_page(victim: Browser, server: Server) -> Iterator[Page]:
    """The owner's browser, which has the page open and its cookies."""
    context = victim.new_context()
    page = context.new_page()
    page.goto(f"{server.base}api/kernels/{server.kernel_id}?token={server.token}")
    assert context.cookies(server.base)
    yield page
    context.close()


@pytest.mark.parametrize("site", [ATTACKER, "127.0.0.1", "localhost"])
def test_a_page_of_another_site_reads_and_changes_nothing(
    owners_page: Page, server: Server, attacker: int, site: str
) -> None:
    name = "desk" if "desk" in server.folder.name else "jupyter"
    Attacker.cookies.clear()
    page = owners_page.context.new_page()
    page.goto(f"http://{site}:{attacker}/")
    got = page.evaluate(ATTACK, [server.base, server.kernel_id, server.requests(name)])
    assert got == []
    assert {*Attacker.cookies} == {""}, "a cookie of ours went to another port of this machine"
    [frame] = page.frames[1:]
    assert "kernelId" not in frame.content()
    unchanged(server)


def test_a_page_whose_name_was_rebound_to_this_machine_is_refused(
    owners_page: Page, server: Server
) -> None:
    page = owners_page.context.new_page()
    rebound = server.base.replace("127.0.0.1", ATTACKER)
    for path in ("", f"api/kernels/{server.kernel_id}", f"api/kernels/{server.kernel_id}/channels"):
        for token in ("", f"?token={server.token}"):
            answer = page.goto(f"{rebound}{path}{token}")
            assert answer
            assert answer.status == 403, path
    unchanged(server)


def unchanged(server: Server) -> None:
    """Its kernel lives, and its files are as they were."""
    answer = httpx.get(
        f"{server.base}api/kernels/{server.kernel_id}", params={"token": server.token}
    )
    assert answer.status_code == 200
    assert {path.name for path in server.folder.iterdir()} <= {"map.ipynb", "secret.txt"}
    assert (server.folder / "secret.txt").read_text() == "not for strangers"
