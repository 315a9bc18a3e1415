"""A region that falls silent before the end of the watch is named; how long it may be silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from histories import order, orders

from labkit.history import History, Terms
from labkit.record import FaultWindow, Op
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.recording import impossible, recording


def looked_at(
    ops: list[Op],
    *,
    healed_s: float | None = None,
    until_s: float | None = None,
    ledger: tuple[str, ...] = (),
    regions: tuple[str, ...] = (),
) -> Finding:
    faults = [] if healed_s is None else [FaultWindow("kill", "x", 101, 101, healed_s)]
    recorded = History.of(ops)
    history = History.from_frame(recorded.ops, faults, regions=regions or recorded.regions)
    if until_s is not None:
        history = replace(history, terms=Terms(until_s, {}, {}))
    seen = Evidence.of(ledger, history, None)
    return recording(seen, impossible(seen))


@pytest.mark.parametrize(("healed_s", "silent"), [(111.9, False), (112.0, True)])
def test_a_region_with_many_orders_may_be_silent_for_two_seconds(healed_s: float, silent: bool):
    """Its last order was due at 109.95 s, and one came each 0.05 s."""
    found = looked_at(orders("west", 100, 110), healed_s=healed_s)
    assert (found.verdict is Verdict.UNKNOWN) is silent


@pytest.mark.parametrize(("healed_s", "silent"), [(139, False), (139.1, True)])
def test_a_region_with_few_orders_may_be_silent_for_thirty_times_their_distance(
    healed_s: float, silent: bool
):
    """Its last order was due at 109 s, and one came each second."""
    found = looked_at(orders("west", 100, 110, per_s=1), healed_s=healed_s)
    assert (found.verdict is Verdict.UNKNOWN) is silent


def test_what_a_region_may_be_silent_for_is_that_of_its_last_fifty_orders():
    ops = [*orders("west", 0, 100, per_s=0.1), *orders("west", 100, 102.5)]
    assert looked_at(ops, healed_s=104.7).verdict is Verdict.UNKNOWN
    assert looked_at(ops[:-1], healed_s=104.7).verdict is Verdict.PASS, "one is 10 s earlier"


def test_one_order_may_be_followed_by_two_seconds_of_silence():
    assert looked_at([order("west", 100, 100.1)], healed_s=102).verdict is Verdict.PASS
    assert looked_at([order("west", 100, 100.1)], healed_s=102.1).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("ends", "silent_s"),
    [
        ({"healed_s": 120.05}, 10.1),
        ({"until_s": 130.05}, 20.1),
        ({"healed_s": 120.05, "until_s": 130.05}, 20.1),
    ],
)
def test_the_watch_ends_with_the_last_healing_or_when_it_was_ended(
    ends: dict[str, float], silent_s: float
):
    found = looked_at(orders("west", 100, 110), **ends)
    assert found.summary == (
        f"the recording is defective: west recorded nothing in the last {silent_s} s "
        "of the watch, after 200 orders"
    )
    assert (found.offenders, found.count) == (("west",), 1)


def test_the_watch_goes_on_as_long_as_any_region_records():
    found = looked_at([*orders("west", 100, 110), *orders("east", 100, 120)])
    assert found.offenders == ("west",)
    assert "west recorded nothing in the last 10.0 s of the watch" in found.summary


def test_reads_are_no_orders():
    reads = [
        op._replace(kind="fresh_read", order_id="", side="", move_nbr=1, price_cents=1)
        for op in orders("west", 110, 120)
    ]
    assert looked_at([*orders("west", 100, 110), *reads], healed_s=120).offenders == ("west",)


def test_each_region_that_recorded_nothing_is_named():
    found = looked_at(orders("west", 100, 110), regions=("west", "east", "eu"))
    assert found.offenders == ("east", "eu")
    assert found.count == 2
    assert found.summary == (
        "the recording is defective: east recorded no order; eu recorded no order"
    )


def test_everything_that_a_recording_lacks_is_in_one_line():
    wrong = order("west", 105, 105.1)._replace(symbol="")
    found = looked_at(
        [*orders("west", 100, 110), wrong], ledger=("gone", "lost"), regions=("west", "east")
    )
    assert found.summary == (
        "the recording is defective: 1 of its entries cannot be (operation 101: an order of no "
        "instrument); the history lacks 2 acks of the ledger; east recorded no order"
    )
    assert found.count == 4
    assert found.offenders == (
        "operation 101: an order of no instrument",
        "east",
        "gone",
        "lost",
    )


def test_a_recording_that_is_whole_says_how_much_there_is():
    ops = [*orders("west", 100, 110), *orders("east", 100, 110)]
    found = looked_at(ops, ledger=(ops[0].order_id,))
    assert (found.verdict, found.count) == (Verdict.PASS, 0)
    assert found.summary == (
        "400 operations of 2 regions recorded, without a gap before the end of the watch"
    )


def test_nothing_recorded_is_no_recording():
    found = looked_at([])
    assert found == Finding("recording", Verdict.UNKNOWN, "no client recorded anything")


def test_ten_of_many_defects_are_named_and_all_are_counted():
    wrong = [op._replace(symbol="") for op in orders("west", 100, 101)]
    found = looked_at([*wrong, *orders("west", 101, 110)])
    assert (len(found.offenders), found.count) == (10, 20)
    assert found.summary == (
        "the recording is defective: 20 of its entries cannot be "
        "(operation 0: an order of no instrument)"
    )


def test_two_orders_tell_how_far_apart_orders_are():
    two = [order("west", 100, 100.1), order("west", 101, 101.1)]
    assert looked_at(two, healed_s=131).verdict is Verdict.PASS
    assert looked_at(two, healed_s=131.1).verdict is Verdict.UNKNOWN
