"""The prices of every region: read fresh and from a replica nearby, and what they were before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from labkit.cluster.base import Cluster
from labkit.trading.quotes import Instrument, instruments, price_history, quote
from labkit.ui.line import Line
from labkit.ui.polling import Poller, Seen
from labkit.ui.price_history import KEPT_POINTS, PriceHistory
from labkit.ui.staleness import Staleness

Prices = Mapping[str, Instrument]

HERE_S: Final = 0.4
"""Seconds between two looks at the prices of the page's own region: another client's order shows
within a second."""
ELSEWHERE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The last answer of one way to read the prices of a region.

    Attributes:
        stale_s: how old the answer was at least, by what fresh reads had shown before.
        behind: how many orders it did not show.
    """

    seen: Seen[Prices]
    stale_s: float = 0.0
    behind: int = 0


class Market:
    """Reads prices in every region, in threads of its own, until `end`.

    Attributes:
        history: the prices that each symbol had.
    """

    def __init__(
        self, cluster: Cluster, region: str, symbol: str, on_prices: Callable[[str, bool], None]
    ) -> None:
        """Begin to read.

        Args:
            region: the region to read most often.
            symbol: the symbol whose earlier prices are read too.
            on_prices: called from any thread after each read, with its region and whether it was
                fresh.
        """
        self.history = PriceHistory()
        self._cluster, self._on_prices = cluster, on_prices
        self._region, self._symbol = region, symbol
        self._lock = Lock()
        self._staleness = Staleness()
        self._charted: set[str] = set()
        self._readings: dict[tuple[str, bool], Reading] = {}
        self._pollers = {
            (name, fresh): self._watch(name, fresh)
            for name in cluster.topology.region_names
            for fresh in (True, False)
        }

    def end(self) -> None:
        """Read no more. Idempotent."""
        for poller in self._pollers.values():
            poller.end()

    def look_at(self, region: str, symbol: str) -> None:
        """Read a region most often, and the earlier prices of a symbol."""
        self._region, self._symbol = region, symbol
        for (name, _), poller in self._pollers.items():
            poller.every_s = self._every_s(name)
            if name == region:
                poller.soon()

    def reading(self, region: str, fresh: bool) -> Reading:
        """Return the last prices of a region; empty before there was an answer."""
        with self._lock:
            return self._readings.get((region, fresh), Reading(Seen()))

    def _every_s(self, region: str) -> float:
        return HERE_S if region == self._region else ELSEWHERE_S

    def _watch(self, region: str, fresh: bool) -> Poller[Prices]:
        line = Line(self._cluster.dsn(region, read_only=not fresh))

        def ask() -> Prices:
            if fresh and region == self._region and self._symbol not in self._charted:
                self._chart(line, self._symbol)
            return {one.symbol: one for one in line.ask(instruments)}

        def tell(seen: Seen[Prices]) -> None:
            self._take(region, fresh, seen)
            self._on_prices(region, fresh)

        way = "fresh" if fresh else "replica"
        return Poller(ask, tell, every_s=self._every_s(region), name=f"prices-{region}-{way}")

    def _chart(self, line: Line, symbol: str) -> None:
        """Read the orders that made a symbol's price, once per symbol."""
        first = line.ask(lambda conn: quote(conn, symbol)).moves - KEPT_POINTS
        moves = line.ask(lambda conn: price_history(conn, symbol, after=max(0, first)))
        self._charted.add(symbol)
        self.history.before(
            symbol, [(round(move.at.timestamp() * 1000), float(move.price)) for move in moves]
        )

    def _take(self, region: str, fresh: bool, seen: Seen[Prices]) -> None:
        moves = {symbol: one.moves for symbol, one in (seen.value or {}).items()}
        reading = Reading(seen)
        if not seen.problem and fresh:
            self._staleness.fresh(seen.at_s + seen.took_s, moves)
        elif seen.value:
            stale_s, behind = self._staleness.of(seen.at_s, moves)
            reading = Reading(seen, stale_s, behind)
        with self._lock:
            self._readings[region, fresh] = reading
        if not seen.problem:
            for symbol, one in (seen.value or {}).items():
                at_ms = round(seen.at_s * 1000)
                self.history.seen(symbol, at_ms, float(one.current_price), one.moves)
