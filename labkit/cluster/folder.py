"""The state folder of a lab: who may change it, its files, and how it goes."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.errors import ClusterError, LabBusy


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


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file at once: readers see the old text or the new one, never a part.

    Raises:
        ClusterError: it cannot be written, such as on a full disk; the old text is still there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is: containers read as other users
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ClusterError(
            f"{path} cannot be written ({error.strerror}): is the disk full, or read-only? "
            "Mend that, then repeat the command"
        ) from error
