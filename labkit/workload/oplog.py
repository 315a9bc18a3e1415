"""Finished operations on their way from the workers to whoever started them: files of JSON lines.

A line is a watermark and a list of operations, each a list of the fields of `Op`: what was
finished since the line before. So an operation costs its worker little. The watermark, in monotonic
seconds, tells what is still to come: every order that was due before it has ended, and is in this
line or in one before. Stream processing calls that a low watermark
(https://nightlies.apache.org/flink/flink-docs-stable/docs/concepts/time/).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any, Protocol, Self

import orjson

from labkit.record import Op

FLUSH_EVERY_S = 0.1
OPS_FOLDER = "ops"


def ops_path(folder: Path, region: str) -> Path:
    """Return the file of a region's operations in a run folder."""
    return folder / OPS_FOLDER / f"{region}.jsonl"


class Progress(Protocol):
    """A source of the watermark of one region."""

    @property
    def watermark_s(self) -> float:
        """The monotonic time before which every due order has ended and was appended."""


class OpLog:
    """The file of one region's operations, open for appending; a context manager."""

    def __init__(self, folder: Path, region: str, progress: Progress) -> None:
        path = ops_path(folder, region)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._ops: list[Op] = []
        self._progress = progress

    def append(self, op: Op) -> None:
        """Keep an operation in memory until the next flush."""
        self._ops.append(op)

    def flush(self) -> None:
        """Hand the operations in memory to the kernel, with the watermark."""
        data = line_of(self._progress.watermark_s, self._ops)
        self._ops.clear()
        while data:
            data = data[os.write(self._fd, data) :]

    async def keep_flushing(self) -> None:
        """Flush at intervals until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        os.close(self._fd)


def line_of(watermark_s: float, ops: Sequence[Op]) -> bytes:
    """Make one line of the file."""
    return orjson.dumps((watermark_s, ops), default=tuple, option=orjson.OPT_APPEND_NEWLINE)


class OpTail:
    """A reader of the operations of several regions while they are written."""

    def __init__(self, folder: Path, regions: Iterable[str]) -> None:
        self._offsets = {ops_path(folder, region): 0 for region in regions}
        self._watermarks_s = dict.fromkeys(self._offsets, -inf)

    @property
    def watermark_s(self) -> float:
        """The monotonic time before which every due order has ended and was read; at first -inf."""
        return min(self._watermarks_s.values())

    def read(self) -> list[dict[str, Any]]:
        """Read the operations that were written since the last call, in whole lines."""
        ops: list[dict[str, Any]] = []
        for path, offset in self._offsets.items():
            if not path.exists():  # the worker has not begun
                continue
            with path.open("rb") as file:
                file.seek(offset)
                whole, newline, _torn = file.read().rpartition(b"\n")
            self._offsets[path] += len(whole) + len(newline)
            for line in whole.splitlines():
                self._watermarks_s[path], ended = orjson.loads(line)
                ops.extend(dict(zip(Op._fields, op, strict=True)) for op in ended)
        return ops
