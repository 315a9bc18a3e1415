from __future__ import annotations

from collections.abc import Sequence

import pytest
from histories import Read, Step, Trade, history_of
from hypothesis import given
from hypothesis import strategies as st

from labkit.history import History
from labkit.measurement.staleness import Staleness, staleness
from labkit.record import OpKind, Outcome

REPLICA = OpKind.REPLICA_READ


def behind_s(steps: Sequence[Step]) -> float:
    [row] = staleness(history_of(steps))
    return row.max_s


def test_a_read_that_shows_all_that_was_acknowledged_is_not_behind():
    assert staleness(history_of([Trade("1"), Read(REPLICA)])) == (
        Staleness("west", reads=1, behind=0, p99_s=None, max_s=0.0),
    )


def test_a_read_is_behind_since_the_first_acknowledgement_it_does_not_show():
    """Acknowledged at 1.1, 2.1 and 3.1 s; at 4 s the read shows the first order only."""
    trades = [Trade("0"), Trade("1"), Trade("2"), Trade("3")]
    assert behind_s([*trades, Read(REPLICA, off=-3)]) == pytest.approx(4 - 1.1)
    assert behind_s([*trades, Read(REPLICA, off=-1)]) == pytest.approx(4 - 3.1)


def test_a_later_order_that_was_acknowledged_sooner_counts():
    trades = [Trade("0", told_after_s=2.5), Trade("1", told_after_s=0.5)]
    assert behind_s([*trades, Read(REPLICA, off=-2)]) == pytest.approx(2 - 1.5)


def test_an_order_still_unacknowledged_does_not_make_a_read_stale():
    for trade in (Trade("0", told_after_s=5), Trade("0", Outcome.INFO)):
        assert behind_s([trade, Read(REPLICA, off=-1)]) == 0


def test_orders_of_another_symbol_do_not_make_a_read_stale():
    assert behind_s([Trade("0", symbol=1), Trade("1", symbol=0), Read(REPLICA, symbol=0)]) == 0
    assert behind_s([Trade("0", symbol=0), Trade("1", symbol=1), Read(REPLICA, symbol=1)]) == 0


def test_unanswered_and_fresh_reads_are_left_out():
    assert staleness(history_of([Read(REPLICA, outcome=Outcome.FAIL), Read()])) == ()
    assert staleness(History.of([])) == ()


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 9)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30)), min_size=1, max_size=10),
)
def test_it_is_what_a_search_through_all_orders_finds(
    orders: list[tuple[int, float]], reads: list[tuple[int, int]]
):
    trades = [
        Trade(str(i), symbol=symbol, told_after_s=after_s)
        for i, (symbol, after_s) in enumerate(orders)
    ]
    there = [sum(s == symbol for s, _ in orders) for symbol in (0, 1)]
    steps: list[Step] = [
        *trades,
        *(Read(REPLICA, symbol=s, off=-min(off, there[s])) for s, off in reads),
    ]
    ops = history_of(steps).ops
    acked, read = ops[ops["kind"] == "order"], ops[ops["kind"] == str(REPLICA)]
    expected = []
    for _, one in read.iterrows():
        missed = acked[(acked["symbol"] == one["symbol"]) & (acked["move_nbr"] > one["move_nbr"])]
        behind = one["sent_s"] - missed["finished_s"].min() if len(missed) else 0.0
        expected.append(max(0.0, behind))
    [row] = staleness(history_of(steps))
    assert row.max_s == pytest.approx(max(expected))
    assert row.p99_s is None, "of ten reads p99 would be the furthest"
    assert row.reads == len(reads)
