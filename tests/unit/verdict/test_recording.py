"""Recordings that cannot be, that stop, or that contradict the ledger are UNKNOWN, and say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf, nan

import pandas as pd
import pytest
from histories import (
    ACCOUNTS,
    FAULT,
    SYMBOLS,
    Read,
    Step,
    Trade,
    failover_run,
    final_of,
    history_of,
    ledger_of,
    orders,
    row_of,
)
from hypothesis import given
from hypothesis import strategies as st
from judging import FRESH, INFO, OK, assert_caught, changed, evidence, findings, trades_of
from test_checkers import runs

from labkit.history import History, Terms
from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import CHECKERS, MoneyExact, Opening, PriceExact
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict
from labkit.verdict.recording import impossible, recording
from labkit.verdict.result import Result
from labkit.verdict.steady import SteadyState


@cache
def sound() -> Result:
    """The failover run as it was recorded."""
    return failover_run()


def judged(ops: pd.DataFrame, **changes: object) -> Result:
    """The failover run with other operations."""
    history = sound().history
    other = History.from_frame(ops, history.faults, regions=history.regions)
    return failover_run(**{"history": other, "ledger": history.ops["order_id"], **changes})


def spoilt(row: int, column: str, value: object) -> pd.DataFrame:
    ops = sound().history.ops.astype({column: object})
    ops.loc[row, column] = value
    return ops


IMPOSSIBLE = [
    ("scheduled_s", nan),
    ("scheduled_s", inf),
    ("scheduled_s", -inf),
    ("scheduled_s", 1e18),
    ("scheduled_s", 159.0),  # after it had been sent and answered
    ("sent_s", inf),
    ("sent_s", 159.0),
    ("finished_s", nan),
    ("finished_s", 3.0),
    ("finished_s", 1e12),
    ("region", "atlantis"),
    ("kind", "rumour"),
    ("outcome", "maybe"),
    ("order_id", ""),
    ("symbol", ""),
    ("side", "both"),
    ("attempts", 0),
    ("attempts", -1),
    ("move_nbr", 2**62),
    ("move_nbr", 0),
    ("move_nbr", -7),
    ("price_cents", 0),
]


@pytest.mark.parametrize(("column", "value"), IMPOSSIBLE, ids=str)
def test_a_row_that_cannot_be_is_named_and_measured_by_nobody(column: str, value: object):
    result = judged(spoilt(0, column, value))
    assert result.verdict is Verdict.UNKNOWN
    found = result.summary.finding("recording")
    assert found.verdict is Verdict.UNKNOWN
    # not a time: it has no place in the order of time, and is the last row
    assert found.offenders[0].startswith("operation ")
    assert not [f for f in result.findings if "broke down" in f.summary]
    assert all(row.p50_ms is None or row.p50_ms >= 0 for row in result.summary.latency)
    for row, other in zip(result.summary.recovery, sound().summary.recovery, strict=True):
        assert row.rto_s == pytest.approx(other.rto_s, abs=0.3)


@pytest.mark.parametrize(
    "faults",
    [
        [replace(FAULT, injected_s=nan)],
        [replace(FAULT, healed_s=inf)],
        [replace(FAULT, took_effect_s=3.0)],
    ],
)
def test_a_fault_at_a_moment_that_cannot_be_is_named(faults):
    result = failover_run(faults=faults)
    assert result.verdict is Verdict.UNKNOWN
    assert result.summary.finding("recording").offenders[0].startswith("fault kill us-west-2/1")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"looks": {"before": (FAULT.injected_s - 5, FAULT.injected_s + 1)}}, "before the fault"),
        ({"looks": {"after": (FAULT.injected_s - 5, FAULT.injected_s)}}, "after the fault"),
        ({"looks": {"before": (nan, nan)}}, "not a time"),
        ({"watched_until_s": nan}, "not a time"),
        ({"watched_until_s": FAULT.injected_s + 1}, "the watch ended"),
    ],
)
def test_a_steady_state_or_a_watch_at_another_time_than_the_fault_is_named(
    change: dict[str, object], named: str
):
    terms = replace(Terms(inf, {"p99_ms": 500.0}, {}), **change)
    result = failover_run(history=replace(sound().history, terms=terms))
    assert result.verdict is Verdict.UNKNOWN
    assert named in result.summary.finding("recording").offenders[0]


def test_a_fault_that_was_never_healed_has_no_state_after_it():
    terms = Terms(inf, {"p99_ms": 500.0}, {"after": (FAULT.healed_s + 1, FAULT.healed_s + 7)})
    history = replace(sound().history, faults=(replace(FAULT, healed_s=None),), terms=terms)
    assert failover_run(history=history).summary.finding("recording").verdict is Verdict.UNKNOWN


def test_every_row_twice_is_not_twice_as_many_orders():
    ops = sound().history.ops
    result = judged(pd.concat([ops, ops]))
    assert result.verdict is Verdict.UNKNOWN
    found = result.summary.finding("recording")
    assert found.count == len(ops)
    assert sum(row.ok for row in result.summary.latency if row.region == "all regions") in (
        0,
        len(ops),
    )


def test_an_order_that_was_not_acknowledged_is_not_recorded_twice():
    ops = sound().history.ops.astype({"outcome": "str"})
    ops.loc[300, "outcome"] = "fail"
    every = pd.concat([ops, ops.iloc[[300]]])
    result = judged(every.astype({"outcome": "category"}))
    found = result.summary.finding("recording")
    assert found.verdict is Verdict.UNKNOWN
    assert "recorded twice" in found.offenders[0]


@pytest.mark.parametrize("first", ["ok", "info", "fail"])
@pytest.mark.parametrize("second", ["ok", "info", "fail"])
def test_two_rows_of_one_order_are_one_too_many_whatever_their_outcomes(first: str, second: str):
    """A client's retries are in the one row of the order, so a second one is no retry."""
    ops = sound().history.ops.astype({"outcome": "str"})
    ops.loc[300, "outcome"] = first
    again = ops.iloc[[300]].assign(outcome=second, finished_s=ops.loc[300, "finished_s"] + 0.5)
    acked = ops["order_id"] if "ok" in (first, second) else ops["order_id"].drop(300)
    every = pd.concat([ops, again]).astype({"outcome": "category"})
    result = judged(every, ledger=acked)
    found = result.summary.finding("recording")
    assert (found.verdict, found.count) == (Verdict.UNKNOWN, 1)
    assert found.offenders[0].endswith("recorded twice")
    ok = sum(row.ok for row in result.summary.latency if row.region == "all regions")
    assert ok == len(acked), "the acknowledged row is kept"


@given(runs(), st.sampled_from(["move_nbr", "price_cents"]))
def test_an_answered_read_that_shows_nothing_is_named(steps: list[Step], column: str):
    steps = [*steps, Read(FRESH)]
    ops = history_of(steps).ops
    ops.loc[row_of(steps, -1), column] = pd.NA
    seen = Evidence.of(ledger_of(steps), History.from_frame(ops), final_of(steps))
    found = recording(seen, impossible(seen))
    assert found.verdict is Verdict.UNKNOWN
    assert found.offenders[0].startswith(f"operation {row_of(steps, -1)}: an answered read")


@given(runs())
def test_a_correct_recording_passes(steps: list[Step]):
    seen = evidence([*steps, Read(FRESH)])
    assert impossible(seen) == {}


def stops(region: str, at_s: float) -> pd.DataFrame:
    ops = sound().history.ops
    return ops[(ops["region"] != region) | (ops["scheduled_s"] < at_s)]


@pytest.mark.parametrize("at_s", [110.75, 120, 150])
def test_a_region_that_stopped_to_record_is_named(at_s: float):
    result = judged(stops("eu-west-1", at_s))
    assert result.verdict is Verdict.UNKNOWN
    found = result.summary.finding("recording")
    assert "eu-west-1 recorded nothing in the last" in found.summary
    assert found.offenders[0] == "eu-west-1"


def test_a_recording_that_ends_before_the_fault_was_healed_is_no_recording():
    ops = sound().history.ops
    result = judged(ops[ops["scheduled_s"] < 111])
    assert result.summary.finding("recording").verdict is Verdict.UNKNOWN


def test_one_order_is_no_recording_of_an_outage():
    history = History.of(orders("west", 110.1, 110.2, per_s=10), [FAULT])
    result = failover_run(
        history=history, ledger=history.ops["order_id"], final=final_of([Trade("x")])
    )
    assert result.summary.finding("recording").verdict is Verdict.UNKNOWN


def test_acks_that_only_the_ledger_has_are_counted():
    ops = sound().history.ops
    result = judged(ops[ops.index % 7 != 3])
    found = result.summary.finding("recording")
    assert found.verdict is result.verdict is Verdict.UNKNOWN
    assert f"lacks {len(ops[ops.index % 7 == 3])} acks of the ledger" in found.summary


def test_the_time_of_a_loss_that_only_the_ledger_knows_is_not_known():
    history = sound().history
    ids = [*history.ops["order_id"], "gone"]
    result = failover_run(ledger=ids)
    assert result.summary.finding("lost_acks").count == 1
    assert result.summary.rpo_s is None
    with pytest.raises(Exception, match="the ledger alone knows of a lost ack"):
        result.require(rpo_s=10)


BESIDE_EVIDENCE = ("steady_before", "steady_after", "fault_took_effect")


class Breaks:
    name = "breaks"

    def check(self, evidence: Evidence) -> Finding | None:
        raise IndexError("list index out of range\nand more")


def test_a_checker_that_breaks_down_is_unknown_and_the_others_judge():
    result = failover_run(lose=1, checkers=(Breaks(), PriceExact(), MoneyExact()))
    found = result.summary.finding("breaks")
    assert found.verdict is Verdict.UNKNOWN
    assert found.summary == "the checker broke down: IndexError: list index out of range"
    assert result.summary.finding("money").verdict is Verdict.PASS


def breaks(*_args: object, **_options: object) -> None:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("part", "finding"),
    [
        *((f"judge.{name}", name) for name in ("fault_took_effect", "recording")),
        *(
            (f"checkers.{name}.check", judged)
            for name, judged in (
                ("opening.Opening", "opening"),
                ("placed.NoLostAcks", "lost_acks"),
                ("balances.MoneyExact", "money"),
                ("realtime.RealTime", "real_time"),
            )
        ),
        *(
            (f"judge.{name}", "measurement")
            for name in (
                "impossible",
                "without",
                "recovery",
                "rpo_s",
                "latency_table",
                "staleness",
                "waterfalls",
                "service",
                "failures",
            )
        ),
    ],
)
def test_what_breaks_down_makes_its_finding_unknown_and_the_rest_is_judged(
    part: str, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = failover_run(lose=1)
    monkeypatch.setattr(f"labkit.verdict.{part}", breaks)
    result = failover_run(lose=1)
    found = result.summary.finding(finding)
    assert found.verdict is Verdict.UNKNOWN
    assert "broke down: " in found.summary
    assert found.summary.endswith("ZeroDivisionError: division by zero")
    others = {one.checker: one.verdict for one in result.findings if one.checker != finding}
    assert others == {one.checker: one.verdict for one in whole.findings if one.checker in others}
    assert len(others) >= len(whole.findings) - 1


def test_without_evidence_nothing_of_it_is_proven_and_clients_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Evidence, "of", breaks)
    result = failover_run()
    claims = [one for one in result.findings if one.checker not in BESIDE_EVIDENCE]
    assert {one.checker for one in claims} == {
        "recording",
        "measurement",
        *(checker.name for checker in CHECKERS),
    }
    assert not [one for one in claims if one.summary == "nobody looked"]
    assert {one.verdict for one in claims} == {Verdict.UNKNOWN}
    assert result.summary.finding("measurement").summary.startswith("a measurement broke down: ")
    assert result.summary.worst_recovery.rto_s == pytest.approx(5.95)


def test_a_steady_state_that_breaks_down_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.verdict.steady.only_orders", breaks)
    found = SteadyState(p99_ms=400).check(
        sound().history.ops, regions=["us-west-2"], since_s=100, until_s=110, when="after"
    )
    assert (found.checker, found.verdict) == ("steady_after", Verdict.UNKNOWN)
    assert "ZeroDivisionError" in found.summary


# what the books and the orders say


@given(runs(), st.sampled_from([("side", "sell"), ("symbol", "XYZ")]), st.data())
def test_an_order_of_another_symbol_or_side_than_was_asked_for_is_named(
    steps: list[Step], other: tuple[str, str], data: st.DataObject
):
    """Acknowledged or not, with or without a place: it was of one symbol and one side."""
    column, value = other
    mine = [t for t in trades_of(steps) if t.executed]
    victim = data.draw(st.sampled_from(mine))
    asked = {"side": victim.side, "symbol": SYMBOLS[victim.symbol]}[column]
    value = value if value != asked else {"side": "buy", "symbol": "ACME"}[column]
    history = history_of(steps)
    ops = history.ops.astype({column: object})
    ops.loc[ops["order_id"] == victim.order_id, column] = value
    seen = Evidence.of(ledger_of(steps), History.from_frame(ops), final_of(steps), final_of([]))
    found = PriceExact().check(seen)
    assert found.verdict is Verdict.FAIL
    assert any(line.startswith(f"{victim.order_id}: its client asked") for line in found.offenders)


def test_a_price_is_compared_where_no_place_was_told():
    steps = [Trade("o1")]
    ops = history_of(steps).ops
    ops.loc[0, "move_nbr"] = pd.NA
    ops.loc[0, "price_cents"] = 9999
    seen = Evidence.of(["o1"], History.from_frame(ops), final_of(steps))
    assert PriceExact().check(seen).verdict is Verdict.FAIL


Spoil = Callable[[FinalRead], FinalRead]


def in_accounts(**changes: int) -> Spoil:
    return lambda final: replace(final, accounts=set_first(final.accounts, changes))


def in_instruments(**changes: int) -> Spoil:
    return lambda final: replace(final, instruments=set_first(final.instruments, changes))


def set_first(frame: pd.DataFrame, changes: dict[str, int]) -> pd.DataFrame:
    frame = frame.copy()
    for column, value in changes.items():
        frame.loc[0, column] = value
    return frame


def twice(part: str) -> Spoil:
    return lambda final: replace(
        final, **{part: pd.concat([getattr(final, part)] * 2, ignore_index=True)}
    )


def without_first(part: str) -> Spoil:
    return lambda final: replace(final, **{part: getattr(final, part)[1:].reset_index(drop=True)})


BOOKS: dict[str, tuple[str, Spoil, str]] = {
    "an account without the order that it has": (
        "money",
        in_accounts(bought_cents=0, balance_cents=5_000_000),
        ACCOUNTS[0],
    ),
    "an overdraft": (
        "money",
        in_accounts(bought_cents=5_001_234, balance_cents=-1234),
        ACCOUNTS[0],
    ),
    "less than nothing held": ("money", in_accounts(oversold=1), ACCOUNTS[0]),
    "an account twice": ("money", twice("accounts"), ACCOUNTS[0]),
    "an instrument twice": ("prices", twice("instruments"), SYMBOLS[0]),
    "a price below the floor": (
        "prices",
        in_instruments(initial_price_cents=-15, current_price_cents=-5),
        SYMBOLS[0],
    ),
    "an instrument without the order that it has": (
        "prices",
        in_instruments(buys=0, moves=0, current_price_cents=1234),
        SYMBOLS[0],
    ),
    "an opening balance that was raised": (
        "opening",
        in_accounts(opening_balance_cents=5_000_100, balance_cents=5_000_100 - 1234),
        ACCOUNTS[0],
    ),
    "an account that is gone": ("opening", without_first("accounts"), ACCOUNTS[0]),
    "an instrument that is gone": ("opening", without_first("instruments"), SYMBOLS[0]),
    "another initial price": (
        "opening",
        in_instruments(initial_price_cents=1334, current_price_cents=1344),
        SYMBOLS[0],
    ),
    "a place that no order can have": (
        "prices",
        lambda final: changed(final, "o1", "move_nbr", 2**62),
        "o1",
    ),
    "a trade of something else": (
        "executions",
        lambda final: changed(
            final,
            "o1",
            ["statuses", "executions", "trades", "trades_off", "status"],
            ["order_received,processing,order_processed", 1, 1, 1, "processed"],
        ),
        "o1",
    ),
    "a status that its activities do not say": (
        "executions",
        lambda final: changed(final, "o1", "status", "processed"),
        "o1",
    ),
}


@pytest.mark.parametrize(("checker", "spoil", "named"), BOOKS.values(), ids=BOOKS)
def test_books_that_the_orders_do_not_bear_out_fail(checker: str, spoil: Spoil, named: str):
    steps = [Trade("o1")]
    found = findings(evidence(steps, final=spoil(final_of(steps))))[checker]
    assert found.verdict is Verdict.FAIL, found
    assert any(line.startswith(f"{named}: ") for line in found.offenders), found.offenders


def test_orders_of_other_clients_are_counted_and_strange_ones_not_passed():
    steps = [Trade("o1"), Trade("other", account=1, symbol=1)]
    both = final_of(steps)
    final = replace(both, orders=both.orders[:1])
    seen = Evidence.of(["o1"], history_of(steps[:1]), final, final_of([]))
    found = Opening().check(seen)
    assert found.verdict is Verdict.PASS
    assert "1 order of other clients" in found.summary
    strange = replace(final, instruments=set_first(final.instruments, {"strange": 1}))
    found = Opening().check(replace(seen, final=strange))
    assert (found.verdict, found.count) == (Verdict.UNKNOWN, 1)


def test_without_a_read_before_the_load_nobody_knows_what_was_there():
    assert Opening().check(replace(evidence([Trade("o1")]), opening=None)).verdict is (
        Verdict.UNKNOWN
    )


@given(runs(), st.sampled_from(["bought_cents", "sold_cents", "deposits_cents"]))
def test_books_that_shrank_are_named(steps: list[Step], column: str):
    seen = evidence(steps)
    before = final_of([])
    before.accounts.loc[1, column] = 10**12
    assert_caught(
        replace(seen, opening=before),
        "opening",
        *[ACCOUNTS[1]] * (1 if column == "deposits_cents" else 2),
    )


def test_an_order_that_is_not_acknowledged_may_be_of_no_effect():
    steps = [Trade("o1"), Trade("o2", INFO, executed=False), Trade("o3", OK)]
    assert {f.verdict for f in findings(evidence(steps)).values()} == {Verdict.PASS}
