"""Runs of an order or two, written out."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from operator import attrgetter

import pytest
from histories import (
    SYMBOLS,
    Read,
    Step,
    Trade,
    final_of,
    history_of,
    ledger_of,
    order,
)
from judging import (
    FAIL,
    FRESH,
    INFO,
    OK,
    REPLICA,
    an_id,
    evidence,
    failures,
    findings,
)

from labkit.history import History
from labkit.verdict.checkers import (
    Checker,
    Executions,
    MoneyExact,
    NoDuplicates,
    NoLostAcks,
    NoPhantoms,
    PriceExact,
    RealTime,
    Replicas,
    Sessions,
)
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict, worst

NAME = attrgetter("name")


def test_an_acked_order_absent_after_failover_is_lost():
    trades = [Trade("o1", OK, executed=False), Trade("o2", INFO)]
    finding = NoLostAcks().check(evidence(trades))
    assert finding == Finding(
        "lost_acks",
        Verdict.FAIL,
        "1 of 1 acknowledged order is missing from the database",
        ("o1",),
        1,
    )


def test_an_unknown_order_may_be_there_or_not():
    for executed in (True, False):
        trades = [Trade("o1"), Trade("o2", INFO, executed=executed)]
        assert {f.verdict for f in findings(evidence(trades)).values()} == {Verdict.PASS}


def test_an_order_only_the_ledger_knows_can_be_lost():
    """Its client died after it wrote the ledger and before it recorded the outcome."""
    finding = NoLostAcks().check(evidence([Trade("o1")], ledger=["o1", "o2"]))
    assert (finding.verdict, finding.offenders) == (Verdict.FAIL, ("o2",))


def test_an_order_only_the_ledger_knows_is_no_phantom():
    trades = [Trade("o1"), Trade("o2")]
    seen = Evidence.of(["o1", "o2"], history_of(trades[:1]), final_of(trades))
    assert NoPhantoms().check(seen).verdict is Verdict.PASS
    assert NoLostAcks().check(seen).verdict is Verdict.PASS


def test_an_ack_the_ledger_lacks_leaves_losses_unknown():
    finding = NoLostAcks().check(evidence([Trade("o1"), Trade("o2")], ledger=["o1"]))
    assert (finding.verdict, finding.offenders) == (Verdict.UNKNOWN, ("o2",))


def test_an_ack_the_ledger_lacks_is_still_lost_when_it_is_missing():
    trades = [Trade("o1"), Trade("o2", executed=False)]
    finding = NoLostAcks().check(evidence(trades, ledger=["o1"]))
    assert (finding.verdict, finding.offenders) == (Verdict.FAIL, ("o2",))


def test_a_refusal_the_ledger_has_as_acked_leaves_losses_unknown():
    trades = [Trade("o1"), Trade("o2", FAIL, executed=True)]
    finding = NoLostAcks().check(evidence(trades, ledger=["o1", "o2"]))
    assert (finding.verdict, finding.offenders) == (Verdict.UNKNOWN, ("o2",))


def test_an_order_refused_once_and_acked_once_may_be_there():
    history = History.of(
        [
            order("west", at_s, at_s + 1, outcome, order_id="o1")._replace(symbol=SYMBOLS[0])
            for at_s, outcome in ((0, FAIL), (2, OK))
        ]
    )
    seen = Evidence.of(["o1"], history, final_of([Trade("o1")]), final_of([]))
    assert {f.verdict for f in findings(seen).values()} == {Verdict.PASS}


def test_where_nothing_was_acked_nothing_is_proven():
    finding = NoLostAcks().check(evidence([Trade("o1", FAIL, executed=False)]))
    assert finding.verdict is Verdict.UNKNOWN


def test_operations_without_an_order_are_not_orders():
    """A price that was read is acknowledged too."""
    read = order("west", 0, 1)._replace(kind="fresh_read", order_id="", outcome=FAIL)
    history = History.of([read, order("west", 1, 2, order_id="o1")])
    seen = Evidence.of(["o1"], history, final_of([Trade("o1")]))
    assert failures(findings(seen)) == set()
    assert NoPhantoms().check(seen).verdict is Verdict.PASS


def test_ten_offenders_are_named_and_all_are_counted():
    trades = [Trade(an_id(i), executed=False) for i in range(12)]
    finding = NoLostAcks().check(evidence(trades))
    assert finding.offenders == tuple(an_id(i) for i in range(10))
    assert finding.count == 12


def test_a_ledger_may_name_an_order_twice():
    finding = NoLostAcks().check(evidence([Trade("o1")], ledger=["o1", "o1"]))
    assert finding.summary == "all 1 acknowledged order is in the database"


@pytest.mark.parametrize(("more_cents", "verdict"), [(700, Verdict.PASS), (0, Verdict.FAIL)])
def test_a_deposit_is_part_of_the_balance(more_cents: int, verdict: Verdict):
    final = final_of([Trade("o1")])
    accounts = final.accounts.assign(deposits_cents=[700, 0])
    accounts.loc[0, "balance_cents"] += more_cents
    seen = evidence([Trade("o1")], final=replace(final, accounts=accounts))
    assert MoneyExact().check(seen).verdict is verdict


def test_money_says_what_is_there_and_what_should_be():
    final = final_of([Trade("o1", quantity=2)])
    accounts = final.accounts.assign(balance_cents=[5_000_000, 5_000_000])
    finding = MoneyExact().check(evidence([Trade("o1")], final=replace(final, accounts=accounts)))
    assert finding.offenders == ("A-0: 50,000.00, by its orders 49,975.32",)


def test_the_price_step_is_a_parameter():
    seen = evidence([Trade("o1")])
    assert PriceExact().check(seen).verdict is Verdict.PASS
    assert PriceExact(step_cents=11).check(seen).verdict is Verdict.FAIL


@pytest.mark.parametrize("checker", [MoneyExact(), PriceExact()], ids=NAME)
def test_nothing_to_look_at_is_not_exact(checker: MoneyExact | PriceExact):
    final = final_of([Trade("o1")])
    empty = replace(final, accounts=final.accounts[:0], instruments=final.instruments[:0])
    assert checker.check(evidence([Trade("o1")], final=empty)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("checker", [NoDuplicates(), NoPhantoms(), Executions()], ids=NAME)
def test_where_there_is_no_order_nothing_is_said_of_orders(checker: Checker):
    finding = checker.check(evidence([Trade("o1", FAIL, executed=False)]))
    assert finding.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("steps", [[], [Read(FRESH)], [Trade("o1", INFO), Trade("o2", INFO)]])
def test_a_run_without_an_acknowledgement_never_passes(steps: list[Step]):
    assert worst(f.verdict for f in findings(evidence(steps)).values()) is Verdict.UNKNOWN


@pytest.mark.parametrize("checker", [RealTime(), Sessions(), Replicas()], ids=NAME)
@pytest.mark.parametrize("finished_s", [-100.0, nan, inf])
def test_an_answer_from_before_its_question_says_nothing_of_time(
    checker: Checker, finished_s: float
):
    """The clock stepped back, or the recording is damaged: the database is not to blame."""
    steps = [Trade("o1"), Read(FRESH), Read(REPLICA)]
    ops = history_of(steps).ops
    ops.loc[1, "finished_s"] = finished_s
    seen = Evidence.of(ledger_of(steps), History.from_frame(ops), final_of(steps))
    finding = checker.check(seen)
    assert (finding.verdict, finding.offenders) == (Verdict.UNKNOWN, ("operation 1",))
    assert finding.summary.startswith("the recording is defective: 1 operation")


@pytest.mark.parametrize(
    ("verdicts", "overall"),
    [
        ([], Verdict.UNKNOWN),
        ([Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.UNKNOWN], Verdict.UNKNOWN),
        ([Verdict.UNKNOWN, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
    ],
    ids=["nothing", "pass", "unknown", "fail"],
)
def test_the_worst_verdict_is_the_whole(verdicts: list[Verdict], overall: Verdict):
    assert worst(verdicts) is overall
