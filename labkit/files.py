"""Writing files so that no reader ever sees a part of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside a file; what the block writes there takes the file's place at its end.

    A process that is killed, a full disk or an exception leaves the old file as it was.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield new
        descriptor = os.open(new, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # before the name points to it, also after a loss of power
        finally:
            os.close(descriptor)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, mode: int | None = None) -> None:
    """Replace a text file at once.

    Args:
        mode: its permissions, whatever the umask is; by default as the umask has them.

    Raises:
        OSError: it cannot be written; the old text is still there.
    """
    with replacing(path) as new:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(new, flags, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(text)
