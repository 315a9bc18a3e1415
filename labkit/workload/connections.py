"""When the clients of a region got a new connection: the first sign that service is back.

A line a connection, so tens a run and some more after an outage.
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
    """Writes down the connections of one region as they are made; a context manager."""

    def __init__(self, folder: Path, region: str) -> None:
        path = _path(folder, region)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def opened(self) -> None:
        """A connection is there now: the server has let the client in."""
        os.write(self._fd, f"{monotonic():.6f}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def connections(folder: Path, regions: Iterable[str]) -> Iterator[Event]:
    """What every region's log in a run folder has; a line that is not whole is passed over."""
    for region in regions:
        path = _path(folder, region)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
        for line in lines:
            yield Event(float(line), Sign.CONNECTED, SOURCE, region=region)


def _path(folder: Path, region: str) -> Path:
    return folder / OPS_FOLDER / f"{region}.connections"
