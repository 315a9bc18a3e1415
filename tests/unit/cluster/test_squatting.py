"""A stranger that has the port of a server that is down learns no password."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from labkit.cluster.engines.postgresql import serving
from labkit.cluster.engines.postgresql.layout import Layout
from labkit.cluster.engines.postgresql.settings import Secrets, Settings
from labkit.cluster.engines.postgresql.starting import Starter
from labkit.topology import DEFAULT

SECRETS = Secrets()


@contextmanager
def asks_in_clear(port: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """A server that asks every client for its password in clear; its port, and what it was told."""
    told: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                client.recv(4096)
                client.sendall(b"R" + struct.pack("!II", 8, 3))  # AuthenticationCleartextPassword
                told.append(client.recv(4096))

    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1], told
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def starter(home: Path, port_base: int) -> Starter:
    settings = Settings(port_base=port_base)
    layout = Layout(home, DEFAULT, port_base, wan=False)
    return Starter(settings, SECRETS, layout, None, None)  # type: ignore[arg-type]


def test_the_superusers_password_is_given_to_nobody_who_asks_for_it_in_clear(tmp_path) -> None:
    with asks_in_clear() as (port, told):
        node = DEFAULT.nodes[0]
        base = port - Layout(tmp_path, DEFAULT, 0, wan=False).postgres(node)
        with pytest.raises(psycopg.OperationalError, match="authentication"):
            starter(tmp_path, base).superuser(node)
    assert told == [b""]


def test_a_question_through_a_balancer_gives_no_password_in_clear(tmp_path) -> None:
    with asks_in_clear() as (port, told):
        layout = Layout(tmp_path, DEFAULT, port, wan=False)
        assert "authentication" in serving.unreachable(layout, SECRETS, DEFAULT.region_names[0])
    assert told == [b""]


def test_a_client_that_is_not_told_so_would_give_it() -> None:
    """Or the tests above could not fail."""
    dsn = "host=127.0.0.1 user=u password=telltale sslmode=disable gssencmode=disable"
    with asks_in_clear() as (port, told), pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, port=port)
    assert b"telltale" in told[-1]
