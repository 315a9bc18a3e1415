"""What the checkers must say of the demo's mistakes."""

from __future__ import annotations

from buggy_app import Sold
from labkit.trading.audit import FinalRead
from labkit.verdict.checkers import NoDuplicates, NoLostAcks, PriceExact
from labkit.verdict.finding import OFFENDERS_SHOWN, Verdict


def assert_caught(sold: Sold, final: FinalRead, symbol: str) -> None:
    """Duplicates and prices fail: the one names the orders sent twice, the other the symbol.

    No order is lost, so what is found is what the application did wrong, not the cluster.
    """
    seen = sold.evidence(final)
    assert NoLostAcks().check(seen).verdict is Verdict.PASS
    twice = NoDuplicates().check(seen)
    assert twice.verdict is Verdict.FAIL
    assert twice.count == len(sold.resubmitted)
    named = {offender.split(":")[0] for offender in twice.offenders}
    assert named <= sold.resubmitted
    assert len(named) == min(twice.count, OFFENDERS_SHOWN)
    prices = PriceExact().check(seen)
    assert prices.verdict is Verdict.FAIL
    assert prices.offenders[0].startswith(f"{symbol}: ")
