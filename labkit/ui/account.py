"""One person's money, positions, orders and what happened to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.trading.portfolio import PastOrder, Position
from labkit.ui.pane import Pane, script, style
from labkit.ui.session import Session


class AccountView(Pane):
    """Balance, positions with profit and loss, the life of every order, notifications.

    A position that is sold again stays, for what it won or lost.
    """

    _esm = script("account")
    _css = style("account")

    def __init__(self, session: Session) -> None:
        self._session = session
        super().__init__()
        self._show()
        session.watch("account", self._show)

    def do_deposit(self, content: Mapping[str, Any]) -> None:
        """Money is to be added."""
        self._session.add_money(str(content["amount"]), float(content["clicked_ms"]) / 1000)

    def _show(self) -> None:
        session = self._session
        seen = session.book
        book = seen.value
        self.view = {
            **seen.to_page(),
            "balance": str(book.account.balance) if book else None,
            "positions": [_position(one) for one in book.positions] if book else [],
            "orders": [_order(one) for one in book.orders] if book else [],
            "notices": [notice.to_page() for notice in session.notices.newest],
            "deposit": session.teller.slip.to_page(),
        }


def _position(held: Position) -> dict[str, object]:
    return {
        "symbol": held.symbol,
        "quantity": held.quantity,
        "price": str(held.current_price),
        "worth": str(held.value),
        "profit": float(held.profit),
    }


def _order(one: PastOrder) -> dict[str, object]:
    life = {
        "received": one.received_at,
        "processing": one.processing_at,
        "processed": one.processed_at,
    }
    return {
        "id": str(one.order_id),
        "number": str(one.order_nbr),
        "side": one.side,
        "quantity": one.quantity,
        "symbol": one.symbol,
        "price": str(one.unit_price),
        "status": one.status,
        "life": {word: round(at.timestamp() * 1000) for word, at in life.items() if at},
    }
