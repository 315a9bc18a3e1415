"""Where nothing is proven, a checker says what was not there to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from histories import Read, Trade, final_of
from judging import FAIL, FRESH, INFO, REPLICA, evidence, findings

from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import CHECKERS
from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Verdict

REFUSED = Trade("o1", FAIL, executed=False)
NO_ORDER = "the database has no order of this run"


def without(part: str) -> FinalRead:
    final = final_of([Trade("o1")])
    return replace(final, **{part: getattr(final, part)[:0]})


def strange(count: int) -> Evidence:
    final = final_of([Trade("o1")])
    return evidence(
        [Trade("o1")],
        final=replace(final, instruments=final.instruments.assign(strange=[0, count])),
    )


NOTHING: dict[str, tuple[Evidence, Mapping[str, str]]] = {
    "a run in which every operation was refused": (
        evidence([REFUSED, Read(FRESH, outcome=FAIL), Read(REPLICA, outcome=FAIL)]),
        {
            "lost_acks": "no order was acknowledged: none to lose",
            "duplicates": NO_ORDER,
            "phantoms": NO_ORDER,
            "executions": NO_ORDER,
            "real_time": "no order and no fresh read was answered",
            "sessions": "no fresh read was answered",
            "replicas": "no replica read was answered",
        },
    ),
    "a run in which only reads were answered": (
        evidence([REFUSED, Read(FRESH), Read(REPLICA)]),
        {
            "lost_acks": "no order was acknowledged: none to lose",
            "duplicates": NO_ORDER,
            "phantoms": NO_ORDER,
            "executions": NO_ORDER,
        },
    ),
    "a run in which nobody knows what came of an order": (
        evidence([Trade("o1", INFO, executed=False)]),
        {
            "lost_acks": "no order was acknowledged: none to lose",
            "duplicates": NO_ORDER,
            "phantoms": NO_ORDER,
            "executions": NO_ORDER,
            "real_time": "no order and no fresh read was answered",
        },
    ),
    "a final read without accounts": (
        evidence([Trade("o1")], final=without("accounts")),
        {"money": "the final read has no account to look at"},
    ),
    "a final read without instruments": (
        evidence([Trade("o1")], final=without("instruments")),
        {"prices": "the final read has no price to look at"},
    ),
    "no read before the load": (
        replace(evidence([Trade("o1")]), opening=None),
        {"opening": "the database was not read before the load"},
    ),
    "orders under ids of nobody's make": (
        strange(2),
        {
            "opening": "2 orders came under ids that no client of labkit makes: "
            "another program's, or booked twice"
        },
    ),
    "an ack that the ledger lacks, and a refusal that it has": (
        evidence(
            [Trade("o1"), Trade("o2"), Trade("o3"), replace(REFUSED, order_id="o4", executed=True)],
            ledger=["o1", "o4"],
        ),
        {
            "lost_acks": "the recording is defective: the ledger lacks 2 acks of the history, "
            "the history refused 1 ack of the ledger"
        },
    ),
    "no final read": (
        replace(evidence([Trade("o1"), Read(FRESH), Read(REPLICA)]), final=None),
        {checker.name: "the database could not be read after the run" for checker in CHECKERS},
    ),
}


@pytest.mark.parametrize(("seen", "said"), NOTHING.values(), ids=NOTHING)
def test_what_could_not_be_looked_at_is_unknown_and_said(seen: Evidence, said: Mapping[str, str]):
    found = findings(seen)
    unknown = {name: one.summary for name, one in found.items() if one.verdict is Verdict.UNKNOWN}
    assert unknown == said
