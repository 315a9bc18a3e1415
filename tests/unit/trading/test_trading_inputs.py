"""Orders, deposits and accounts refuse values of a wrong type before they are sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import BadInput
from labkit.trading.accounts import Deposit, NewAccount
from labkit.trading.orders import MAX_QUANTITY, Order, Side

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.complex_numbers(),
)


@given(anything | st.integers(max_value=0) | st.integers(min_value=MAX_QUANTITY + 1))
def test_a_quantity_is_an_int_within_its_range(quantity: Any) -> None:
    with pytest.raises(BadInput, match="quantity"):
        Order.new("1", "AAPL", Side.BUY, quantity)


@given(anything)
def test_a_side_is_a_side(side: Any) -> None:
    with pytest.raises(BadInput, match="side"):
        Order.new("1", "AAPL", side, 1)


@given(anything.filter(lambda value: not isinstance(value, str)))
def test_an_account_and_a_symbol_are_texts(value: Any) -> None:
    with pytest.raises(BadInput, match="account_nbr"):
        Order.new(value, "AAPL", Side.BUY, 1)
    with pytest.raises(BadInput, match="symbol"):
        Order.new("1", value, Side.BUY, 1)
    with pytest.raises(BadInput, match="account number"):
        NewAccount(uuid4(), value, uuid4(), "A customer", "r0")


@given(anything | st.integers(max_value=-1) | st.integers(min_value=4096))
def test_a_region_index_is_a_place_in_a_topology(index: Any) -> None:
    with pytest.raises(BadInput, match="region_index"):
        Order.new("1", "AAPL", Side.BUY, 1, region_index=index)


@given(anything.filter(lambda value: not isinstance(value, Decimal)) | st.integers())
def test_an_amount_is_a_decimal(amount: Any) -> None:
    with pytest.raises(BadInput, match="deposit"):
        Deposit.new("1", amount)
    with pytest.raises(BadInput, match="opening balance"):
        NewAccount.new("A customer", "r0", opening_balance=amount)
