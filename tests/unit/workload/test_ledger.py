from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from labkit.workload.ledger import Ledger, read_ledger

A, B, C = (UUID(int=n) for n in (1, 2, 3))


def test_entries_read_back_region_by_region(tmp_path: Path) -> None:
    with Ledger(tmp_path, "us-west-2") as west, Ledger(tmp_path, "eu-west-1") as eu:
        west.acknowledged(B)
        eu.acknowledged(C)
        west.acknowledged(A)
    assert read_ledger(tmp_path) == (str(C), str(B), str(A))


def test_a_reopened_ledger_keeps_its_entries(tmp_path: Path) -> None:
    for order_id in (A, B):
        with Ledger(tmp_path, "us-west-2") as ledger:
            ledger.acknowledged(order_id)
    assert read_ledger(tmp_path) == (str(A), str(B))


def test_a_folder_without_a_ledger_has_no_entries(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == ()


@pytest.mark.parametrize("kept", range(37))
def test_a_torn_last_line_is_left_out(tmp_path: Path, kept: int) -> None:
    """An entry has 36 characters and a newline; without the newline it is torn."""
    with Ledger(tmp_path, "us-west-2") as ledger:
        ledger.acknowledged(A)
        ledger.acknowledged(B)
    path = tmp_path / "ledger" / "us-west-2.log"
    os.truncate(path, 37 + kept)
    assert read_ledger(tmp_path) == (str(A),)


def test_an_entry_survives_the_kill_of_its_worker(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from uuid import UUID\n"
        "from labkit.workload.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1]), 'us-west-2').acknowledged(UUID(int=1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_ledger(tmp_path) == (str(A),)


def test_an_entry_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The order must not be counted then."""
    ledger = Ledger(tmp_path, "us-west-2")
    with ledger:
        pass
    with pytest.raises(OSError, match="Bad file descriptor"):
        ledger.acknowledged(A)
