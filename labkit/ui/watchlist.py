"""The instruments and what they cost, live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.trading.quotes import Instrument
from labkit.ui.pane import Pane, script, style
from labkit.ui.session import Session


class Watchlist(Pane):
    """Last prices and what all orders made of them; choosing a row chooses the instrument."""

    _esm = script("watchlist")
    _css = style("watchlist")

    def __init__(self, session: Session) -> None:
        self._session = session
        super().__init__()
        self._show()
        session.watch("prices", self._show)

    def do_choose(self, content: Mapping[str, Any]) -> None:
        """Choose a symbol: its row was pressed."""
        self._session.choose(str(content["symbol"]))

    def _show(self) -> None:
        session = self._session
        reading = session.reading
        self.view = {
            **reading.seen.to_page(),
            "symbol": session.symbol,
            "fresh": session.fresh,
            "stale_s": reading.stale_s,
            "behind": reading.behind,
            "rows": [_row(one) for one in (reading.seen.value or {}).values()],
        }


def _row(one: Instrument) -> dict[str, object]:
    return {
        "symbol": one.symbol,
        "name": one.name,
        "price": str(one.current_price),
        "moves": one.moves,
        "change": float(one.change),
    }
