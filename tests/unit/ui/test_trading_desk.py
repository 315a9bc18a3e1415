from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import enumerate as threads
from time import time
from uuid import uuid4

import pytest

from labkit.clock import wait_until
from labkit.errors import LabBusy
from labkit.testing import FakeCluster
from labkit.trading.portfolio import Account, PastOrder, Position
from labkit.trading.quotes import Instrument
from labkit.ui import order_desk
from labkit.ui.book import Book
from labkit.ui.load import connections_for, the_only_load
from labkit.ui.market import ELSEWHERE_S, HERE_S, Reading
from labkit.ui.notices import Notices
from labkit.ui.polling import Seen
from labkit.ui.trading_desk import TradingDesk

APPLE = Instrument(
    "AAPL",
    "Apple Inc.",
    Decimal("191.51"),
    Decimal("191.71"),
    moves=2,
    details={"open_price": 191.51, "ceo": "Timothy Donald Cook", "employees": 161000, "as_of": "x"},
)


@pytest.fixture
def desk() -> Iterator[TradingDesk]:
    """On a cluster whose every connection is refused."""
    cluster = FakeCluster()
    cluster.start()
    desk = TradingDesk(cluster)
    yield desk
    desk.close()


def show(desk: TradingDesk, *, region: str = "us-west-2", fresh: bool = True) -> None:
    for poller in desk.session.market._pollers.values():
        poller.end()
    seen = Seen({"AAPL": APPLE}, at_s=time(), took_s=0.01)
    desk.session.market._readings[region, fresh] = Reading(seen, stale_s=1.5, behind=3)
    desk.session.changed("prices")


def test_a_database_that_cannot_be_reached_is_told_on_every_pane_and_nothing_waits(
    desk: TradingDesk,
) -> None:
    for pane in (desk.watchlist, desk.instrument, desk.ticket, desk.account):
        wait_until(
            lambda pane=pane: "refused" in pane.view["problem"], what="problem", timeout_s=30
        )
        assert pane.view["seen_ms"] == 0
    wait_until(
        lambda: "refused" in desk.where.view["regions"][2]["fresh"]["problem"],
        what="the farthest region",
        timeout_s=30,
    )
    wait_until(
        lambda: desk.cluster_map.view.get("summary") == "9 of 9 nodes running",
        what="the map",
        timeout_s=30,
    )


def test_a_price_is_shown_with_what_its_orders_made_of_it(desk: TradingDesk) -> None:
    show(desk)
    (row,) = desk.watchlist.view["rows"]
    assert (row["symbol"], row["price"], row["change"]) == ("AAPL", "191.71", 0.2)
    view = desk.instrument.view
    assert ("CEO", "Timothy Donald Cook") in view["about"]
    assert ("Employees", "161,000") in view["about"]
    assert view["statistics"] == [("Open", "191.51")]
    assert desk.ticket.view["instruments"][0]["name"] == "Apple Inc."


def test_nearby_prices_are_shown_with_their_measured_age(desk: TradingDesk) -> None:
    desk.where.do_fresh({"fresh": False})
    show(desk, fresh=False)
    assert desk.watchlist.view["fresh"] is False
    assert (desk.watchlist.view["stale_s"], desk.watchlist.view["behind"]) == (1.5, 3)


def test_another_region_is_looked_at_more_closely(desk: TradingDesk) -> None:
    desk.where.do_region({"name": "eu-west-1"})
    every_s = {
        region: poller.every_s for (region, _), poller in desk.session.market._pollers.items()
    }
    assert every_s == {"us-west-2": ELSEWHERE_S, "us-east-1": ELSEWHERE_S, "eu-west-1": HERE_S}
    assert desk.where.view["region"] == desk.ticket.view["region"] == "eu-west-1"
    desk.where.do_region({"name": "mars"})
    assert desk.where.view["region"] == "eu-west-1"


def test_choosing_an_instrument_is_seen_by_all_panes(desk: TradingDesk) -> None:
    desk.watchlist.do_choose({"symbol": "MSFT"})
    for pane in (desk.watchlist, desk.instrument, desk.ticket):
        assert pane.view["symbol"] == "MSFT"


def test_a_fault_of_the_map_is_a_band_on_the_board(desk: TradingDesk) -> None:
    desk.cluster_map.do_inject({"kind": "kill", "target": "us-east-1/2"})
    wait_until(lambda: desk.load.board._faults, what="a band", timeout_s=10)
    wait_until(
        lambda: desk.cluster_map.view["log"][0]["state"] == "effect", what="the kill", timeout_s=10
    )
    desk.cluster_map.do_heal({"target": "us-east-1/2"})
    wait_until(
        lambda: all(fault.healed_s for fault in desk.load.board._faults.values()),
        what="the end of the band",
        timeout_s=10,
    )


@pytest.mark.parametrize("rate", [0.0, -5.0, 1e9, float("nan")])
def test_a_rate_out_of_range_starts_nothing(desk: TradingDesk, rate: float) -> None:
    with pytest.raises(ValueError, match="choose 1 to 300 orders per second"):
        desk.load.start(rate)
    assert desk.load.view["state"] == "off"


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (0, "a rate of 0 is out of range: "),
        (-5, "a rate of -5 is out of range: "),
        (1e9, "a rate of 1e+09 is out of range: "),
        (None, "no rate: "),
    ],
)
def test_a_page_is_told_why_its_rate_is_refused(
    desk: TradingDesk, rate: float | None, told: str
) -> None:
    desk.load.do_start({"rate_per_s": rate})
    assert desk.load.view["problem"].startswith(told)
    assert desk.load.view["state"] == "off"


@pytest.mark.parametrize(
    ("rate_per_s", "connections"), [(0.3, 6), (10, 6), (100 / 3, 14), (100, 20)]
)
def test_a_load_opens_the_connections_that_its_rate_needs(
    rate_per_s: float, connections: int
) -> None:
    assert connections_for(rate_per_s) == connections


class Lab(FakeCluster):
    """One that several processes may find."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home


def test_of_two_pages_one_has_the_load_and_the_other_is_told(tmp_path: Path) -> None:
    with (
        the_only_load(Lab(tmp_path)),
        pytest.raises(LabBusy, match="another page"),
        the_only_load(Lab(tmp_path), wait_s=0),
    ):
        pass
    with the_only_load(Lab(tmp_path)):
        pass


def test_a_closed_desk_asks_no_more() -> None:
    before = set(threads())
    desk = TradingDesk(FakeCluster())
    desk.close()
    wait_until(lambda: set(threads()) <= before, what="the end of its threads", timeout_s=30)


def test_an_order_that_cannot_be_sent_is_a_notice(
    desk: TradingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_desk, "GIVE_UP_S", 0.2)
    ticket = desk.ticket.view["ticket"]
    desk.ticket.do_submit(
        {
            "id": ticket["id"],
            "symbol": "AAPL",
            "side": "buy",
            "quantity": 5,
            "clicked_ms": time() * 1000,
        }
    )
    wait_until(lambda: desk.account.view["notices"], what="a notice", timeout_s=20)
    (notice,) = desk.account.view["notices"]
    assert notice["kind"] == "refused"
    assert "Buy 5 AAPL" in notice["text"]
    assert "refused" in notice["text"]


def test_the_account_is_shown_with_what_its_positions_won(desk: TradingDesk) -> None:
    now = datetime.now(UTC)
    order = PastOrder(
        uuid4(), 7, "AAPL", "buy", 10, Decimal("190.00"), 1, "processing", now, now, None
    )
    held = (
        Position("AAPL", 10, Decimal("1900.00"), Decimal("191.71")),
        Position("MSFT", 0, Decimal("-3.50"), Decimal("429.82")),  # sold again, with a profit
    )
    money = Account("0005821112", "Demo", HUNDRED_K, Decimal(0), Decimal("98100.00"), False)
    desk.session._book.end()
    desk.session._book.seen = Seen(Book(money, held, (order,)), at_s=time())
    desk.session.changed("account")
    view = desk.account.view
    assert view["balance"] == desk.ticket.view["balance"] == "98100.00"
    assert [(one["worth"], one["profit"]) for one in view["positions"]] == [
        ("1917.10", 17.1),
        ("0.00", 3.5),
    ]
    (shown,) = view["orders"]
    assert (shown["number"], shown["status"]) == ("7", "processing")
    assert set(shown["life"]) == {"received", "processing"}


HUNDRED_K = Decimal("100000.00")


def test_an_order_is_told_processed_once_and_not_when_it_was_so_before() -> None:
    notices = Notices()
    notices.processed({"a": "Buy 1 AAPL"})
    assert notices.newest == []
    notices.processed({"a": "Buy 1 AAPL", "b": "Sell 2 AAPL"})
    notices.processed({"a": "Buy 1 AAPL", "b": "Sell 2 AAPL"})
    assert [notice.text for notice in notices.newest] == ["Sell 2 AAPL is processed"]
