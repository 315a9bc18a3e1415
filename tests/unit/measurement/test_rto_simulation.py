"""The stated bound of RTO and lost availability, held against outages of known length.

One region's orders before, in and after an outage that begins with the injection or up to 3 s
later: 0.5 to 30 s long, 1 to 500 orders a second, at random (Poisson) or even distances. Orders
stall until the outage ends, are refused at once, stay unknown, are tried again until a deadline as
the workload does, or one part of them is refused and the rest served. Afterwards they take a
little less or more than before, as with another leader.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from labkit.measurement.outages import Healthy, Stream, Usual
from labkit.measurement.recovery import measure
from labkit.record import FaultWindow

OUTAGES = 10_000
WHOLE = ("stalled", "refused", "unknown", "tried again")
"""Ways in which nobody is served."""
PARTIAL = "partial"
INJECTED_S = 8.0
SLOW_S = Healthy().slow_ms / 1000


@dataclass(frozen=True)
class Case:
    way: str
    even: bool
    per_s: float
    length_s: float
    share: float
    begun_s: float


def drawn(rng: np.random.Generator) -> Case:
    way = rng.choice([*WHOLE, PARTIAL])
    return Case(
        way,
        even=bool(rng.random() < 0.5),
        per_s=float(np.exp(rng.uniform(0, np.log(500)))),
        length_s=float(np.exp(rng.uniform(np.log(0.5), np.log(30)))),
        share=float(rng.uniform(0.05, 0.95)) if way == PARTIAL else 1.0,
        begun_s=INJECTED_S + (0.0 if rng.random() < 0.5 else float(rng.uniform(0, 3))),
    )


def stream(case: Case, rng: np.random.Generator) -> Stream:
    before_s = max(0.0, 12 / case.per_s - INJECTED_S)  # enough orders to know what is usual
    ended_s = case.begun_s + case.length_s
    until_s = ended_s + 4 + 25 / case.per_s
    if case.even:
        due_s = np.arange(-before_s + rng.uniform(0, 1 / case.per_s), until_s, 1 / case.per_s)
    else:
        count = rng.poisson(case.per_s * (until_s + before_s))
        due_s = np.sort(rng.uniform(-before_s, until_s, count))
    took_s = rng.uniform(0.01, 0.25) * (1 + rng.uniform(0.01, 0.3) * rng.random(len(due_s)))
    took_s[due_s > ended_s] *= rng.uniform(0.7, 1.5)  # another node leads
    finished_s = due_s + took_s
    hit = (due_s >= case.begun_s) & (due_s < ended_s)
    if case.share < 1:
        hit &= rng.random(len(due_s)) < case.share
    ok = ~hit
    if case.way == "stalled":
        ok = np.full(len(due_s), True)
        finished_s[hit] = ended_s + took_s[hit]
    elif case.way == "tried again":
        late = hit & (ended_s - due_s > 5)
        ok = ~late
        finished_s[hit] = ended_s + took_s[hit] + rng.uniform(0, 0.1, int(hit.sum()))
        finished_s[late] = due_s[late] + 5
    elif case.way == "unknown":
        finished_s[hit] = due_s[hit] + 5
    in_time = ok & (finished_s - due_s <= SLOW_S)
    before = finished_s < INJECTED_S
    latency_s = finished_s - due_s
    usual = Usual.of(latency_s[in_time & before], latency_s[in_time & ~before])
    return Stream(due_s, finished_s, ok, usual, Healthy(), (INJECTED_S,))


@cache
def measured() -> pd.DataFrame:
    rng = np.random.default_rng(14)
    fault = FaultWindow("kill", "west/1", injected_s=INJECTED_S)
    rows = []
    for _ in range(OUTAGES):
        case = drawn(rng)
        orders = stream(case, rng)
        row = measure("west", orders, fault, until_s=np.inf, end_s=float(orders.due_s[-1]))
        rows.append(
            (
                *(case.way, case.even, case.per_s, case.length_s, case.share),
                *(row.rto_s, row.rto_error_s, row.unavailable_s, row.unavailable_error_s),
            )
        )
    columns = "way even per_s length_s share rto_s error_s lost_s lost_error_s"
    found = pd.DataFrame(rows, columns=columns.split())
    found["off_s"] = found["rto_s"] - found["length_s"]
    found["holds"] = found["off_s"].abs() <= found["error_s"] + 1e-9
    found["lost_off_s"] = found["lost_s"] - found["share"] * found["length_s"]
    found["lost_holds"] = found["lost_off_s"].abs() <= found["lost_error_s"] + 1e-9
    found["rate"] = pd.cut(found["per_s"], [0, 3, 10, 40, 600], labels=["1", "3", "10", "40"])
    return found


def whole() -> pd.DataFrame:
    found = measured()
    return found[found["way"] != PARTIAL]


def test_the_bound_of_rto_holds_in_99_of_100_outages():
    found = whole()
    assert found["rto_s"].notna().all()
    assert found["holds"].mean() >= 0.99
    groups = found.groupby(["way", "even", "rate"], observed=True)["holds"].mean()
    assert groups.min() >= 0.97, groups  # some 250 in a group


def test_rto_has_no_bias():
    """In no group the mean is off by more than a quarter of the stated error, nor by 0.15 s.

    Of outages with ten orders in them or more; shorter ones are single failures by definition.
    """
    found = whole()
    found = found[found["per_s"] * found["length_s"] >= 10]
    groups = found.groupby(["way", "rate"], observed=True)
    off_s, error_s = groups["off_s"].mean(), groups["error_s"].mean()
    assert (off_s.abs() <= 0.25 * error_s + 0.005).all(), pd.concat([off_s, error_s], axis=1)
    assert (off_s.abs() <= 0.15).all(), off_s


def test_the_error_is_small_where_orders_are_many():
    """Two orders' time and the spread of latencies; 0.15 s more where clients try again."""
    found = whole()
    found = found[found["rto_s"] > 0]
    refused = found[found["way"] == "refused"]
    assert (refused["error_s"] * refused["per_s"]).median() < 2.5
    often = found[found["per_s"] >= 20]
    assert often["error_s"].median() < 0.1
    assert often["error_s"].quantile(0.99) < 0.6


def test_an_outage_of_many_orders_is_always_seen():
    found = whole()
    many = found[found["per_s"] * found["length_s"] >= 15]
    many = many[many["length_s"] >= 0.5]
    assert (many["rto_s"] > 0).all()


def test_lost_availability_holds_in_partial_outages_too_and_has_no_bias():
    found = measured()
    assert found["lost_holds"].mean() >= 0.99
    partial = found[found["way"] == PARTIAL]
    assert partial["lost_holds"].mean() >= 0.97
    off = (partial["lost_s"].sum() - (partial["share"] * partial["length_s"]).sum()) / (
        partial["share"] * partial["length_s"]
    ).sum()
    assert abs(off) < 0.02


def test_rto_of_a_partial_outage_holds_when_half_of_its_orders_or_more_are_missed():
    found = measured()
    partial = found[(found["way"] == PARTIAL) & (found["share"] >= 0.5)]
    partial = partial[partial["per_s"] * partial["length_s"] * partial["share"] >= 20]
    assert len(partial) > 300
    assert partial["holds"].mean() >= 0.98


def test_less_than_one_failure_in_ten_is_availability_lost_and_most_often_no_outage():
    found = measured()
    few = found[(found["way"] == PARTIAL) & (found["share"] <= 0.1)]
    assert (few["rto_s"] == 0).mean() > 0.8
