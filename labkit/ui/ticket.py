"""The order slip: what to buy or sell, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.errors import BadInput
from labkit.trading.orders import MAX_QUANTITY
from labkit.ui.pane import Pane, script, style
from labkit.ui.session import Session


class TradeTicket(Pane):
    """Buys and sells, one order a ticket, with every state of it visible."""

    _esm = script("ticket")
    _css = style("ticket")

    def __init__(self, session: Session) -> None:
        self._session = session
        super().__init__(max_quantity=MAX_QUANTITY)
        self._show()
        for topic in ("prices", "orders", "account"):
            session.watch(topic, self._show)

    def do_submit(self, content: Mapping[str, Any]) -> None:
        """Send the ticket: the page's button was pressed."""
        try:
            self._session.orders.submit(
                str(content["id"]),
                str(content["symbol"]),
                str(content["side"]),
                int(content["quantity"]),
                float(content["clicked_ms"]) / 1000,
            )
        except BadInput as error:  # the page refuses these itself
            self.log.warning("ticket refused: %s", error)

    def do_choose(self, content: Mapping[str, Any]) -> None:
        """Another instrument was picked."""
        self._session.choose(str(content["symbol"]))

    def do_drop(self, _content: Mapping[str, Any]) -> None:
        """Return a fresh ticket, in place of one whose outcome is unknown."""
        self._session.orders.drop()

    def do_deposit(self, content: Mapping[str, Any]) -> None:
        """Money is to be added, where a buy was refused for want of it."""
        self._session.add_money(str(content["amount"]), float(content["clicked_ms"]) / 1000)

    def _show(self) -> None:
        session = self._session
        seen = session.reading.seen
        last = session.orders.last
        self.view = {
            **seen.to_page(),
            "region": session.region,
            "symbol": session.symbol,
            "instruments": [
                {"symbol": one.symbol, "name": one.name, "price": str(one.current_price)}
                for one in (seen.value or {}).values()
            ],
            "ticket": session.orders.ticket.to_page(),
            "last": last.to_page() if last else None,
            "deposit": session.teller.slip.to_page(),
            "balance": str(book.account.balance) if (book := session.book.value) else None,
        }
