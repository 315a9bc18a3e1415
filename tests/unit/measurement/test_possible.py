"""Which rows, faults and terms of a recording can be, to the edge."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
from histories import order

from labkit.history import History, Terms
from labkit.measurement.possible import (
    EARLY_S,
    LARGEST_PLACE,
    LONGEST_S,
    every_row,
    impossible_faults,
    impossible_rows,
    impossible_terms,
    recorded_twice,
    without,
)
from labkit.record import FaultWindow, Op, OpKind, Outcome

ORDER = order("west", 100, 100.5)._replace(move_nbr=1, price_cents=1)
READ = ORDER._replace(kind=OpKind.FRESH_READ, order_id="", side="", move_nbr=0)
NEVER_SENT = ORDER._replace(
    outcome=Outcome.FAIL, sent_s=nan, attempts=0, move_nbr=None, price_cents=None
)
HEALTHY = [order("west", 90, 90.1), order("west", 110, 110.1)]
"""Before and after, so that the middle of the run is 100 s."""

Change = dict[str, object]


def wrong(op: Op) -> list[str]:
    """What is wrong with an operation in the middle of a run."""
    history = History.of([HEALTHY[0], op, HEALTHY[1]])
    rows = impossible_rows(history, np.asarray(history.ops["order_id"] != ""))
    assert {row for some in rows.values() for row in some.tolist()} <= {1}
    return list(rows)


CAN_BE: list[tuple[Op, Change]] = [
    (ORDER, {"sent_s": 100 - EARLY_S / 2}),
    (ORDER, {"finished_s": 100.0}),
    (ORDER, {"finished_s": 100.0 - EARLY_S / 2, "sent_s": 100.0 - EARLY_S / 2}),
    (ORDER, {"move_nbr": LARGEST_PLACE - 1}),
    (ORDER, {"move_nbr": None}),
    (ORDER, {"price_cents": (1 << 53) - 1}),
    (ORDER, {"price_cents": None}),
    (ORDER, {"attempts": 7}),
    (ORDER, {"side": "sell"}),
    (READ, {}),
    (READ, {"kind": OpKind.REPLICA_READ}),
    (READ, {"symbol": ""}),
    (READ, {"outcome": Outcome.FAIL, "price_cents": None, "move_nbr": None}),
    (NEVER_SENT, {}),
    (NEVER_SENT, {"finished_s": 100.0}),
]
CANNOT_BE: list[tuple[Op, Change, str]] = [
    (ORDER, {"sent_s": 100 - 2 * EARLY_S}, "sent before it was due"),
    (ORDER, {"sent_s": 100.6}, "answered before it was sent"),
    (NEVER_SENT, {"finished_s": 100 - 2 * EARLY_S}, "ended before it was due"),
    (ORDER, {"finished_s": inf}, "a moment that is not a time"),
    (ORDER, {"finished_s": 100.5 + 2 * LONGEST_S}, "a moment outside of the run"),
    (READ, {"kind": "rumour"}, "no such kind of operation"),
    (ORDER, {"outcome": "maybe"}, "no such outcome"),
    (ORDER, {"order_id": ""}, "an order without an id"),
    (READ, {"order_id": "o1"}, "a read with the id of an order"),
    (ORDER, {"symbol": ""}, "an order of no instrument"),
    (ORDER, {"side": ""}, "neither a buy nor a sell"),
    (NEVER_SENT, {"outcome": Outcome.INFO}, "never sent, and not refused"),
    (NEVER_SENT, {"attempts": 1}, "its attempts and the moment of its first one do not agree"),
    (ORDER, {"attempts": 0}, "its attempts and the moment of its first one do not agree"),
    (ORDER, {"attempts": -1}, "its attempts and the moment of its first one do not agree"),
    (ORDER, {"move_nbr": 0}, "a place that no order can have"),
    (READ, {"move_nbr": -1}, "a place that no order can have"),
    (ORDER, {"move_nbr": LARGEST_PLACE}, "a place that no order can have"),
    (ORDER, {"price_cents": 0}, "a price that cannot be"),
    (ORDER, {"price_cents": 1 << 53}, "a price that cannot be"),
    (READ, {"price_cents": None}, "an answered read without a price or its place"),
    (READ, {"move_nbr": None}, "an answered read without a price or its place"),
]


def changes(value: object) -> str | None:
    """Name a case after what it changes."""
    return str(value) if isinstance(value, dict) else None


@pytest.mark.parametrize(("op", "change"), CAN_BE, ids=changes)
def test_a_row_at_the_edge_of_what_can_be_is_no_defect(op: Op, change: Change):
    assert wrong(op._replace(**change)) == []


@pytest.mark.parametrize(("op", "change", "why"), CANNOT_BE, ids=changes)
def test_a_row_beyond_the_edge_is_a_defect_of_one_name(op: Op, change: Change, why: str):
    assert wrong(op._replace(**change)) == [why]


def test_a_row_of_a_region_that_the_run_does_not_have_is_a_defect():
    history = History.from_frame(History.of([*HEALTHY, ORDER]).ops, regions=("east",))
    rows = impossible_rows(history, np.ones(3, dtype=bool))
    assert {why: some.tolist() for why, some in rows.items()} == {"no such region": [0, 1, 2]}


@pytest.mark.parametrize("moment_s", [100 + LONGEST_S, 100 - LONGEST_S])
def test_a_moment_as_far_from_the_middle_as_a_run_is_long_is_of_the_run(moment_s: float):
    at = ORDER._replace(scheduled_s=moment_s, sent_s=moment_s, finished_s=moment_s)
    far = at._replace(**dict.fromkeys(("scheduled_s", "sent_s", "finished_s"), 2 * moment_s))
    history = History.of([ORDER] * 3 + [at, far])
    rows = impossible_rows(history, np.ones(5, dtype=bool))
    assert {why: len(some) for why, some in rows.items()} == {"a moment outside of the run": 1}


FAULT = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110, healed_s=110)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"took_effect_s": None, "healed_s": None}, None),
        ({"took_effect_s": 109.9}, "it took effect or was healed before it was injected"),
        ({"healed_s": 109.9}, "it took effect or was healed before it was injected"),
        ({"healed_s": nan}, "one of its moments is not a time"),
        ({"injected_s": nan}, "one of its moments is not a time"),
    ],
    ids=changes,
)
def test_a_fault_takes_effect_and_is_healed_at_its_injection_or_later(
    change: Change, why: str | None
):
    history = History.of([ORDER], [FAULT, replace(FAULT, **change)])
    said = () if why is None else (f"fault kill west/1: {why}",)
    assert impossible_faults(history) == said


HELD = replace(FAULT, healed_s=130)
TERMS = Terms(130.0, {}, {"before": (104, 110), "after": (130, 136)})


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (TERMS, []),
        (None, []),
        (
            replace(TERMS, looks={"before": (104, 110.1)}),
            ["the state before the fault was looked at after its injection"],
        ),
        (
            replace(TERMS, looks={"after": (129.9, 136)}),
            ["the state after the fault was looked at before its healing"],
        ),
        (replace(TERMS, watched_until_s=129.9), ["the watch ended before the fault was healed"]),
        (replace(TERMS, watched_until_s=inf), []),
        (replace(TERMS, looks={}), []),
        (replace(TERMS, looks={"before": (nan, 110)}), ["one of its moments is not a time"]),
    ],
)
def test_looks_and_watch_touch_the_fault_and_do_not_overlap_it(terms: Terms | None, why: list[str]):
    history = replace(History.of([ORDER], [HELD]), terms=terms)
    assert impossible_terms(history) == tuple(f"terms: {one}" for one in why)


def test_of_several_faults_the_terms_are_about_the_last():
    earlier = replace(HELD, injected_s=10, took_effect_s=10, healed_s=20)
    history = replace(History.of([ORDER], [earlier, HELD]), terms=TERMS)
    assert impossible_terms(history) == ()


def test_a_watch_may_end_before_a_fault_that_was_never_healed_but_nothing_is_after_it():
    history = replace(History.of([ORDER], [replace(HELD, healed_s=None)]), terms=TERMS)
    assert impossible_terms(history) == (
        "terms: the state after the fault was looked at before its healing",
    )


def test_terms_of_a_run_without_faults_fit():
    assert impossible_terms(replace(History.of([ORDER]), terms=TERMS)) == ()


def twice(*numbered: tuple[Op, int]) -> list[int]:
    history = History.of([op for op, _ in numbered])
    return recorded_twice(history, np.array([number for _, number in numbered])).tolist()


def at(op: Op, moment_s: float, outcome: Outcome = Outcome.OK) -> Op:
    return op._replace(
        scheduled_s=moment_s, sent_s=moment_s, finished_s=moment_s + 0.1, outcome=outcome
    )


def test_of_two_rows_of_an_order_the_first_that_was_acknowledged_is_kept():
    refused, acked, again = at(ORDER, 1, Outcome.FAIL), at(ORDER, 2), at(ORDER, 3)
    assert twice((refused, 0), (acked, 0), (again, 0)) == [0, 2]
    assert twice((refused, 0), (at(ORDER, 2, Outcome.INFO), 0)) == [1]
    assert twice((refused, 0), (acked, 1), (again, 2)) == []


def test_a_read_is_there_twice_only_where_all_of_it_is():
    read, later = at(READ, 1), at(READ, 2)
    assert twice((read, -1), (read, -1), (later, -1)) == [1]
    assert twice((read, -1), (read._replace(session=9), -1)) == []
    assert twice((read, -1), (read, -1), (at(ORDER, 2), 0), (at(ORDER, 3), 0)) == [1, 3]


def test_a_row_with_two_defects_is_one_row():
    assert every_row({"a": np.array([3, 1]), "b": np.array([1])}).tolist() == [1, 3]
    assert every_row({}).tolist() == []


def test_an_empty_history_has_no_defect():
    assert impossible_rows(History.of([]), np.empty(0, dtype=bool)) == {}


def test_rows_and_faults_that_cannot_be_are_left_out_and_the_rest_is_numbered_anew():
    wrong = replace(FAULT, took_effect_s=nan)
    history = History.of([at(ORDER, moment_s) for moment_s in (1, 2, 3)], [FAULT, wrong])
    rest = without(history, np.array([1]))
    assert rest.ops["scheduled_s"].tolist() == [1, 3]
    assert rest.ops.index.tolist() == [0, 1]
    assert list(rest.ops) == list(history.ops)
    assert rest.faults == (FAULT,)
    every = without(history, np.empty(0, np.int64))
    assert (len(every.ops), every.faults) == (3, (FAULT,))


def test_a_recording_without_defects_is_the_recording_itself():
    history = History.of([ORDER], [FAULT])
    assert without(history, np.empty(0, np.int64)) is history
