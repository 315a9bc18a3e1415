"""The trading desk: all panes of one person, on one page."""

from __future__ import annotations

from typing import Any

from ipywidgets import Box, Widget

from labkit.cluster.base import Cluster
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.ui.account import AccountView
from labkit.ui.cluster_map import ClusterMap
from labkit.ui.instrument import InstrumentView
from labkit.ui.load import LoadSwitch
from labkit.ui.session import Session
from labkit.ui.ticket import TradeTicket
from labkit.ui.watchlist import Watchlist
from labkit.ui.where import WhereAmI


class TradingDesk(Box):  # type: ignore[misc]
    """Trade, watch and break a cluster. Each pane can be shown alone, too: `desk.ticket`.

    Whatever asks the database or the cluster does so beside the kernel's main thread, with a
    deadline; what cannot be reached is shown with its age. `close` ends all that.

    Attributes:
        where: the region to trade from, and fresh or nearby prices.
        watchlist: the instruments and their prices.
        instrument: the chosen one, with its chart.
        ticket: the order slip.
        account: money, positions, orders, notifications.
        cluster_map: the cluster, and the buttons that break it.
        load: the workload's switch; `load.board` draws it.
    """

    def __init__(
        self, cluster: Cluster, *, account_nbr: str = DEMO_ACCOUNT, region: str | None = None
    ) -> None:
        """Make a desk on a cluster.

        Args:
            account_nbr: who trades.
            region: whose balancer the page trades through at first; the topology's first one when
                None.

        Raises:
            UnknownTarget: no such region.
        """
        self.session = Session(cluster, account_nbr=account_nbr, region=region)
        self.where = WhereAmI(self.session)
        self.watchlist = Watchlist(self.session)
        self.instrument = InstrumentView(self.session)
        self.ticket = TradeTicket(self.session)
        self.account = AccountView(self.session)
        self.load = LoadSwitch(cluster)
        self.cluster_map = ClusterMap(cluster, on_fault=self.load.fault)
        self._panes: dict[Widget, str] = {
            self.where: "wide",
            self.watchlist: "watchlist",
            self.instrument: "instrument",
            self.ticket: "ticket",
            self.cluster_map: "wide",
            self.load: "wide",
            self.load.board: "wide",
            self.account: "wide",
        }
        for pane, place in self._panes.items():
            pane.add_class(f"lk-desk-{place}")
        super().__init__(list(self._panes))
        self.add_class("lk-desk")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        return bundle | self.cluster_map.stand_in("The trading desk")

    def close(self) -> None:
        """End everything that the desk began; faults stay as they are. Idempotent."""
        for pane in self._panes:
            pane.close()
        self.session.end()
        super().close()
