"""What is open is found: the intruder of these tests, against servers that let it in."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import intruder
import pytest

from labkit.cluster.engines.postgresql.certificate import Certificate


@contextmanager
def answering(
    status: int, *headers: tuple[str, str], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server that answers every request alike; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()

        do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tried(port: int, contexts: dict[str, ssl.SSLContext] | None = None) -> list[str]:
    one = {
        "ports": [port],
        "requests": intruder.REQUESTS,
        "schemes": list(contexts or ["http"]),
        "credentials": [""] if contexts else ["", "Basic wrong"],
    }
    return intruder.http({"tries": [one], "region": "us-west-2", "contexts": contexts or {}})


@pytest.mark.parametrize("status", [200, 202, 404, 500])
def test_whatever_answers_at_all_is_open(status: int) -> None:
    with answering(status) as port:
        assert len(tried(port)) == 2 * len(intruder.REQUESTS)


def test_a_refusal_that_pages_of_other_sites_may_read_is_open() -> None:
    with answering(401, ("Access-Control-Allow-Origin", "*")) as port:
        assert tried(port) != []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_no_finding(status: int) -> None:
    with answering(status) as port:
        assert tried(port) == []


def test_tls_that_asks_for_no_certificate_is_open(tmp_path: Path) -> None:
    made = Certificate.make()
    files = tmp_path / "crt", tmp_path / "key"
    files[0].write_text(made.certificate)
    files[1].write_text(made.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files)
    client = ssl._create_unverified_context()  # noqa: S323
    with answering(200, context=server) as port:
        found = tried(port, {"TLS": client})
    assert len(found) == len(intruder.REQUESTS)


def test_a_file_that_can_be_read_is_found(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("")
    paths = [str(tmp_path), str(tmp_path / "open"), str(tmp_path / "gone")]
    found = intruder.files({"paths": paths, "pids": []})
    assert found == [f"{tmp_path} is open", f"{tmp_path / 'open'} is open"]
