"""Symbols a few at a time.

What is said of a symbol needs only its own operations. So a run is looked at in parts, and the
memory that it takes to judge it does not grow with the run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PART_ROWS = 1 << 20
"""Rows a part at most, unless one symbol alone has more."""


def parts(count: int, *columns: np.ndarray) -> Iterator[range]:
    """Cut symbols into ranges.

    Args:
        count: how many there are; a symbol's code is below it.
        columns: the code of each row's symbol, a column a table.

    Yields:
        Ranges of codes, in order and without gaps.
    """
    rows = np.zeros(count, dtype=np.int64)
    for codes in columns:
        rows += np.bincount(codes, minlength=count)
    until = np.cumsum(rows)
    first = 0
    while first < count:
        before = until[first] - rows[first]
        last = int(np.searchsorted(until, before + PART_ROWS, side="right"))
        part = range(first, max(last, first + 1))
        yield part
        first = part.stop


def rows_in(part: range, codes: np.ndarray) -> np.ndarray:
    """Return the rows whose symbol is in a part."""
    return np.flatnonzero((codes >= part.start) & (codes < part.stop))
