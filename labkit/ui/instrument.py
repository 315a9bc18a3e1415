"""One instrument: its price as the orders made it, and what is known of it."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go
import traitlets

from labkit.report.figures import theme
from labkit.trading.quotes import Instrument
from labkit.ui.pane import Pane, plotly_module, script, style
from labkit.ui.session import Session

STATISTICS = (
    ("market_cap", "Market cap"),
    ("pe_ratio", "P/E ratio"),
    ("dividend_yield_percent", "Dividend yield"),
    ("average_volume_millions", "Average volume"),
    ("volume_millions", "Volume"),
    ("open_price", "Open"),
    ("high_today", "High today"),
    ("low_today", "Low today"),
    ("high_52_week", "52-week high"),
    ("low_52_week", "52-week low"),
)
ABOUT = (
    ("ceo", "CEO"),
    ("founded", "Founded"),
    ("employees", "Employees"),
    ("headquarters", "Headquarters"),
)
UNITS = {
    "dividend_yield_percent": "{} %",
    "average_volume_millions": "{} M",
    "volume_millions": "{} M",
    "employees": "{:,}",
}


class InstrumentView(Pane):
    """The price chart of the chosen instrument, About and Key statistics.

    Every point of the chart is an order that moved the price; nothing is made up between them.
    """

    _esm = script("instrument")
    _css = style("instrument")

    points: traitlets.List[object] = traitlets.List().tag(sync=True)
    """Sent by themselves, so only when an order moved the price: symbol, then milliseconds and
    price of each."""

    def __init__(self, session: Session) -> None:
        self._session = session
        super().__init__(figure=json.loads(_skeleton().to_json()), **plotly_module())
        self._show()
        session.watch("prices", self._show)

    def _show(self) -> None:
        session = self._session
        seen = session.reading.seen
        one = (seen.value or {}).get(session.symbol)
        self.view = {
            **seen.to_page(),
            "symbol": session.symbol,
            **(_known(one) if one else {}),
        }
        self.points = [session.symbol, *session.market.history.points(session.symbol)]


def _known(one: Instrument) -> dict[str, object]:
    return {
        "name": one.name,
        "price": str(one.current_price),
        "change": float(one.change),
        "percent": round(float(one.change / one.initial_price) * 100, 2),
        "description": one.details.get("description", ""),
        "as_of": one.details.get("as_of"),
        "about": _rows(one, ABOUT),
        "statistics": _rows(one, STATISTICS),
    }


def _rows(one: Instrument, keys: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Those of the document's values that are known."""
    return [
        (label, UNITS.get(key, "{}").format(one.details[key]))
        for key, label in keys
        if one.details.get(key) is not None
    ]


def _skeleton() -> go.Figure:
    axis: dict[str, Any] = {"title": None, "automargin": True}
    return go.Figure(
        data=[
            go.Scatter(
                mode="lines+markers",
                line={"shape": "hv", "color": theme.REGION_COLORS[0], "width": 2.5},
                marker={"size": 5},
                hovertemplate="%{y:,.2f}<extra></extra>",
            )
        ],
        layout={
            "template": theme.TEMPLATE,
            "height": 230,
            "margin": {"l": 60, "r": 8, "t": 8, "b": 32},
            "showlegend": False,
            "xaxis": {**axis, "type": "date", "nticks": 5, "tickangle": 0},
            "yaxis": {**axis, "rangemode": "normal", "tickformat": ",.2f", "nticks": 6},
        },
    )
