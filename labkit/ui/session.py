"""One person at a desk: what is watched for them, through which region, and what they ordered."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from time import time
from typing import Final

from labkit.cluster.base import Cluster
from labkit.errors import BadInput
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.ui.book import Book, watch_book
from labkit.ui.market import Market, Reading
from labkit.ui.notices import Notices
from labkit.ui.office import process_orders
from labkit.ui.order_desk import OrderDesk, Ticket
from labkit.ui.polling import Seen
from labkit.ui.teller import Slip, Teller

TOPICS: Final = ("prices", "orders", "account")


class Session:
    """The state that the panes of one desk share; `watch` calls back on each change.

    Attributes:
        region: whose balancer orders and reads go through.
        fresh: whether prices are read from the node that takes the orders, or from one nearby.
            A page shows what that node has, which on PostgreSQL may be an order that no standby
            has yet (`quotes.quote`).
        symbol: the chosen instrument.
        market: the prices of every region.
        orders: the order tickets.
        teller: the deposits.
        notices: what happened to orders and deposits.
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
        self.region = cluster.topology.region(region).name if region else names[0]
        self.fresh = True
        self.symbol = "AAPL"
        self._watchers: dict[str, list[Callable[[], None]]] = {topic: [] for topic in TOPICS}
        self.notices = Notices()
        self.teller = Teller(cluster, account_nbr, lambda: self.region, self._deposit_changed)
        self.orders = OrderDesk(
            cluster, account_nbr, self.region, lambda: self.changed("orders"), self._order_done
        )
        self.market = Market(cluster, self.region, self.symbol, self._prices_read)
        self._book = watch_book(cluster, account_nbr, lambda: self.region, self._book_read)
        self._office = process_orders(cluster, lambda: self.region, self._book.soon)

    def watch(self, topic: str, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from any thread, when something of a topic may have changed."""
        self._watchers[topic].append(on_change)

    def changed(self, topic: str) -> None:
        """Tell those who watch a topic."""
        for on_change in self._watchers[topic]:
            on_change()

    def end(self) -> None:
        """Watch no more. Idempotent."""
        self.market.end()
        self._book.end()
        self._office.end()

    @property
    def book(self) -> Seen[Book]:
        """The account, as it was read last."""
        return self._book.seen

    @property
    def reading(self) -> Reading:
        """The last prices of the chosen region, read in the chosen way."""
        return self.market.reading(self.region, self.fresh)

    def move_to(self, region: str) -> None:
        """Trade through another region's balancer.

        Raises:
            UnknownTarget: no such region.
        """
        self.region = self.cluster.topology.region(region).name
        self.orders.move_to(self.region)
        self._book.soon()
        self._look_again()

    def read_fresh(self, fresh: bool) -> None:
        """Show prices from the node that takes the orders, or from one nearby."""
        self.fresh = fresh
        self._look_again()

    def choose(self, symbol: str) -> None:
        """Choose an instrument."""
        self.symbol = symbol
        self._look_again()
        for topic in TOPICS:
            self.changed(topic)

    def add_money(self, amount: str, clicked_s: float) -> None:
        """Add money to the account, as a page wrote it.

        Raises:
            ValueError: it is no amount.
        """
        try:
            self.teller.deposit(Decimal(amount), clicked_s)
        except (InvalidOperation, BadInput) as error:
            raise ValueError(f"no amount: {amount!r}") from error

    def _look_again(self) -> None:
        self.market.look_at(self.region, self.symbol)
        self.changed("prices")

    def _prices_read(self, region: str, fresh: bool) -> None:
        if (region, fresh) == (self.region, self.fresh):
            self.changed("prices")

    def _deposit_changed(self, slip: Slip) -> None:
        if slip.state == "acked":
            self.notices.add("deposit", slip.text)
        elif slip.state != "sending":
            self.notices.add(slip.state, slip.text)
        self._book.soon()
        self.changed("account")

    def _book_read(self, seen: Seen[Book]) -> None:
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


def _of(side: str, quantity: int, symbol: str) -> str:
    return f"{side.capitalize()} {quantity:,} {symbol}"


def now_ms() -> int:
    """Return the time as pages count it."""
    return round(time() * 1000)
