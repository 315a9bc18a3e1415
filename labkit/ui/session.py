"""One person at a desk: what is watched for them, through which region, and what they ordered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from statistics import median
from threading import Lock
from time import time
from typing import Final

from labkit.cluster.base import Cluster
from labkit.errors import BadInput
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.portfolio import (
    Account,
    PastOrder,
    Position,
    account,
    order_history,
    positions,
)
from labkit.trading.processing import Queue, claim_orders, complete_orders
from labkit.trading.quotes import Instrument, instruments, price_history, quote
from labkit.ui.line import Line
from labkit.ui.notices import Notices
from labkit.ui.order_desk import OrderDesk, Ticket
from labkit.ui.polling import Poller, Seen
from labkit.ui.price_history import KEPT_POINTS, PriceHistory
from labkit.ui.staleness import Staleness
from labkit.ui.teller import Slip, Teller

Prices = Mapping[str, Instrument]

HERE_S: Final = 0.4
"""Between two looks at the own region's prices: another client's order shows within a second."""
ELSEWHERE_S: Final = 2.0
BOOK_S: Final = 1.0
LAST_ORDERS: Final = 30
OFFICE_S: Final = 1.0
"""Between two looks for orders to execute. Nobody else may be there to do it: no load, no other
desk. Where there are several, the lease keeps them out of each other's way."""
TOPICS: Final = ("prices", "orders", "account", "history")


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read the prices of a region: fresh, or from a replica nearby.

    Attributes:
        stale_s: how old the answer was at least, by what fresh reads had shown before.
        behind: how many orders it did not show.
    """

    seen: Seen[Prices]
    stale_s: float = 0.0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Book:
    """One account, by three reads one after the other.

    Attributes:
        orders: the last `LAST_ORDERS`, the newest first.
    """

    account: Account
    positions: tuple[Position, ...]
    orders: tuple[PastOrder, ...]


class Session:
    """What the panes of one desk share. Whoever wants to know of a change calls `watch`.

    Attributes:
        region: whose balancer orders and reads go through.
        fresh: whether prices are read from the node that takes the orders, or from one nearby.
            A page shows what that node has, which on PostgreSQL may be an order that no standby
            has yet (`quotes.quote`).
        symbol: the chosen instrument.
    """

    def __init__(
        self, cluster: Cluster, *, account_nbr: str = DEMO_ACCOUNT, region: str | None = None
    ) -> None:
        """Begin to watch prices, in every region.

        Raises:
            UnknownTarget: no such region.
        """
        names = cluster.topology.region_names
        self.cluster = cluster
        self.account_nbr = account_nbr
        self.region = cluster.topology.region(region).name if region else names[0]
        self.fresh = True
        self.symbol = "AAPL"
        self._watchers: dict[str, list[Callable[[], None]]] = {topic: [] for topic in TOPICS}
        self._lock = Lock()
        self._staleness = Staleness()
        self.history = PriceHistory()
        self._charted: set[str] = set()
        self._readings: dict[tuple[str, bool], Reading] = {}
        self.notices = Notices()
        self.teller = Teller(cluster, account_nbr, lambda: self.region, self._deposit_changed)
        self.orders = OrderDesk(
            cluster, account_nbr, self.region, lambda: self.changed("orders"), self._order_done
        )
        self._pollers = {
            (name, fresh): self._watch_prices(name, fresh)
            for name in names
            for fresh in (True, False)
        }
        self._lines: dict[str, Line] = {}
        self._office_line: tuple[str, Line] | None = None
        self._office = Poller(self._process, lambda _: None, every_s=OFFICE_S, name="back-office")
        self._book = Poller(self._read_book, self._tell_book, every_s=BOOK_S, name="account")

    def watch(self, topic: str, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from any thread, when something of a topic may have changed."""
        self._watchers[topic].append(on_change)

    def changed(self, topic: str) -> None:
        """Tell those who watch a topic."""
        for on_change in self._watchers[topic]:
            on_change()

    def end(self) -> None:
        """Watch no more. Idempotent."""
        for poller in self._pollers.values():
            poller.end()
        self._book.end()
        self._office.end()

    @property
    def book(self) -> Seen[Book]:
        """The account, as it was read last."""
        return self._book.seen

    def move_to(self, region: str) -> None:
        """Trade through another region's balancer.

        Raises:
            UnknownTarget: no such region.
        """
        self.region = self.cluster.topology.region(region).name
        self.orders.move_to(self.region)
        self._book.soon()
        self._look_closely()

    def read_fresh(self, fresh: bool) -> None:
        """Show prices from the node that takes the orders, or from one nearby."""
        self.fresh = fresh
        self._look_closely()

    def choose(self, symbol: str) -> None:
        """Choose an instrument."""
        self.symbol = symbol
        self._book.soon()
        for topic in TOPICS:
            self.changed(topic)

    def reading(self, region: str | None = None, fresh: bool | None = None) -> Reading:
        """Return the last prices, by default of the chosen region in the chosen way."""
        key = (region or self.region, self.fresh if fresh is None else fresh)
        with self._lock:
            return self._readings.get(key, Reading(Seen()))

    def order_ms(self, region: str) -> tuple[int, float | None, float | None]:
        """Count a region's acknowledged orders; gives the last one's ms and the median."""
        took = [
            ticket.took_s * 1000
            for ticket in self.orders.done
            if ticket.region == region and ticket.state == "acked" and ticket.took_s is not None
        ]
        return len(took), took[-1] if took else None, median(took) if took else None

    def add_money(self, amount: str, clicked_s: float) -> None:
        """Add money to the account, as a page wrote it.

        Raises:
            ValueError: it is no amount.
        """
        try:
            self.teller.deposit(Decimal(amount), clicked_s)
        except (InvalidOperation, BadInput) as error:
            raise ValueError(f"no amount: {amount!r}") from error

    def _deposit_changed(self, slip: Slip) -> None:
        if slip.state == "acked":
            self.notices.add("deposit", slip.text)
        elif slip.state != "sending":
            self.notices.add(slip.state, slip.text)
        self._book.soon()
        self.changed("account")

    def _process(self) -> int:
        """Process the orders that wait, the desk's and those of others."""
        region = self.region
        if self._office_line is None or self._office_line[0] != region:
            self._office_line = region, Line(self.cluster.dsn(region))
        line = self._office_line[1]
        claim = line.ask(lambda conn: claim_orders(conn, Queue(region)))
        if not claim.order_ids:
            return 0
        done = line.ask(lambda conn: complete_orders(conn, claim))
        self._book.soon()
        return done

    def _read_book(self) -> Book:
        """Read the account, and once for each symbol the orders that made its price."""
        region, symbol = self.region, self.symbol
        if region not in self._lines:
            self._lines = {region: Line(self.cluster.dsn(region))}
        line = self._lines[region]
        if symbol not in self._charted:
            first = line.ask(lambda conn: quote(conn, symbol)).moves - KEPT_POINTS
            moves = line.ask(lambda conn: price_history(conn, symbol, after=max(0, first)))
            self._charted.add(symbol)
            self.history.before(
                symbol, [(round(move.at.timestamp() * 1000), float(move.price)) for move in moves]
            )
            self.changed("history")
        nbr = self.account_nbr
        return Book(
            line.ask(lambda conn: account(conn, nbr)),
            line.ask(lambda conn: positions(conn, nbr)),
            line.ask(lambda conn: order_history(conn, nbr, limit=LAST_ORDERS)),
        )

    def _tell_book(self, seen: Seen[Book]) -> None:
        if seen.value and not seen.problem:
            done = [order for order in seen.value.orders if order.status == "processed"]
            self.notices.processed(
                {
                    str(one.order_id): f"{_of(one.side, one.quantity, one.symbol)}, "
                    f"order {one.order_nbr},"
                    for one in done
                }
            )
        self.changed("account")

    def _order_done(self, ticket: Ticket) -> None:
        order = ticket.order
        what = _of(order.side, order.quantity, order.symbol)
        if ticket.receipt:
            number, price = ticket.receipt.order_nbr, ticket.receipt.unit_price
            self.notices.add("acked", f"{what} at {price}, order {number}")
        else:
            self.notices.add(ticket.state, f"{what}: {ticket.reason}")
        self._book.soon()
        self.changed("account")

    def _look_closely(self) -> None:
        for (region, _), poller in self._pollers.items():
            poller.every_s = HERE_S if region == self.region else ELSEWHERE_S
            if region == self.region:
                poller.soon()
        self.changed("prices")

    def _watch_prices(self, region: str, fresh: bool) -> Poller[Prices]:
        line = Line(self.cluster.dsn(region, read_only=not fresh))

        def ask() -> Prices:
            return {one.symbol: one for one in line.ask(instruments)}

        def tell(seen: Seen[Prices]) -> None:
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
                    self.history.seen(
                        symbol, round(seen.at_s * 1000), float(one.current_price), one.moves
                    )
            if (region, fresh) == (self.region, self.fresh):
                self.changed("prices")

        every_s = HERE_S if region == self.region else ELSEWHERE_S
        way = "fresh" if fresh else "replica"
        return Poller(ask, tell, every_s=every_s, name=f"prices-{region}-{way}")


def _of(side: str, quantity: int, symbol: str) -> str:
    return f"{side.capitalize()} {quantity:,} {symbol}"


def now_ms() -> int:
    """Return the time as pages count it."""
    return round(time() * 1000)
