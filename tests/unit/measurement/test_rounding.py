"""Numbers as text, each no finer than it is known."""

from __future__ import annotations

import pytest

from labkit.measurement.rounding import (
    decimals,
    milliseconds,
    percent,
    rounded,
    seconds,
    written,
)


@pytest.mark.parametrize(
    ("error", "places"),
    [(2, 0), (1, 0), (0.9, 1), (0.1, 1), (0.09, 2), (0.01, 2), (0.009, 3), (1e-9, 3)],
)
def test_a_number_has_as_many_digits_as_its_error_leaves(error: float, places: int):
    assert decimals(error) == places


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (6.9, 0.1, "6.9 ± 0.1"),
        (6.93, 0.1, "6.9 ± 0.2"),
        (123.4, 2, "123 ± 3"),
        (5.95, 0.0001, "5.950 ± 0.001"),
        (0, 0.3, "under 0.3"),
        (0.001, 0.3, "0.0 ± 0.4"),
        (5.12345, 0, "5.123"),
        (5.12345, -1, "5.123"),
    ],
)
def test_the_truth_is_within_what_is_written(value: float, error: float, text: str):
    assert rounded(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05, "0.05 s"),
        (9.99, "9.99 s"),
        (10, "10.0 s"),
        (99.9, "99.9 s"),
        (100, "100 s"),
        (1234.6, "1,235 s"),
    ],
)
def test_seconds_have_three_digits(value: float, text: str):
    assert seconds(value) == text


def test_seconds_with_an_error_have_their_unit_twice():
    assert seconds(6.9, 0.1) == "6.9 s ± 0.1 s"
    assert seconds(0, 0.1) == "under 0.1 s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (2.41, "2.4"), (9.9, "9.9"), (10, "10"), (366.4, "366"), (6012, "6,012")],  # noqa: RUF001
)
def test_milliseconds_have_a_digit_after_the_point_below_ten(value: float | None, text: str):
    assert milliseconds(value) == text


def test_a_share_has_no_more_digits_than_there_are():
    assert [percent(share) for share in (0.9375, 0.97, 1, 0.123456)] == [
        "93.75 %",
        "97 %",
        "100 %",
        "12.35 %",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", "unknown"),
        (5, "s", "5.00 s"),
        (5, "ms", "5.0 ms"),
        (12345, "", "12,345"),
    ],
)
def test_a_number_is_written_with_its_unit(value: float | None, unit: str, text: str):
    assert written(value, unit) == text


def test_an_error_is_written_where_the_unit_is_seconds():
    assert written(6.9, "s", 0.1) == "6.9 s ± 0.1 s"
