"""The account of one person, read again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from labkit.cluster.base import Cluster
from labkit.trading.portfolio import (
    Account,
    PastOrder,
    Position,
    account,
    order_history,
    positions,
)
from labkit.ui.line import RegionLine
from labkit.ui.polling import Poller, Seen

BOOK_S: Final = 1.0
LAST_ORDERS: Final = 30


@dataclass(frozen=True, slots=True)
class Book:
    """One account, by three reads one after the other.

    Attributes:
        orders: the last `LAST_ORDERS`, the newest first.
    """

    account: Account
    positions: tuple[Position, ...]
    orders: tuple[PastOrder, ...]


def watch_book(
    cluster: Cluster,
    account_nbr: str,
    region: Callable[[], str],
    tell: Callable[[Seen[Book]], None],
) -> Poller[Book]:
    """Begin to read an account through the balancer of the region that `region` returns."""
    lines = RegionLine(cluster)

    def read() -> Book:
        line = lines.to(region())
        return Book(
            line.ask(lambda conn: account(conn, account_nbr)),
            line.ask(lambda conn: positions(conn, account_nbr)),
            line.ask(lambda conn: order_history(conn, account_nbr, limit=LAST_ORDERS)),
        )

    return Poller(read, tell, every_s=BOOK_S, name="account")
