"""Order ids as small numbers, so that millions are compared without a Python object each."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa

NO_ORDER = -1
"""The number of an empty id."""

PIECE = 1 << 18
"""Rows at a time, so that working memory does not grow with the run."""

_UUID_LENGTH = 36
_DASHES = [8, 13, 18, 23]


@dataclass(frozen=True, eq=False)
class OrderIds:
    """The distinct ids of some columns; the number of each is its place among them.

    An id is 128 bits: those of a UUID, or the BLAKE2b digest of what is none (an id in a test).
    They are kept as keys of 64 bits, a different one for each different id, in the same order. The
    first halves of a run's ids are few (the run and the worker), the second ones lie close
    together (a sequence), so place and distance tell them apart. Where they do not lie close, the
    place among all second halves does.

    Attributes:
        keys: a key each, in order: `firsts` has the first half by its place, the rest is the
            second half, a distance from `seconds` or a place in it.
        width: by how much the keys of two first halves are apart.
        texts: what stands for a digest.
    """

    keys: np.ndarray
    firsts: np.ndarray
    seconds: np.ndarray
    width: int
    texts: dict[bytes, str]

    def __len__(self) -> int:
        return len(self.keys)

    def name(self, number: int) -> str:
        """Return the id as text."""
        place, rest = divmod(int(self.keys[number]), self.width)
        second = int(self.seconds[0]) + rest if self._close else int(self.seconds[rest])
        bits = int(self.firsts[place]).to_bytes(8) + second.to_bytes(8)
        return self.texts.get(bits) or str(UUID(bytes=bits))

    @property
    def _close(self) -> bool:
        return len(self.seconds) == 1

    def _keys_of(self, halves: np.ndarray) -> np.ndarray:
        first, second = halves[:, 0], halves[:, 1]
        rest = (
            second - self.seconds[0]
            if self._close
            else np.searchsorted(self.seconds, second).astype(np.uint64)
        )
        place = np.searchsorted(self.firsts, first).astype(np.uint64)
        return np.asarray(place * np.uint64(self.width) + rest)


def numbered(*columns: pd.Series | Iterable[Any]) -> tuple[OrderIds, tuple[np.ndarray, ...]]:
    """Give each distinct id a number, the same in all columns, and no two ids the same.

    Numbers count from 0 in the order of the ids, where all are UUIDs.

    Args:
        columns: of text; or its pieces, arrays of Arrow, where it need not be in memory at once.

    Returns:
        The ids, and the numbers of each column's rows: int32, `NO_ORDER` for an empty id.
    """
    texts: dict[bytes, str] = {}
    there, halves = zip(*(_halves(_pieces(column), texts) for column in columns), strict=True)
    ids = _key_space(halves, texts)
    keys = [ids._keys_of(half) for half in halves]  # noqa: SLF001 - of this module
    del halves
    ids = replace(ids, keys=_distinct(np.concatenate(keys)))
    results = []
    for chosen, mine in zip(there, keys, strict=True):
        numbers = np.full(len(chosen), NO_ORDER, dtype=np.int32)
        numbers[chosen] = np.searchsorted(ids.keys, mine)
        results.append(numbers)
    return ids, tuple(results)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Each value once, in order. Sorts in place: half the time and the memory of `np.unique`."""
    values.sort()
    return np.asarray(values[np.append(True, values[1:] != values[:-1])[: len(values)]])


def _key_space(halves: tuple[np.ndarray, ...], texts: dict[bytes, str]) -> OrderIds:
    """Tell how 128 bits become 64; no ids yet."""
    none = np.empty(0, np.uint64)
    some = [half for half in halves if len(half)]
    if not some:
        return OrderIds(none, none, np.zeros(1, np.uint64), 1, texts)
    firsts = np.unique(np.concatenate([pd.unique(half[:, 0]) for half in some]))
    lowest = min(int(half[:, 1].min()) for half in some)
    width = max(int(half[:, 1].max()) for half in some) - lowest + 1
    if len(firsts) * width < 2**64:
        return OrderIds(none, firsts, np.array([lowest], np.uint64), width, texts)
    seconds = _distinct(np.concatenate([half[:, 1] for half in some]))
    return OrderIds(none, firsts, seconds, len(seconds), texts)


def _pieces(column: pd.Series | Iterable[Any]) -> Iterator[Any]:
    """Arrays of Arrow, large_string; pandas keeps text in such anyway."""
    if isinstance(column, pd.Series):
        whole: Any = pa.array(column, type=pa.large_string())
        column = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    for chunk in column:
        for start in range(0, len(chunk), PIECE):
            yield chunk.slice(start, PIECE).cast(pa.large_string())


def _halves(pieces: Iterable[Any], texts: dict[bytes, str]) -> tuple[np.ndarray, np.ndarray]:
    """Tell which ids are not empty, and the two 64-bit halves of those, a row each."""
    there = [np.empty(0, bool)]
    halves = [np.empty((0, 2), np.uint64)]
    for ids in pieces:
        chosen = np.diff(_offsets(ids)) > 0
        there.append(chosen)
        halves.append(_parsed(ids.filter(pa.array(chosen)), texts))
    return np.concatenate(there), np.concatenate(halves)


def _offsets(ids: Any) -> np.ndarray:
    """Tell where in its text buffer each id begins, and where the last one ends."""
    return np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]


def _parsed(ids: Any, texts: dict[bytes, str]) -> np.ndarray:
    """Return the 128 bits of each id as two halves, one row per id."""
    if not len(ids):
        return np.empty((0, 2), np.uint64)
    offsets = _offsets(ids)
    digits = None
    if (np.diff(offsets) == _UUID_LENGTH).all():
        letters = np.frombuffer(ids.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        digits = _bits_of_uuids(letters.reshape(len(ids), _UUID_LENGTH))
    if digits is None:  # not all of them are UUIDs
        digits = b"".join(_bits(text, texts) for text in ids.to_pylist())
    return np.frombuffer(digits, ">u8").reshape(-1, 2).astype(np.uint64)


def _bits(name: str, texts: dict[bytes, str]) -> bytes:
    text = name.encode()
    if len(text) == _UUID_LENGTH:
        found = _bits_of_uuids(np.frombuffer(text, np.uint8).reshape(1, _UUID_LENGTH))
        if found is not None:
            return found
    digest = blake2b(text, digest_size=16).digest()
    texts[digest] = name
    return digest


def _bits_of_uuids(letters: np.ndarray) -> bytes | None:
    """Return the bytes of UUIDs written in the usual way, one row per id; None when one is not."""
    if not (letters[:, _DASHES] == ord("-")).all():
        return None
    try:
        return unhexlify(np.delete(letters, _DASHES, axis=1).tobytes())
    except ValueError:
        return None
