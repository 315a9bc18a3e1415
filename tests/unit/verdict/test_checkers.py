from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from histories import (
    ACCOUNTS,
    STEP_CENTS,
    SYMBOLS,
    Read,
    Step,
    Trade,
    final_of,
    history_of,
    ledger_of,
    row_of,
)
from hypothesis import given
from hypothesis import strategies as st
from judging import (
    FAIL,
    FRESH,
    INFO,
    OK,
    REPLICA,
    an_id,
    assert_caught,
    changed,
    evidence,
    failures,
    findings,
    names_of,
    trades_of,
    with_orders,
)

from labkit.history import History
from labkit.measurement import parts
from labkit.record import OpKind
from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import CHECKERS, Executions, PriceExact
from labkit.verdict.checkers.placed import STATUS_AFTER
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict
from labkit.workload.ledger import Ledger

seconds = st.floats(0, 5, allow_subnormal=False)


@st.composite
def runs(draw: st.DrawFn) -> list[Step]:
    """Correct runs of overlapping operations.

    OK was executed, FAIL was not, INFO either way, at any time after it was sent; fresh reads show
    what there is, replica reads what there was. The last order is acknowledged.
    """
    steps: list[Step] = []
    moves = [0] * len(SYMBOLS)
    for i in range(draw(st.integers(0, 30))):
        what = draw(st.sampled_from([OK, OK, FAIL, INFO, FRESH, FRESH, REPLICA]))
        symbol = draw(st.integers(0, len(SYMBOLS) - 1))
        customer = draw(st.integers(0, len(ACCOUNTS) - 1))
        before_s, after_s = draw(seconds), draw(seconds)
        if what in (FRESH, REPLICA):
            behind = draw(st.integers(0, moves[symbol])) if what is REPLICA else 0
            steps.append(
                Read(
                    what,
                    symbol,
                    customer,
                    off=-behind,
                    outcome=draw(st.sampled_from([OK, OK, FAIL])),
                    sent_before_s=before_s,
                    told_after_s=after_s,
                )
            )
            continue
        executed = what is OK or (what is INFO and draw(st.booleans()))
        moves[symbol] += executed
        steps.append(
            Trade(
                an_id(i),
                what,
                executed=executed,
                account=customer,
                symbol=symbol,
                side=draw(st.sampled_from(["buy", "sell"])),
                quantity=draw(st.integers(1, 500)),
                sent_before_s=before_s,
                # the client may give up long before the order is executed
                told_after_s=after_s - before_s if what is INFO else after_s,
            )
        )
    return [*steps, Trade(an_id(99))]


@given(runs())
def test_a_correct_run_passes_every_checker(steps: list[Step]):
    found = findings(evidence([*steps, Read(FRESH), Read(REPLICA)]))
    assert list(found) == [checker.name for checker in CHECKERS]
    assert {name: f for name, f in found.items() if f.verdict is not Verdict.PASS} == {}


@given(runs(), st.sampled_from([STEP_CENTS, 1]))
def test_a_run_is_judged_by_parts_as_it_is_in_one(steps: list[Step], cents: int):
    """What breaks a claim is found in whichever part it is."""
    wrong = [
        Read(FRESH, symbol, session=7, off=off, cents_off=cents)
        for symbol in range(len(SYMBOLS))
        for off in (-1, 1)
    ]
    seen = evidence([*steps, Trade(an_id(100), symbol=1), *wrong])
    in_one = findings(seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ROWS", 1)
        by_parts = findings(seen)
    for name, finding in in_one.items():
        other = by_parts[name]
        assert replace(other, offenders=()) == replace(finding, offenders=())
        assert sorted(other.offenders) == sorted(finding.offenders)


@given(runs(), st.booleans())
def test_a_run_is_judged_from_its_files_as_from_memory(steps: list[Step], lost: bool):
    final = final_of(steps[:-1] if lost else steps)
    seen = Evidence.of(ledger_of(steps), history_of(steps), final)
    with TemporaryDirectory() as name:
        folder = Path(name)
        seen.history.save(folder)
        final.save(folder)
        with Ledger(folder, "west") as ledger:
            for order_id in ledger_of(steps):
                ledger.acknowledged(order_id)
        assert findings(Evidence.load(folder)) == findings(seen)


@given(runs())
def test_a_correct_run_beside_foreign_orders_passes_every_checker(steps: list[Step]):
    """Orders that are neither in the history nor among the run's own, but moved the prices."""
    final = final_of(steps)
    orders = trades_of(steps)
    foreign = {t.order_id for t in orders[::2] if t.executed and t is not orders[-1]}
    final = with_orders(final, lambda frame: frame[~frame["order_id"].isin(foreign)])
    history = history_of(steps)
    history = History.from_frame(history.ops[~history.ops["order_id"].isin(foreign)])
    seen = Evidence.of([i for i in ledger_of(steps) if i not in foreign], history, final)
    assert failures(findings(seen)) == set()


@given(runs(), st.data())
def test_one_lost_ack_is_named(steps: list[Step], data: st.DataObject):
    """Lost without a trace: its money and its price step are gone with it."""
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.outcome is OK]))
    rest = [replace(t, executed=False) if t is victim else t for t in steps]
    # whoever came after it was told its place again, and whoever read it saw what is no more
    also = ["real_time", "sessions", "replicas", "prices"]
    assert_caught(evidence(rest), "lost_acks", victim.order_id, also=also)


@given(runs(), st.data())
def test_one_order_that_is_there_twice_is_named(steps: list[Step], data: st.DataObject):
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.executed]))
    final = with_orders(
        final_of(steps),
        lambda orders: pd.concat([orders, orders[orders["order_id"] == victim.order_id]]),
    )
    assert_caught(evidence(steps, final=final), "duplicates", victim.order_id, also=["prices"])


@given(runs(), st.sampled_from(["received", "executions", "trades"]), st.data())
def test_one_order_received_executed_or_traded_twice_is_named(
    steps: list[Step], what: str, data: st.DataObject
):
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.executed]))
    seen = evidence(steps, final=changed(final_of(steps), victim.order_id, what, 2))
    assert_caught(seen, "duplicates", victim.order_id, also=["executions"])


@given(runs())
def test_one_order_nobody_placed_is_named(steps: list[Step]):
    final = final_of([*steps, Trade(an_id(100))])
    assert_caught(evidence(steps, final=final), "phantoms", an_id(100))


@given(runs())
def test_one_refused_order_that_was_executed_is_named(steps: list[Step]):
    refused = [*steps, Trade(an_id(100), FAIL, executed=False)]
    final = final_of([*steps, Trade(an_id(100))])
    assert_caught(evidence(refused, final=final), "phantoms", an_id(100))


@given(runs(), st.data())
def test_one_order_without_its_activity_is_named(steps: list[Step], data: st.DataObject):
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.executed]))
    final = changed(final_of(steps), victim.order_id, "received", 0)
    assert_caught(evidence(steps, final=final), "phantoms", victim.order_id)


@given(runs(), st.sampled_from(range(len(ACCOUNTS))), st.sampled_from([-1, 1]))
def test_one_cent_too_many_or_too_few_is_named(steps: list[Step], i: int, cents: int):
    final = final_of(steps)
    accounts = final.accounts.copy()
    accounts.loc[i, "balance_cents"] += cents
    assert_caught(evidence(steps, final=replace(final, accounts=accounts)), "money", ACCOUNTS[i])


@given(runs())
def test_one_account_that_is_not_there_is_named(steps: list[Step]):
    final = changed(final_of(steps), an_id(99), "account_nbr", "A-9")
    assert_caught(evidence(steps, final=final), "money", "A-9", also=["opening"])


@given(runs(), st.sampled_from(range(len(SYMBOLS))), st.sampled_from([-1, 1]))
def test_one_price_step_too_many_or_too_few_is_named(steps: list[Step], i: int, by: int):
    final = final_of(steps)
    instruments = final.instruments.copy()
    instruments.loc[i, "current_price_cents"] += by * STEP_CENTS
    seen = evidence(steps, final=replace(final, instruments=instruments))
    assert_caught(seen, "prices", SYMBOLS[i])


@given(runs(), st.sampled_from(range(len(SYMBOLS))))
def test_a_move_too_many_is_named(steps: list[Step], i: int):
    final = final_of(steps)
    instruments = final.instruments.copy()
    instruments.loc[i, "moves"] += 1
    seen = evidence(steps, final=replace(final, instruments=instruments))
    assert_caught(seen, "prices", SYMBOLS[i])


@given(runs(), st.sampled_from(["buy", "sell"]))
def test_a_lost_update_names_the_price_and_both_orders(steps: list[Step], side: str):
    """Two clients read the same price, and each wrote one step more: a step is missing."""
    one, two = Trade(an_id(100), INFO, side=side), Trade(an_id(101), INFO, side=side)
    final = final_of([*steps, one, two])
    price, place = final.orders.set_index("order_id").loc[an_id(100), PLACED]
    final = changed(final, an_id(101), PLACED, [price, place])
    instruments = final.instruments.copy()
    instruments.loc[0, "current_price_cents"] -= STEP_CENTS if side == "buy" else -STEP_CENTS
    instruments.loc[0, "moves"] -= 1
    seen = evidence([*steps, one, two], final=replace(final, instruments=instruments))
    # the made-up accounts are those of the right price
    assert_caught(seen, "prices", SYMBOLS[0], an_id(101), also=["money", "opening"])
    assert an_id(100) in PriceExact().check(seen).offenders[1]


PLACED = ["unit_price_cents", "move_nbr"]


@given(runs(), st.sampled_from([-2 * STEP_CENTS, -1, 1, 2 * STEP_CENTS]))
def test_an_order_at_a_price_that_was_not_there_is_named(steps: list[Step], cents: int):
    """The last one: it is the price after it that gives it away, or the one before."""
    last = Trade(an_id(100), INFO)
    final = final_of([*steps, last])
    price = int(final.orders.set_index("order_id").loc[an_id(100), "unit_price_cents"])
    final = changed(final, an_id(100), "unit_price_cents", price + cents)
    finding = PriceExact().check(evidence([*steps, last], final=final))
    assert finding.verdict is Verdict.FAIL
    assert names_of(finding)[0] == an_id(100)


@given(runs(), st.sampled_from([FRESH, REPLICA]), st.sampled_from([-STEP_CENTS, STEP_CENTS, 1]))
def test_a_read_of_a_price_that_never_was_is_named(steps: list[Step], kind: OpKind, cents: int):
    steps = [*steps, Read(kind, cents_off=cents)]
    assert_caught(evidence(steps), "prices", f"read {row_of(steps, -1)}")


@given(runs(), st.sampled_from(PLACED), st.data())
def test_an_order_that_is_not_what_its_client_was_told_is_named(
    steps: list[Step], what: str, data: st.DataObject
):
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.outcome is OK]))
    history = history_of(steps)
    told = {"unit_price_cents": "price_cents", "move_nbr": "move_nbr"}[what]
    ops = history.ops.copy()
    ops.loc[ops["order_id"] == victim.order_id, told] += 1
    seen = Evidence.of(ledger_of(steps), History.from_frame(ops), final_of(steps))
    assert_caught(seen, "prices", victim.order_id, also=["real_time", "sessions", "replicas"])


@given(runs(), st.integers(0, len(SYMBOLS) - 1), st.integers(0, len(ACCOUNTS) - 1))
def test_a_stale_fresh_read_is_named(steps: list[Step], symbol: int, session: int):
    """An order was acknowledged, then somebody else read and did not see it."""
    stale = Read(FRESH, symbol, session=7, off=-1)
    steps = [*steps, Trade(an_id(100), symbol=symbol, account=session), stale]
    assert_caught(evidence(steps), "real_time", f"read {row_of(steps, -1)}")


@given(runs(), st.integers(0, len(SYMBOLS) - 1))
def test_a_read_of_an_order_that_was_not_sent_yet_is_named(steps: list[Step], symbol: int):
    steps = [*steps, Read(FRESH, symbol, session=7, off=1), Trade(an_id(100), symbol=symbol)]
    assert_caught(evidence(steps), "real_time", f"read {row_of(steps, -2)}")


@given(runs(), st.sampled_from([(FRESH, "real_time"), (REPLICA, "replicas")]), st.integers(1, 9))
def test_a_read_of_more_moves_than_there_ever_were_is_named(
    steps: list[Step], who: tuple[OpKind, str], off: int
):
    kind, checker = who
    steps = [*steps, Read(kind, off=off)]
    assert_caught(evidence(steps), checker, f"read {row_of(steps, -1)}", also=["prices"])


@given(runs(), st.integers(0, len(SYMBOLS) - 1))
def test_orders_in_another_order_than_that_of_time_are_named(steps: list[Step], symbol: int):
    """The one that was sent when the other had been acknowledged got the lower place."""
    later = Trade(an_id(100), symbol=symbol, sent_before_s=-7, told_after_s=8)
    earlier = Trade(an_id(101), symbol=symbol)
    steps = [*steps, later, earlier]
    assert_caught(evidence(steps), "real_time", an_id(100))


@given(runs(), st.integers(0, len(SYMBOLS) - 1))
def test_an_unacknowledged_order_that_overtakes_later_ones_is_no_anomaly(
    steps: list[Step], symbol: int
):
    """It was stuck on its way, and executed when everybody had forgotten it."""
    info = Trade(an_id(100), INFO, symbol=symbol, sent_before_s=5, told_after_s=-3)
    steps = [*steps, Trade(an_id(101), symbol=symbol), Read(FRESH, symbol), info]
    assert failures(findings(evidence(steps))) == set()


@given(runs(), st.integers(0, len(SYMBOLS) - 1), st.booleans())
def test_a_session_that_goes_back_is_named(steps: list[Step], symbol: int, own: bool):
    """It ordered and does not see it, or it saw somebody's order and does not any more."""
    theirs = Trade(an_id(100), symbol=symbol, account=0 if own else 1)
    seen = [] if own else [Read(FRESH, symbol, session=0)]
    steps = [*steps, theirs, *seen, Read(FRESH, symbol, session=0, off=-1)]
    assert_caught(evidence(steps), "sessions", f"read {row_of(steps, -1)}", also=["real_time"])


@given(runs(), st.integers(0, len(SYMBOLS) - 1))
def test_a_replica_read_from_the_future_is_named(steps: list[Step], symbol: int):
    steps = [*steps, Read(REPLICA, symbol, off=1), Trade(an_id(100), symbol=symbol)]
    assert_caught(evidence(steps), "replicas", f"read {row_of(steps, -2)}")


WRONG_LIVES = [
    ("order_received,processing,order_processed", 0, 0),  # processed and never executed
    ("order_received,processing,order_processed", 1, 0),  # executed and never traded
    ("order_received,processing", 1, 1),  # executed before it was processed
    ("order_received", 0, 1),  # traded without anything
    ("order_received,order_processed,processing", 1, 1),  # went back
    ("processing,order_received", 0, 0),
    ("order_received,processing,order_processed,order_processed", 1, 1),
    ("order_received,forgotten", 0, 0),
]
RIGHT_LIVES = [
    ("order_received", 0, 0),
    ("order_received,processing", 0, 0),
    ("order_received,processing,processing", 0, 0),  # taken up again after a crash
    ("order_received,processing,order_processed", 1, 1),
    ("order_received,processing,processing,order_processed", 1, 1),
]


def living(final: FinalRead, order_id: str, life: tuple[str, int, int]) -> FinalRead:
    status = STATUS_AFTER.get(life[0].split(",")[-1], "received")
    columns = ["statuses", "executions", "trades", "status"]
    return changed(final, order_id, columns, [*life, status])


@given(runs(), st.sampled_from(WRONG_LIVES), st.data())
def test_one_order_whose_execution_is_not_what_its_status_says_is_named(
    steps: list[Step], life: tuple[str, int, int], data: st.DataObject
):
    victim = data.draw(st.sampled_from([t for t in trades_of(steps) if t.executed]))
    seen = evidence(steps, final=living(final_of(steps), victim.order_id, life))
    assert_caught(seen, "executions", victim.order_id)


@given(runs(), st.data())
def test_orders_at_every_stage_of_a_right_life_pass(steps: list[Step], data: st.DataObject):
    final = final_of(steps)
    for trade in trades_of(steps):
        final = living(final, trade.order_id, data.draw(st.sampled_from(RIGHT_LIVES)))
    assert Executions().check(evidence(steps, final=final)).verdict is Verdict.PASS


@given(runs())
def test_without_a_final_read_nothing_is_known(steps: list[Step]):
    seen = Evidence.of(ledger_of(steps), history_of(steps), None)
    assert {f.verdict for f in findings(seen).values()} == {Verdict.UNKNOWN}
    assert seen.lost == ()


@given(runs(), st.sampled_from(range(len(ACCOUNTS))), st.integers(1, 9))
def test_positions_that_are_not_what_the_orders_say_are_named(steps: list[Step], i: int, off: int):
    final = final_of(steps)
    accounts = final.accounts.copy()
    accounts.loc[i, "positions_off"] = off
    assert_caught(evidence(steps, final=replace(final, accounts=accounts)), "money", ACCOUNTS[i])
