"""One person's money, positions, orders and what happened to them."""

from __future__ import annotations

from labkit.trading.book import Holding, PastOrder
from labkit.trading.quotes import Instrument
from labkit.ui.pane import Pane, script, style
from labkit.ui.session import Session


class AccountView(Pane):
    """Balance, positions with profit and loss, the life of every order, notifications.

    Profit or loss of a position is what it is worth now, and what its sells brought, less what its
    buys cost.
    """

    _esm = script("account")
    _css = style("account")

    def __init__(self, session: Session) -> None:
        self._session = session
        super().__init__()
        self._show()
        for topic in ("account", "prices"):
            session.watch(topic, self._show)

    def _show(self) -> None:
        session = self._session
        seen = session.book
        prices = session.reading().seen.value or {}
        book = seen.value
        self.view = {
            **seen.to_page(),
            "balance": str(book.balance) if book else None,
            "positions": [_position(one, prices.get(one.symbol)) for one in book.holdings]
            if book
            else [],
            "orders": [_order(one) for one in book.orders] if book else [],
            "notices": [notice.to_page() for notice in session.notices.newest],
            "deposit": None,
        }


def _position(held: Holding, instrument: Instrument | None) -> dict[str, object]:
    price = instrument.current_price if instrument else None
    worth = None if price is None else price * held.quantity
    return {
        "symbol": held.symbol,
        "quantity": held.quantity,
        "price": None if price is None else str(price),
        "worth": None if worth is None else str(worth),
        "profit": None if worth is None else float(worth - held.paid),
    }


def _order(one: PastOrder) -> dict[str, object]:
    return {
        "id": str(one.order_id),
        "number": one.order_nbr,
        "side": one.side.value,
        "quantity": one.quantity,
        "symbol": one.symbol,
        "price": str(one.unit_price),
        "status": one.status,
        "life": {word: round(at.timestamp() * 1000) for word, at in one.life.items()},
    }
