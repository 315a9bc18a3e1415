from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.measurement import parts

columns = st.lists(
    st.lists(st.integers(0, 9), max_size=30).map(lambda codes: np.array(codes, np.int16)),
    min_size=1,
    max_size=3,
)


@given(columns, st.integers(1, 20))
def test_each_row_is_in_one_part_and_no_part_has_too_many(tables: list[np.ndarray], most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ROWS", most)
        found = list(parts.parts(10, *tables))
    assert [symbol for part in found for symbol in part] == list(range(10))
    for codes in tables:
        rows = [row for part in found for row in parts.rows_in(part, codes)]
        assert sorted(rows) == list(range(len(codes)))
    for part in found:
        assert len(part) == 1 or sum(len(parts.rows_in(part, codes)) for codes in tables) <= most


def test_where_there_is_no_symbol_there_is_no_part():
    assert list(parts.parts(0, np.empty(0, np.int8))) == []
