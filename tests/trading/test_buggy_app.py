"""The demo's mistakes, under concurrent load on one real server: the checkers must say no."""

from __future__ import annotations

from buggy_app import trade
from buggy_app.verdict import assert_caught

from labkit.trading.audit import final_read
from labkit.trading.catalogue import GENERATED_ACCOUNTS
from labkit.trading.ids import RunId


def test_a_client_side_price_and_a_blind_resubmit_are_caught(dsn: str, run: RunId) -> None:
    sold = trade([dsn] * 6, run, GENERATED_ACCOUNTS[:6], "AAPL", orders=10)
    assert_caught(sold, final_read(dsn, run), "AAPL")
