from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from histories import FAULT, REGIONS, failover_run, order, orders, outage
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from labkit.history import History
from labkit.measurement import latency
from labkit.measurement.recovery import streams
from labkit.measurement.service import failures, service
from labkit.measurement.taxonomy import CLASSES, NO_ANSWER, NO_CONNECTION
from labkit.record import FaultWindow, Op, OpKind, Outcome
from labkit.report.figures.tables import failure_table, latency_table, service_table
from labkit.trading.attempts import REFUSALS

KILL = FaultWindow("kill", "west/1", injected_s=110, took_effect_s=110.1, healed_s=130)


def of(history: History) -> dict[tuple[str, str], tuple[float, float]]:
    return {(row.region, row.phase): (row.observed_s, row.lost_s) for row in service(history)}


def test_lost_availability_is_told_by_region_and_phase():
    ops = [
        *orders("west", 100, 110),
        *outage("west", 110, 116),
        *orders("west", 116, 140),
        *orders("east", 100, 140),
    ]
    found = of(History.of(ops, [KILL]))
    assert found["west", "outage"] == pytest.approx((5.95, 5.95), abs=0.01)
    assert found["west", "during"] == pytest.approx((14.05, 0), abs=0.01)
    assert found["west", "before"] == pytest.approx((10, 0))
    assert found["west", "after"] == pytest.approx((9.95, 0))
    assert found["east", "outage"] == (0, 0)
    assert found["east", "during"] == pytest.approx((20, 0))


def test_seconds_in_which_nothing_was_ordered_are_seconds_all_the_same():
    """One order a second, of which those of 6 s are refused."""
    ops = [*orders("west", 100, 110, per_s=1), *orders("west", 116, 140, per_s=1)]
    refused = orders("west", 110, 116, per_s=1, outcome=Outcome.FAIL)
    found = of(History.of([*ops, *refused], [KILL]))
    assert found["west", "outage"] == pytest.approx((5.5, 5.5), abs=0.01)
    assert sum(observed_s for observed_s, _ in found.values()) == pytest.approx(39)


def test_without_a_fault_there_is_one_phase():
    history = History.of(
        [*orders("west", 100, 110), *orders("west", 110, 111, outcome=Outcome.FAIL, latency_s=0)]
    )
    (row,) = service(history)
    assert (row.phase, row.lost_s) == ("whole run", 0)  # too close to the end to be judged
    longer = [*orders("west", 100, 110, outcome=Outcome.FAIL), *orders("west", 110, 120)]
    (row,) = service(History.of(longer))
    assert (row.observed_s, row.lost_s) == pytest.approx((19.95, 10), abs=0.1)
    assert row.availability == pytest.approx(0.5, abs=0.01)


def test_a_region_that_was_silent_in_a_phase_was_not_observed():
    history = History.from_frame(
        History.of([*orders("west", 100, 105), *orders("east", 100, 140)], [KILL]).ops, [KILL]
    )
    rows = {(row.region, row.phase): row for row in service(history)}
    assert rows["west", "after"].observed_s == 0
    assert rows["west", "after"].availability is None


def test_an_empty_run_has_no_service_to_speak_of():
    assert service(History.of([], [KILL])) == ()
    assert failures(History.of([], [KILL])) == ()


def test_reads_are_no_service():
    reads = [
        op._replace(kind=str(OpKind.FRESH_READ))
        for op in orders("west", 100, 140, outcome=Outcome.FAIL)
    ]
    assert of(History.of([*orders("west", 100, 140), *reads]))["west", "whole run"][1] == 0


outcomes = st.lists(st.sampled_from(list(Outcome)), min_size=2, max_size=200)


@given(outcomes, st.floats(100, 108), st.floats(0.1, 5))
def test_phases_cover_the_run_and_no_more_is_lost_than_observed(found, injected_s, held_s):
    ops = [order("west", 100 + i / 20, 100.05 + i / 20, out) for i, out in enumerate(found)]
    history = History.of(
        ops, [FaultWindow("kill", "west/1", injected_s, healed_s=injected_s + held_s)]
    )
    rows = service(history)
    assert all(0 <= row.lost_s <= row.observed_s for row in rows)
    judged = streams(history)["west"].due_s
    whole_s = judged[-1] - judged[0] if len(judged) else 0
    assert sum(row.observed_s for row in rows) == pytest.approx(whole_s)


TRIAL_S = 20.0
trial = st.tuples(
    st.lists(st.sampled_from(list(Outcome)), min_size=2, max_size=100),
    st.floats(1, 12),  # the injection, seconds after the trial's first order
    st.floats(0.1, 5),  # how long the fault held
)


def trial_at(begun_s: float, found: list[Outcome], injected_s: float, held_s: float) -> History:
    """A trial of two regions; the second one's orders come a little later."""
    ops = [
        order(region, at_s := begun_s + late_s + i * TRIAL_S / len(found), at_s + 0.05, out)
        for region, late_s in (("west", 0), ("east", 0.3))
        for i, out in enumerate(found)
    ]
    at_s = begun_s + injected_s
    return History.of(ops, [FaultWindow("kill", "west/1", at_s, healed_s=at_s + held_s)])


@given(st.lists(st.tuples(trial, st.floats(2, 4000)), min_size=1, max_size=4))
def test_of_trials_nothing_between_them_is_observed_or_lost(trials):
    """However long nobody watched between them, all together are the sum of each by itself."""
    alone, pauses, begun_s = [], [], 100.0
    for (found, injected_s, held_s), pause_s in trials:
        alone.append(trial_at(begun_s, found, injected_s, held_s))
        ended_s = alone[-1].ops["scheduled_s"].max()
        begun_s = ended_s + pause_s
        pauses.append((np.nextafter(ended_s, np.inf), begun_s))
    whole = History.from_frame(
        pd.concat([one.ops for one in alone]),
        [fault for one in alone for fault in one.faults],
        regions=["west", "east"],
    )
    expected: dict[tuple[str, str], tuple[float, float]] = {}
    for one in alone:
        for key, both in of(one).items():
            expected[key] = tuple(np.add(expected.get(key, (0, 0)), both))
    rows = service(whole, pauses=pauses[:-1])
    found = {(row.region, row.phase): (row.observed_s, row.lost_s) for row in rows}
    assert found == {key: pytest.approx(both) for key, both in expected.items()}
    assert sum(row.count for row in failures(whole, pauses=pauses[:-1])) == sum(
        row.count for one in alone for row in failures(one)
    )
    ok = Counter[str]()
    for one in alone:
        ok.update({f"{row.region} {row.phase}": row.ok for row in latency.latency_table(one)})
    table = latency.latency_table(whole, pauses=pauses[:-1])
    assert {f"{row.region} {row.phase}": row.ok for row in table} == dict(ok)


def lost(region: str, at_s: float, sqlstate: str, outcome: Outcome = Outcome.INFO, **more) -> Op:
    return order(region, at_s, at_s + 1, outcome)._replace(sqlstate=sqlstate, **more)


def test_what_was_not_acknowledged_is_told_by_region_phase_and_class():
    ops = [
        *orders("west", 100, 140),
        *(lost("west", 112 + i, "57P01") for i in range(3)),
        lost("west", 113, ""),
        lost("west", 114, "", Outcome.FAIL, sent_s=None, attempts=0),
        lost("east", 105, "40001", Outcome.FAIL),
        lost("west", 135, "99999", Outcome.FAIL),
    ]
    history = History.from_frame(History.of(ops).ops, [KILL], regions=["west", "east"])
    found = failures(history)
    assert [(row.region, row.phase, row.error, row.count) for row in found] == [
        ("west", "during", CLASSES["57"], 3),
        ("west", "during", NO_CONNECTION, 1),
        ("west", "during", NO_ANSWER, 1),
        ("west", "after", "SQLSTATE class 99", 1),
        ("east", "before", CLASSES["40"], 1),
    ]
    assert {(row.sqlstate, row.outcome) for row in found[:1]} == {("57P01", "info")}


def test_every_operation_that_was_not_acknowledged_is_in_one_row():
    rng = np.random.default_rng(3)
    states = ["", "40001", "57P01", "08006", "LK003", "25006"]
    ops = [
        order("west", 100 + i, 101 + i, rng.choice(list(Outcome)))._replace(
            sqlstate=rng.choice(states),
            kind=rng.choice(list(OpKind)),
        )
        for i in range(300)
    ]
    history = History.of(ops, [KILL])
    bad = history.ops[history.ops["outcome"] != "ok"]
    found = failures(history)
    assert sum(row.count for row in found) == len(bad)
    assert {row.kind for row in found} == set(bad["kind"])


def test_the_classes_that_clients_meet_all_have_words():
    met = [errors.SerializationFailure, errors.AdminShutdown, errors.ReadOnlySqlTransaction]
    met += [errors.StatementCompletionUnknown, errors.TooManyConnections, errors.ConnectionFailure]
    assert {error.sqlstate[:2] for error in met} <= set(CLASSES)
    assert {sqlstate[:2] for sqlstate in REFUSALS} <= set(CLASSES)


def test_latency_is_told_by_kind_of_operation():
    slow = [op._replace(kind="fresh_read") for op in orders("west", 100, 101, latency_s=0.4)]
    rows = latency.latency_table(History.of([*orders("west", 100, 101), *slow]))
    p50_ms = {(row.kind, row.region): row.p50_ms for row in rows}
    assert p50_ms == {
        ("order", "west"): pytest.approx(50, rel=1e-3),
        ("order", latency.ALL_REGIONS): pytest.approx(50, rel=1e-3),
        ("fresh_read", "west"): pytest.approx(400, rel=1e-3),
        ("fresh_read", latency.ALL_REGIONS): pytest.approx(400, rel=1e-3),
    }


def with_losses():
    history = failover_run().history
    ops = history.ops.copy()
    unlucky = ops.index[(ops["scheduled_s"] > 112) & (ops["region"] == REGIONS[0])][:4]
    ops["outcome"] = ops["outcome"].cat.set_categories(["ok", "info"])
    ops["sqlstate"] = ops["sqlstate"].cat.set_categories(["", "57P01"])
    ops.loc[unlucky, ["outcome", "sqlstate"]] = "info", "57P01"
    return failover_run(
        history=History.from_frame(ops, [FAULT], anchor_s=history.anchor_s, regions=REGIONS)
    )


def test_the_tables_of_a_result_are_those_of_its_summary():
    result = with_losses()
    latency = latency_table(result)
    assert latency.loc[("order", REGIONS[0], "before"), "p50_ms"] == pytest.approx(50, rel=1e-3)
    gone = service_table(result)
    assert gone.loc[(REGIONS[1], "during"), "lost_s"] == pytest.approx(0)
    assert gone.loc[(REGIONS[1], "outage"), "lost_s"] == pytest.approx(5.9)
    assert gone.loc[(REGIONS[1], "before"), "availability"] == 1
    assert failure_table(result)["count"].tolist() == [4]
    assert failure_table(failover_run()).empty


def test_the_report_has_them_in_words():
    result = with_losses()
    for words in (str(result), result._repr_html_()):
        assert "Availability lost, in order-seconds" in words
        assert "p99.9" in words
        assert CLASSES["57"] in words
    assert "What was not acknowledged" not in str(failover_run())
