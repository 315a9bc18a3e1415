"""Order ids as small numbers, so that millions are compared without a Python object each."""

from __future__ import annotations

from binascii import unhexlify
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

NO_ORDER = -1
"""The number of an empty id."""

_UUID_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_PIECE = 1 << 18  # rows at a time, so that working memory does not grow with the run


def numbered(*columns: pd.Series) -> tuple[tuple[np.ndarray, ...], int]:
    """Give each distinct id a number, the same in all columns of text, and no two ids the same.

    Numbers count from 0 in the order of the ids, where all are UUIDs. What is no UUID (an id in a
    test) is numbered by its 128-bit BLAKE2b digest.

    Returns:
        The numbers of each column's rows, int32, `NO_ORDER` for an empty id; and how many
        distinct ids there are.
    """
    there, halves = zip(*(_halves(_array(ids)) for ids in columns), strict=True)
    keys = _keys(np.concatenate(halves))
    every = np.unique(keys)
    results = []
    start = 0
    for chosen, half in zip(there, halves, strict=True):
        numbers = np.full(len(chosen), NO_ORDER, dtype=np.int32)
        numbers[chosen] = np.searchsorted(every, keys[start : start + len(half)])
        results.append(numbers)
        start += len(half)
    return tuple(results), len(every)


def _array(ids: pd.Series) -> Any:
    """As one large_string array of Arrow, which pandas keeps such columns in anyway."""
    found: Any = pa.array(ids, type=pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _offsets(ids: Any) -> np.ndarray:
    """Where in its text buffer each id begins, and where the last one ends."""
    return np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]


def _halves(ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which ids are not empty, and the two 64-bit halves of those, a row each."""
    if not len(ids):
        return np.empty(0, bool), np.empty((0, 2), np.uint64)
    there = np.diff(_offsets(ids)) > 0
    halves = np.empty((int(there.sum()), 2), np.uint64)
    done = 0
    for start in range(0, len(ids), _PIECE):
        piece = ids.slice(start, _PIECE).filter(pa.array(there[start : start + _PIECE]))
        halves[done : done + len(piece)] = _parsed(piece)
        done += len(piece)
    return there, halves


def _parsed(ids: Any) -> np.ndarray:
    """The 128 bits of each id as two big-endian halves."""
    if not len(ids):
        return np.empty((0, 2), np.uint64)
    offsets = _offsets(ids)
    digits = None
    if (np.diff(offsets) == _UUID_LENGTH).all():
        letters = np.frombuffer(ids.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        digits = _bits_of_uuids(letters.reshape(len(ids), _UUID_LENGTH))
    if digits is None:  # not all of them are UUIDs
        digits = b"".join(map(_bits, ids.to_pylist()))
    return np.frombuffer(digits, ">u8").reshape(-1, 2)


def _bits(name: str) -> bytes:
    text = name.encode()
    if len(text) == _UUID_LENGTH:
        found = _bits_of_uuids(np.frombuffer(text, np.uint8).reshape(1, _UUID_LENGTH))
        if found is not None:
            return found
    return blake2b(text, digest_size=16).digest()


def _bits_of_uuids(letters: np.ndarray) -> bytes | None:
    """The bytes of UUIDs written in the usual way, a row each; None when one is not."""
    if not (letters[:, _DASHES] == ord("-")).all():
        return None
    try:
        return unhexlify(np.delete(letters, _DASHES, axis=1).tobytes())
    except ValueError:
        return None


def _keys(halves: np.ndarray) -> np.ndarray:
    """64 bits in place of 128, a different number for each different id, in the same order.

    The first halves of a run's ids are few (the run and the worker), the second ones lie close
    together (a sequence), so place and distance tell them apart. Where they do not lie close,
    the place among all second halves does.
    """
    if not len(halves):
        return np.empty(0, np.uint64)
    first, second = halves[:, 0], halves[:, 1]
    firsts = np.sort(pd.unique(first))
    place = np.searchsorted(firsts, first).astype(np.uint64)
    width = int(second.max() - second.min()) + 1
    if len(firsts) * width < 2**64:
        return np.asarray(place * np.uint64(width) + (second - second.min()))
    seconds = np.unique(second)
    return np.asarray(
        place * np.uint64(len(seconds)) + np.searchsorted(seconds, second).astype(np.uint64)
    )
