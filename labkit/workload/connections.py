"""A log of the moments at which clients of a region got a connection, the first sign of service.

It has a line per connection: tens per run, and some more after an outage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Self

from labkit.events import Event, Sign
from labkit.workload.oplog import OPS_FOLDER

SOURCE = "client"


class ConnectionLog:
    """A log of the new connections of one region; a context manager."""

    def __init__(self, folder: Path, region: str) -> None:
        path = _path(folder, region)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def opened(self) -> None:
        """Record that the server has accepted a connection just now."""
        os.write(self._fd, f"{monotonic():.6f}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def connections(folder: Path, regions: Iterable[str]) -> Iterator[Event]:
    """Read the log of every region in a run folder, and skip lines that are not whole."""
    for region in regions:
        path = _path(folder, region)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for line in lines:
            yield Event(float(line), Sign.CONNECTED, SOURCE, region=region)


def _path(folder: Path, region: str) -> Path:
    return folder / OPS_FOLDER / f"{region}.connections"
