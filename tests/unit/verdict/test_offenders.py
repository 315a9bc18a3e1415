"""What a finding says of each thing that breaks a claim, word by word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from histories import SYMBOLS, Read, Step, Trade, final_of, history_of, ledger_of
from judging import FAIL, FRESH, REPLICA, an_id, changed, evidence, findings, with_orders

from labkit.history import History
from labkit.measurement.possible import LARGEST_PLACE
from labkit.trading.audit import FinalRead
from labkit.verdict.evidence import Evidence

BUYS = [Trade("o1"), Trade("o2")]
BOTH = [*BUYS, Trade("o3", symbol=1), Trade("o4", side="sell", symbol=1)]


def books(order_id: str, column: str | list[str], value: object) -> Evidence:
    """What `BOTH` leaves, with one order changed in the database."""
    return evidence(BOTH, final=changed(final_of(BOTH), order_id, column, value))


def stocks(i: int, **changes: int) -> Evidence:
    """What `BOTH` leaves, with one instrument changed in the database."""
    final = final_of(BOTH)
    instruments = final.instruments.copy()
    for column, value in changes.items():
        instruments.loc[i, column] = value
    return evidence(BOTH, final=replace(final, instruments=instruments))


def accounts(i: int, **changes: int) -> Evidence:
    """What an order of each account leaves, with one account changed in the database."""
    steps = [BUYS[0], Trade("o2", side="sell", account=1, symbol=1)]
    final = final_of(steps)
    frame = final.accounts.copy()
    for column, value in changes.items():
        frame.loc[i, column] = value
    return evidence(steps, final=replace(final, accounts=frame))


def told(**changes: object) -> Evidence:
    """What `BOTH` leaves, with the second order changed in the history."""
    ops = history_of(BOTH).ops.astype(dict.fromkeys(changes, object))
    for column, value in changes.items():
        ops.loc[1, column] = value
    return Evidence.of(ledger_of(BOTH), History.from_frame(ops), final_of(BOTH), final_of([]))


def lived(*lives: tuple[str, str, int, int, int, str]) -> Evidence:
    final = final_of(BOTH)
    columns = ["statuses", "executions", "trades", "trades_off", "status"]
    for order_id, *life in lives:
        final = changed(final, order_id, columns, life)
    return evidence(BOTH, final=final)


def there_twice(order_id: str, **changes: int) -> Evidence:
    final = changed(final_of(BOTH), order_id, list(changes), list(changes.values()))
    return evidence(
        BOTH,
        final=with_orders(
            final, lambda orders: pd.concat([orders, orders[orders["order_id"] == order_id]])
        ),
    )


def phantoms() -> Evidence:
    steps = [*BUYS, replace(BOTH[2], outcome=FAIL)]
    return evidence(steps, final=changed(final_of(BOTH), "o1", "received", 0))


WORDS: dict[str, tuple[str, Evidence, list[str]]] = {
    "an order at another price than the one before it left": (
        "prices",
        books("o2", "unit_price_cents", 1300),
        [
            "o2: place 2 of ACME at 13.00, but o1 left 12.44 at place 1",
            "ACME: place 2 of ACME at 12.54, but o2 left 13.10 at place 2",
            "o2: its client asked for a buy of ACME and was told place 2 at 12.44, "
            "the database has a buy of ACME, place 2 at 13.00",
        ],
    ),
    "a first order at another price than the initial one": (
        "prices",
        books("o3", "unit_price_cents", 1300),
        [
            "o3: place 1 of XYZ at 13.00, but the initial price left 12.34 at place 0",
            "o4: place 2 of XYZ at 12.44, but o3 left 13.10 at place 1",
            "o3: its client asked for a buy of XYZ and was told place 1 at 12.34, "
            "the database has a buy of XYZ, place 1 at 13.00",
        ],
    ),
    "a final price that its orders do not make": (
        "prices",
        stocks(1, current_price_cents=1264),
        ["XYZ: 12.64 after 2 moves, but its 2 orders make the price 12.34"],
    ),
    "a move without an order": (
        "prices",
        stocks(0, moves=3),
        ["ACME: 12.54 after 3 moves, but it has 2 orders"],
    ),
    "fewer buys than this run's": (
        "prices",
        stocks(0, buys=1, moves=1, current_price_cents=1244),
        ["ACME: 12.44 after 1 move, but this run alone has 2 buys and 0 sells"],
    ),
    "fewer sells than this run's": (
        "prices",
        stocks(1, sells=0, moves=1, current_price_cents=1244),
        ["XYZ: 12.44 after 1 move, but this run alone has 1 buys and 1 sells"],
    ),
    "an order of no symbol": (
        "prices",
        books("o4", "symbol", "NONE"),
        [
            "o4: of no known symbol, or at a place that no order can have",
            "o4: its client asked for a sell of XYZ and was told place 2 at 12.44, "
            "the database has a sell of NONE, place 2 at 12.44",
        ],
    ),
    "a balance that its orders do not make": (
        "money",
        accounts(1, balance_cents=5_009_999),
        ["A-1: 50,099.99, by its orders 50,012.34"],
    ),
    "an overdraft": (
        "money",
        accounts(0, balance_cents=-1, bought_cents=5_000_001),
        ["A-0: overdrawn: -0.01"],
    ),
    "an account that paid for less than this run's orders": (
        "money",
        accounts(0, balance_cents=4_999_999, bought_cents=1),
        ["A-0: bought for 0.01, this run's orders alone for 12.34"],
    ),
    "an account that got less than this run's orders": (
        "money",
        accounts(1, balance_cents=5_000_001, sold_cents=1),
        ["A-1: sold for 0.01, this run's orders alone for 12.34"],
    ),
    "a position that its orders do not make": (
        "money",
        accounts(0, positions_off=1),
        ["A-0: 1 position not what its orders say"],
    ),
    "positions below nothing": (
        "money",
        accounts(1, oversold=2),
        ["A-1: holds less than nothing in 2 positions, and may not"],
    ),
    "an order of no account": (
        "money",
        books("o1", "account_nbr", "B-7"),
        ["B-7: has orders and no account"],
    ),
    "an order before the first place": (
        "prices",
        books("o3", "move_nbr", 0),
        [
            "o3: of no known symbol, or at a place that no order can have",
            "o3: its client asked for a buy of XYZ and was told place 1 at 12.34, "
            "the database has a buy of XYZ, place 0 at 12.34",
        ],
    ),
    "an order beyond the largest place": (
        "prices",
        books("o4", "move_nbr", LARGEST_PLACE),
        [
            "o4: of no known symbol, or at a place that no order can have",
            "o4: its client asked for a sell of XYZ and was told place 2 at 12.44, "
            "the database has a sell of XYZ, place 1099511627776 at 12.44",
        ],
    ),
    "an order at the largest place, after all others and before the final price": (
        "prices",
        books("o4", "move_nbr", LARGEST_PLACE - 1),
        [
            "o4: place 1099511627775 of XYZ at 12.44, but o3 left 12.44 at place 1",
            "XYZ: place 2 of XYZ at 12.34, but o4 left 12.34 at place 1099511627775",
            "o4: its client asked for a sell of XYZ and was told place 2 at 12.44, "
            "the database has a sell of XYZ, place 1099511627775 at 12.44",
        ],
    ),
    "reads of a price that never was": (
        "prices",
        evidence([BOTH[0], Read(FRESH, cents_off=5), Read(REPLICA, cents_off=6)]),
        [
            "read 1: 12.49 at place 1 of ACME, a price that its orders do not lead to",
            "read 2: 12.50 at place 1 of ACME, a price that its orders do not lead to",
        ],
    ),
    "an order of which its client was told a place alone": (
        "prices",
        told(move_nbr=3, price_cents=pd.NA),
        [
            "o2: its client asked for a buy of ACME and was told place 3, "
            "the database has a buy of ACME, place 2 at 12.44"
        ],
    ),
    "an order of which its client was told a price alone": (
        "prices",
        told(move_nbr=pd.NA, price_cents=1250),
        [
            "o2: its client asked for a buy of ACME and was told 12.50, "
            "the database has a buy of ACME, place 2 at 12.44"
        ],
    ),
    "an order of which its client was told nothing": (
        "prices",
        told(outcome="info", move_nbr=pd.NA, price_cents=pd.NA, side="sell"),
        [
            "o2: its client asked for a sell of ACME and was told nothing, "
            "the database has a buy of ACME, place 2 at 12.44"
        ],
    ),
    "a stale read": (
        "real_time",
        evidence([*BOTH, Read(FRESH, symbol=1, session=5, off=-1)]),
        ["read 4: session 5 in west place 1 of XYZ, sent after o4 had ended at place 2"],
    ),
    "an order in another order than that of time": (
        "real_time",
        evidence(
            [
                *BUYS,
                Trade("late", symbol=1, sent_before_s=-7, told_after_s=8),
                Trade("early", symbol=1),
            ]
        ),
        ["late: session 0 in west place 1 of XYZ, sent after early had ended at place 2"],
    ),
    "a session that goes back": (
        "sessions",
        evidence([*BUYS, Read(FRESH, session=5), Read(FRESH, session=5, off=-1)]),
        ["read 3: session 5 in west place 1 of ACME, sent after read 2 had ended at place 2"],
    ),
    "a fresh read from the future": (
        "real_time",
        evidence([Read(FRESH, off=1, session=3), *BUYS]),
        ["read 0: session 3 in west place 1, answered before o1 was sent, which got place 1"],
    ),
    "replica reads from the future": (
        "replicas",
        evidence([BUYS[0], Read(REPLICA, off=1, session=4), BUYS[1], Read(REPLICA, off=2)]),
        [
            "read 1: session 4 in west place 2, answered before o2 was sent, which got place 2",
            "read 3: session 0 in west place 4, more than there ever were",
        ],
    ),
    "an order that is there twice": (
        "duplicates",
        there_twice("o1", received=2, executions=3, trades=4),
        ["o1: 2 rows, received 2 times, executed 3 times, traded 4 times"],
    ),
    "orders that should not be there": (
        "phantoms",
        phantoms(),
        ["o4: nobody ordered it", "o3: it was refused", "o1: no order_received activity"],
    ),
    "orders that lived otherwise than they say": (
        "executions",
        lived(
            ("o1", "order_received,processing,order_processed", 1, 2, 2, "processed"),
            ("o3", "", 1, 0, 0, "received"),
        ),
        [
            "o1: order_received,processing,order_processed; 1 execution, 2 trades, "
            "2 of them not of the order; the order says processed",
            "o3: no activity; 1 execution, 0 trades; the order says received",
        ],
    ),
}


@pytest.mark.parametrize(("checker", "seen", "words"), WORDS.values(), ids=WORDS)
def test_what_breaks_a_claim_is_described(checker: str, seen: Evidence, words: list[str]):
    found = findings(seen)[checker]
    assert sorted(found.offenders) == sorted(words)
    assert found.count == len(words)


def test_what_holds_is_counted_in_words():
    reads = [Read(FRESH), Read(FRESH, session=1), Read(REPLICA)]
    said = {name: found.summary for name, found in findings(evidence([*BOTH, *reads])).items()}
    assert said == {
        "lost_acks": "all 4 acknowledged orders are in the database",
        "duplicates": "none of 4 orders placed or executed twice",
        "phantoms": "each of 4 orders was really placed",
        "money": "2 accounts exact to the cent, 99,975.32 USD in all",
        "prices": "2 prices exact to the cent, 4 orders and 3 reads in an unbroken chain",
        "opening": "the books gained this run's 4 orders and nothing else",
        "real_time": "4 orders and 2 fresh reads in the order of time",
        "sessions": "2 fresh reads of 2 sessions never went back",
        "replicas": "1 replica read, none seen to be behind, "
        "0 behind an earlier one of the same session",
        "executions": "0 of 4 orders processed, each executed and traded once",
    }


MANY = 12


def many(what: Callable[[int], Step]) -> list[Step]:
    return [what(i) for i in range(MANY)]


def every(column: str | list[str], value: object) -> Callable[[FinalRead], FinalRead]:
    """Give all orders another value."""

    def change(final: FinalRead) -> FinalRead:
        for order_id in final.orders["order_id"]:
            final = changed(final, order_id, column, value)
        return final

    return change


ORDERS = many(lambda i: Trade(an_id(i), symbol=i % len(SYMBOLS)))
MANY_WRONG: dict[str, tuple[str, list[Step], Callable[[FinalRead], FinalRead]]] = {
    "orders without an activity": ("phantoms", ORDERS, every("received", 0)),
    "orders traded twice": ("duplicates", ORDERS, every("trades", 2)),
    "orders that went back": ("executions", ORDERS, every("statuses", "processing,processing,x")),
    "stale reads": (
        "real_time",
        [Trade("o1"), *many(lambda i: Read(FRESH, session=i, off=-1))],
        lambda final: final,
    ),
    "sessions that go back": (
        "sessions",
        [Trade("o1"), *many(lambda i: Read(FRESH, off=-1))],
        lambda final: final,
    ),
    "reads from the future": (
        "replicas",
        many(lambda i: Read(REPLICA, off=1)),
        lambda final: final,
    ),
    "reads of prices that never were": (
        "prices",
        many(lambda i: Read(FRESH, cents_off=1)),
        lambda final: final,
    ),
}


@pytest.mark.parametrize(("checker", "steps", "spoil"), MANY_WRONG.values(), ids=MANY_WRONG)
def test_ten_of_many_offenders_are_named_and_all_are_counted(
    checker: str, steps: list[Step], spoil: Callable[[FinalRead], FinalRead]
):
    found = findings(evidence(steps, final=spoil(final_of(steps))))[checker]
    assert found.count == MANY
    assert len(found.offenders) == 10


FAILED = {
    "real_time": (
        [*BUYS, Read(FRESH, session=5, off=-1), Read(REPLICA)],
        "1 of 2 orders and 1 fresh read not in the order of time",
    ),
    "sessions": (
        [*BUYS, Read(FRESH, session=0, off=-1), Read(FRESH, session=0)],
        "1 of 2 fresh reads of 1 session went back",
    ),
    "replicas": ([Read(REPLICA, off=1), Read(REPLICA)], "1 of 2 replica reads from the future"),
}


@pytest.mark.parametrize(("checker", "steps", "summary"), [(k, *v) for k, v in FAILED.items()])
def test_a_claim_about_reads_that_fails_says_how_many_of_how_many(
    checker: str, steps: list[Step], summary: str
):
    assert findings(evidence(steps))[checker].summary == summary
