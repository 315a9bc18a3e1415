"""`python -m labkit.wan`: a real process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from wan_lab import HOST, PATIENCE_S, TOKEN, fixed, make_plan, receive, service

from labkit.wan.client import WanClient
from labkit.wan.plan import Plan


@contextmanager
def started(plan: Plan, folder: Path) -> Iterator[subprocess.Popen[str]]:
    path = folder / "wan.json"
    plan.save(path)
    process = subprocess.Popen(
        [sys.executable, "-m", "labkit.wan", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_ready_serves_and_ends_cleanly_when_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    with service() as behind:
        plan = make_plan(fixed(behind.port))
        with started(plan, tmp_path) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert WanClient(plan.control_port, TOKEN).state().refused == ()
            with (
                socket.create_connection((HOST, plan.listeners[0].port), PATIENCE_S) as client,
                behind.accept() as server,
            ):
                client.sendall(b"?")
                assert receive(server, 1) == b"?"
                process.send_signal(number)
                for sock in (client, server):
                    with pytest.raises(ConnectionResetError):
                        sock.recv(1)
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, stdout, stderr) == (0, "", "")


@pytest.mark.parametrize("taken", ["listener", "control"])
def test_a_taken_port_ends_it_with_one_line_that_names_port_and_listener(
    tmp_path: Path, taken: str
) -> None:
    plan = make_plan(fixed(5432))
    listener = plan.listeners[0]
    port, name = (
        (listener.port, listener.name)
        if taken == "listener"
        else (plan.control_port, "control API")
    )
    with socket.create_server((HOST, port)), started(plan, tmp_path) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert stdout == ""
    assert f"port {port} on 127.0.0.1" in stderr
    assert name in stderr
    assert stderr.count("\n") == 1


def test_a_plan_that_cannot_be_read_ends_it_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    done = subprocess.run(
        [sys.executable, "-m", "labkit.wan", str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_needs_nothing_but_the_standard_library() -> None:
    """It also runs inside a stock Python container: no site-packages."""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "labkit.wan", "--help"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert done.returncode == 0
    assert "PLAN.json" in done.stdout
