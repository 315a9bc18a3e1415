from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
import pytest
from histories import (
    ACCOUNTS,
    STEP_CENTS,
    SYMBOLS,
    Trade,
    final_of,
    history_of,
    ledger_of,
    order,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.history import History, Outcome
from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import (
    CHECKERS,
    Finding,
    MoneyExact,
    NoDuplicates,
    NoLostAcks,
    NoPhantoms,
    PriceExact,
    Verdict,
    worst,
)
from labkit.verdict.evidence import Evidence, IdSet

OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO

few = settings(max_examples=25, deadline=None)


def evidence(
    trades: Sequence[Trade],
    *,
    ledger: Sequence[str] | None = None,
    final: FinalRead | None = None,
) -> Evidence:
    """What a faithful run leaves of these trades, but for what is given."""
    return Evidence.of(
        ledger_of(trades) if ledger is None else ledger,
        history_of(trades),
        final or final_of(trades),
    )


def with_orders(final: FinalRead, change: Callable[[pd.DataFrame], pd.DataFrame]) -> FinalRead:
    return replace(final, orders=change(final.orders.copy()))


@st.composite
def runs(draw: st.DrawFn) -> list[Trade]:
    """Correct runs: OK was executed, FAIL was not, INFO either way; at least one OK."""
    outcomes = draw(st.lists(st.sampled_from([OK, FAIL, INFO]), min_size=1, max_size=30))
    trades = [
        Trade(
            f"order-{i:02}",
            outcome,
            executed=outcome is OK or (outcome is INFO and draw(st.booleans())),
            account=draw(st.integers(0, len(ACCOUNTS) - 1)),
            symbol=draw(st.integers(0, len(SYMBOLS) - 1)),
            side=draw(st.sampled_from(["buy", "sell"])),
            quantity=draw(st.integers(1, 500)),
        )
        for i, outcome in enumerate([OK, *outcomes])
    ]
    return draw(st.permutations(trades))


def findings(seen: Evidence) -> dict[str, Finding]:
    return {checker.name: checker.check(seen) for checker in CHECKERS}


def assert_only(seen: Evidence, checker: str, offender: str) -> None:
    """That checker fails and names the offender; all others pass."""
    found = findings(seen)
    assert {name for name, f in found.items() if f.verdict is not Verdict.PASS} == {checker}
    assert found[checker].verdict is Verdict.FAIL
    assert [name.split(":")[0] for name in found[checker].offenders] == [offender]
    assert found[checker].count == 1


ids = st.lists(st.sampled_from("abcdefgh"))


@few
@given(ids, ids)
def test_sets_of_ids_are_sets(some: list[str], others: list[str]):
    left, right = IdSet.of(some), IdSet.of(pd.Series(others, dtype="str"))
    assert set(left | right) == set(some) | set(others)
    assert set(left & right) == set(some) & set(others)
    assert set(left - right) == set(some) - set(others)
    assert len(left) == len(set(some))


@few
@given(runs())
def test_a_correct_run_passes_every_checker(trades: list[Trade]):
    assert {f.verdict for f in findings(evidence(trades)).values()} == {Verdict.PASS}


@few
@given(runs(), st.data())
def test_one_lost_ack_is_named(trades: list[Trade], data: st.DataObject):
    """Lost without a trace: its money and its price step are gone with it."""
    victim = data.draw(st.sampled_from([t for t in trades if t.outcome is OK]))
    rest = [replace(t, executed=False) if t is victim else t for t in trades]
    assert_only(evidence(trades, final=final_of(rest)), "lost_acks", victim.order_id)


@few
@given(runs(), st.data())
def test_one_order_that_is_there_twice_is_named(trades: list[Trade], data: st.DataObject):
    victim = data.draw(st.sampled_from([t for t in trades if t.executed]))
    final = with_orders(
        final_of(trades),
        lambda orders: pd.concat([orders, orders[orders["order_id"] == victim.order_id]]),
    )
    assert_only(evidence(trades, final=final), "duplicates", victim.order_id)


@few
@given(runs(), st.data())
def test_one_order_received_twice_is_named(trades: list[Trade], data: st.DataObject):
    victim = data.draw(st.sampled_from([t for t in trades if t.executed]))

    def twice(orders: pd.DataFrame) -> pd.DataFrame:
        return orders.assign(received=1 + (orders["order_id"] == victim.order_id).astype(int))

    final = with_orders(final_of(trades), twice)
    assert_only(evidence(trades, final=final), "duplicates", victim.order_id)


@few
@given(runs())
def test_one_order_nobody_placed_is_named(trades: list[Trade]):
    final = final_of([*trades, Trade("phantom")])
    assert_only(evidence(trades, final=final), "phantoms", "phantom")


@few
@given(runs())
def test_one_refused_order_that_was_executed_is_named(trades: list[Trade]):
    refused = [*trades, Trade("refused", FAIL, executed=False)]
    final = final_of([*trades, Trade("refused")])
    assert_only(evidence(refused, final=final), "phantoms", "refused")


@few
@given(runs(), st.data())
def test_one_order_without_its_activity_is_named(trades: list[Trade], data: st.DataObject):
    victim = data.draw(st.sampled_from([t for t in trades if t.executed]))

    def half(orders: pd.DataFrame) -> pd.DataFrame:
        return orders.assign(received=(orders["order_id"] != victim.order_id).astype(int))

    final = with_orders(final_of(trades), half)
    assert_only(evidence(trades, final=final), "phantoms", victim.order_id)


@few
@given(runs(), st.sampled_from(range(len(ACCOUNTS))), st.sampled_from([-1, 1]))
def test_one_cent_too_many_or_too_few_is_named(trades: list[Trade], i: int, cents: int):
    final = final_of(trades)
    accounts = final.accounts.copy()
    accounts.loc[i, "balance_cents"] += cents
    assert_only(evidence(trades, final=replace(final, accounts=accounts)), "money", ACCOUNTS[i])


@few
@given(runs(), st.sampled_from(range(len(SYMBOLS))), st.sampled_from([-1, 1]))
def test_one_price_step_too_many_or_too_few_is_named(trades: list[Trade], i: int, steps: int):
    final = final_of(trades)
    instruments = final.instruments.copy()
    instruments.loc[i, "current_price_cents"] += steps * STEP_CENTS
    assert_only(
        evidence(trades, final=replace(final, instruments=instruments)), "prices", SYMBOLS[i]
    )


@few
@given(runs())
def test_without_a_final_read_nothing_is_known(trades: list[Trade]):
    seen = Evidence.of(ledger_of(trades), history_of(trades), None)
    assert {f.verdict for f in findings(seen).values()} == {Verdict.UNKNOWN}
    assert len(seen.lost) == 0


def test_an_acked_order_absent_after_failover_is_lost():
    trades = [Trade("o1", OK, executed=False), Trade("o2", INFO)]
    finding = NoLostAcks().check(evidence(trades))
    assert finding == Finding(
        "lost_acks",
        Verdict.FAIL,
        "1 of 1 acknowledged order missing from the database",
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
        [order("west", 0, 1, FAIL, order_id="o1"), order("west", 2, 3, OK, order_id="o1")]
    )
    seen = Evidence.of(["o1"], history, final_of([Trade("o1")]))
    assert {f.verdict for f in findings(seen).values()} == {Verdict.PASS}


def test_where_nothing_was_acked_nothing_is_proven():
    finding = NoLostAcks().check(evidence([Trade("o1", FAIL, executed=False)]))
    assert finding.verdict is Verdict.UNKNOWN


def test_operations_without_an_order_are_not_orders():
    """A price that was read is acknowledged too."""
    read = replace(order("west", 0, 1), kind="fresh_read", order_id="")
    history = History.of([read, order("west", 1, 2, order_id="o1")])
    seen = Evidence.of(["o1"], history, final_of([Trade("o1")]))
    assert {f.verdict for f in findings(seen).values()} == {Verdict.PASS}


def test_ten_offenders_are_named_and_all_are_counted():
    trades = [Trade(f"o{i:02}", executed=False) for i in range(12)]
    finding = NoLostAcks().check(evidence(trades))
    assert finding.offenders == tuple(f"o{i:02}" for i in range(10))
    assert finding.count == 12


def test_a_ledger_may_name_an_order_twice():
    finding = NoLostAcks().check(evidence([Trade("o1")], ledger=["o1", "o1"]))
    assert finding.summary == "all 1 acknowledged order in the database"


def test_money_says_what_is_there_and_what_should_be():
    final = final_of([Trade("o1", quantity=2)])
    accounts = final.accounts.assign(balance_cents=[5_000_000, 5_000_000])
    finding = MoneyExact().check(evidence([Trade("o1")], final=replace(final, accounts=accounts)))
    assert finding.offenders == ("A-0: 50000.00, by its orders 49975.32",)


def test_the_price_step_is_a_parameter():
    seen = evidence([Trade("o1")])
    assert PriceExact().check(seen).verdict is Verdict.PASS
    assert PriceExact(step_cents=11).check(seen).verdict is Verdict.FAIL


@pytest.mark.parametrize("checker", [MoneyExact(), PriceExact()], ids=lambda c: c.name)
def test_nothing_to_look_at_is_not_exact(checker: MoneyExact | PriceExact):
    final = final_of([Trade("o1")])
    empty = replace(final, accounts=final.accounts[:0], instruments=final.instruments[:0])
    assert checker.check(evidence([Trade("o1")], final=empty)).verdict is Verdict.UNKNOWN


def test_no_order_at_all_is_no_duplicate():
    trades = [Trade("o1", FAIL, executed=False)]
    assert NoDuplicates().check(evidence(trades)).verdict is Verdict.PASS


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
