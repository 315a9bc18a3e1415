from __future__ import annotations

from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.trading.ids import RunId
from labkit.verdict import numbers
from labkit.verdict.numbers import NO_ORDER, numbered

uuids = st.uuids(allow_nil=True).map(str)
run_ids = st.builds(
    lambda worker, sequence: str(RunId(7).order_id(worker, sequence)),
    st.integers(0, 3),
    st.integers(0, 50),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
nearly = uuids.map(lambda text: text[:9] + " " + text[10:]) | uuids.map(lambda t: "-" + t[1:])
ids = st.one_of(run_ids, uuids, texts, nearly, st.just(""))


def column(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="str")


@given(st.lists(ids, max_size=30), st.lists(ids, max_size=30))
def test_two_ids_have_the_same_number_exactly_when_they_are_the_same(
    some: list[str], others: list[str]
):
    every, (left, right) = numbered(column(some), column(others))
    pairs = list(zip([*some, *others], [*left.tolist(), *right.tolist()], strict=True))
    assert all((number == NO_ORDER) == (name == "") for name, number in pairs)
    named = {(name, number) for name, number in pairs if name}
    assert len(named) == len({name for name, _ in named}) == len({n for _, n in named})
    assert {number for _, number in named} == set(range(len(every)))


@given(st.lists(ids, max_size=30))
def test_a_number_leads_back_to_the_id(some: list[str]):
    every, (found,) = numbered(column(some))
    for name, number in zip(some, found.tolist(), strict=True):
        assert number == NO_ORDER or every.name(number) == name


@given(st.lists(uuids | run_ids, unique=True))
def test_numbers_of_uuids_are_in_the_order_of_their_text(names: list[str]):
    _, (found,) = numbered(column(names))
    assert [names[i] for i in np.argsort(found)] == sorted(names)


def test_a_column_longer_than_a_piece_is_numbered_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(numbers, "PIECE", 7)
    names = [str(UUID(int=i)) for i in range(50)] + ["", "o1"]
    every, (found, again) = numbered(column(names), column(names[::-1]))
    assert len(every) == 51
    assert found.tolist() == again[::-1].tolist()
    assert found.tolist()[50] == NO_ORDER


def test_a_column_may_come_in_pieces():
    names = [str(UUID(int=i)) for i in (3, 1, 2)]
    _, (whole, pieces) = numbered(column(names), (pa.array([name]) for name in names))
    assert whole.tolist() == pieces.tolist() == [2, 0, 1]


def test_no_ids_have_no_numbers():
    assert len(numbered(column([]))[0]) == 0
    every, (found,) = numbered(column(["", ""]))
    assert (found.tolist(), len(every)) == ([NO_ORDER, NO_ORDER], 0)
