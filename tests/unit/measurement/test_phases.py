"""Which phase of a run an operation belongs to."""

from __future__ import annotations

from dataclasses import replace

from histories import order, orders, outage

from labkit.history import History
from labkit.measurement.latency import latency_table
from labkit.measurement.phases import held_spans, outage_spans, phases
from labkit.record import FaultWindow, Outcome

FAULT = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110.2, healed_s=120)


def phase_of(history: History) -> list[str]:
    return phases(history).astype(str).tolist()


def test_without_a_fault_there_is_one_phase():
    history = History.of(orders("west", 100, 101))
    assert set(phase_of(history)) == {"whole run"}


def test_an_operation_belongs_to_the_phase_it_lives_in():
    history = History.of(
        [order("west", 109, 109.1), order("west", 110, 110.1), order("west", 120, 120.1)], [FAULT]
    )
    assert phase_of(history) == ["before", "during", "after"]


def test_an_operation_in_flight_when_the_fault_strikes_is_during():
    history = History.of([order("west", 109.9, 116)], [FAULT])
    assert phase_of(history) == ["during"]


def test_an_operation_that_outlives_the_fault_is_during():
    history = History.of([order("west", 119.9, 125)], [FAULT])
    assert phase_of(history) == ["during"]


def test_a_fault_that_was_never_healed_has_no_after():
    open_fault = FaultWindow("kill", "west/1", injected_s=110)
    history = History.of([order("west", 109, 109.1), order("west", 500, 500.1)], [open_fault])
    assert phase_of(history) == ["before", "during"]


def test_between_two_faults_is_after_the_first():
    second = FaultWindow("kill", "east/1", injected_s=130, healed_s=140)
    history = History.of([order("west", t, t + 0.1) for t in (105, 115, 125, 135)], [FAULT, second])
    assert phase_of(history) == ["before", "during", "after", "during"]


def test_orders_of_an_outage_are_apart_from_those_that_another_node_served():
    ops = [*orders("west", 100, 110), *outage("west", 110, 116), *orders("west", 116, 140)]
    history = History.of(ops, [FAULT])
    rows = {row.phase: row for row in latency_table(history) if row.region == "west"}
    assert (rows["outage"].ok, rows["outage"].max_ms) == (120, 6000)
    assert rows["during"].max_ms == rows["before"].max_ms == 50
    assert rows["during"].ok == 81, "the last was on its way when the fault was healed"


def test_an_outage_that_the_healing_caused_is_no_time_after_the_fault():
    ops = [*orders("west", 100, 121), *outage("west", 121, 124), *orders("west", 124, 140)]
    found = phases(History.of(ops, [FAULT]))
    assert (found == "outage").sum() == 60
    assert (found == "after").sum() == (1 + 16) * 20


def test_each_region_has_its_own_outage():
    ops = [
        *orders("west", 100, 110),
        *outage("west", 110, 116),
        *orders("west", 116, 130),
        *orders("east", 100, 130),
    ]
    history = History.of(ops, [FAULT])
    east = phases(history)[(history.ops["region"] == "east").to_numpy()]
    assert not (east == "outage").any()


def test_reads_while_orders_found_no_service_belong_to_the_outage():
    ops = [*orders("west", 100, 110), *outage("west", 110, 116), *orders("west", 116, 140)]
    reads = [op._replace(kind="replica_read") for op in orders("west", 100, 140)]
    rows = latency_table(History.of([*ops, *reads], [FAULT]))
    found = {(row.kind, row.region, row.phase): row.ok for row in rows}
    assert found["replica_read", "west", "outage"] == 120


def test_faults_that_overlap_are_one_span():
    second = replace(FAULT, injected_s=115, healed_s=130)
    open_end = replace(FAULT, injected_s=140, healed_s=None)
    assert held_spans((FAULT, open_end, second)) == [(110, 130), (140, float("inf"))]


def test_an_outage_that_ended_when_the_fault_was_injected_is_in_none_of_its_phases():
    ops = [*orders("west", 100, 105), *orders("west", 105, 108, outcome=Outcome.FAIL)]
    ops += orders("west", 108, 120)
    (gone,) = outage_spans(History.of(ops, [replace(FAULT, injected_s=101)]))["west"]
    at_its_end = replace(FAULT, injected_s=gone[1])
    assert outage_spans(History.of(ops, [at_its_end]))["west"] == []
    just_before = replace(FAULT, injected_s=gone[1] - 0.01)
    assert outage_spans(History.of(ops, [just_before]))["west"] == [(gone[1] - 0.01, gone[1])]
