"""What is said of books that did not go on from before the load, word by word."""

from __future__ import annotations

from dataclasses import replace

import pytest
from histories import Trade, final_of, history_of
from judging import evidence, findings

from labkit.trading.audit import FinalRead
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict

BUYS = [Trade("o1"), Trade("o2")]
EMPTY = final_of([])


def without(part: str, i: int) -> Evidence:
    """What `BUYS` leaves, without one account or instrument at the end."""
    final = final_of(BUYS)
    rest = getattr(final, part).drop(i).reset_index(drop=True)
    return evidence(BUYS, final=replace(final, **{part: rest}))


def from_before(seen: Evidence, part: str, **changes: int) -> Evidence:
    """The same with other numbers before the load."""
    frame = getattr(EMPTY, part).copy()
    for column, value in changes.items():
        frame.loc[0, column] = value
    return replace(seen, opening=replace(EMPTY, **{part: frame}))


def beside_others() -> Evidence:
    """What `BUYS` leaves where another client ordered too."""
    others = [Trade("x1", account=1, symbol=1, side="sell"), Trade("x2", account=1)]
    both = final_of([*BUYS, *others])
    final = replace(both, orders=both.orders[: len(BUYS)])
    return Evidence.of(["o1", "o2"], history_of(BUYS), final, EMPTY)


WORDS: dict[str, tuple[Evidence, list[str]]] = {
    "an account with orders that is gone": (
        without("accounts", 0),
        ["A-0: was there before the load"],
    ),
    "an account without orders that is gone": (
        without("accounts", 1),
        ["A-1: was there before the load"],
    ),
    "an instrument with orders that is gone": (
        without("instruments", 0),
        ["ACME: was there before the load", "ACME: gained fewer buys than this run has"],
    ),
    "an instrument without orders that is gone": (
        without("instruments", 1),
        ["XYZ: was there before the load"],
    ),
    "an instrument that is new": (
        replace(evidence(BUYS), opening=replace(EMPTY, instruments=EMPTY.instruments[:1])),
        ["XYZ: was not there before the load"],
    ),
    "another opening balance": (
        from_before(evidence(BUYS), "accounts", opening_balance_cents=1),
        ["A-0: has another opening balance"],
    ),
    "fewer deposits": (
        from_before(evidence(BUYS), "accounts", deposits_cents=1),
        ["A-0: has less deposits"],
    ),
    "one move less": (
        from_before(evidence(BUYS), "instruments", moves=3),
        ["ACME: has less moves"],
    ),
    "fewer buys than this run's": (
        from_before(evidence(BUYS), "instruments", buys=1),
        ["ACME: gained fewer buys than this run has"],
    ),
    "a cent less than this run's orders": (
        from_before(evidence(BUYS), "accounts", bought_cents=1),
        ["A-0: bought gained another sum than this run's orders have"],
    ),
    "a cent more than this run's orders": (
        from_before(evidence([*BUYS, Trade("o3", side="sell")]), "accounts", sold_cents=-1),
        ["A-0: sold gained another sum than this run's orders have"],
    ),
    "a cent less than this run's orders beside those of others": (
        from_before(beside_others(), "accounts", bought_cents=1),
        ["A-0: bought gained a smaller sum than this run's orders have"],
    ),
    "a cent more than this run's orders beside those of others": (
        from_before(beside_others(), "accounts", bought_cents=-1),
        [],
    ),
}


@pytest.mark.parametrize(("seen", "words"), WORDS.values(), ids=WORDS)
def test_each_thing_that_did_not_go_on_is_described_once(seen: Evidence, words: list[str]):
    found = findings(seen)["opening"]
    assert list(found.offenders) == words
    assert found.count == len(words)


def opened_meanwhile() -> Evidence:
    opening: FinalRead = replace(EMPTY, accounts=EMPTY.accounts[:1])
    return replace(evidence(BUYS), opening=opening)


@pytest.mark.parametrize(
    ("seen", "summary"),
    [
        (
            beside_others(),
            "the books gained this run's 2 orders, 2 orders of other clients and nothing else",
        ),
        (
            opened_meanwhile(),
            "the books gained this run's 2 orders and nothing else, 1 account opened meanwhile",
        ),
    ],
    ids=["of other clients", "an account"],
)
def test_what_came_meanwhile_is_said_and_no_offence(seen: Evidence, summary: str):
    found = findings(seen)["opening"]
    assert (found.verdict, found.summary) == (Verdict.PASS, summary)


def test_a_run_without_orders_gained_nothing():
    found = findings(evidence([]))["opening"]
    assert found.summary == "the books gained this run's 0 orders and nothing else"
