"""The state folder of a lab: who may change it, and how it goes."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.errors import LabBusy


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """One command at a time changes a lab.

    Raises:
        LabBusy: another one does.
    """
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LabBusy(
                f"another labkit command is changing the lab in {home}: wait for it"
            ) from None
        yield
    finally:
        os.close(descriptor)


def remove(home: Path) -> None:
    """Remove a state folder; lab.json goes last, so that what is interrupted can be repeated."""
    for path in sorted(home.iterdir(), key=lambda path: path.name == "lab.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    home.rmdir()
