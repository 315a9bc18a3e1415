"""One person's orders: each under one id from the first click to its outcome."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from threading import Lock, Thread
from time import monotonic, time
from typing import Final

import psycopg

from labkit.cluster.base import Cluster
from labkit.errors import BadInput
from labkit.record import Outcome
from labkit.trading.orders import Order, Receipt, Side, place_order
from labkit.trading.retries import Attempts, insist
from labkit.ui.line import ANSWER_S, RegionLine
from labkit.ui.polling import first_line

GIVE_UP_S: Final = 12.0
"""From the click until no further attempt is begun; the order's outcome may be unknown then."""
TOO_LATE_S: Final = 10.0
"""A click that was this long on its way is not obeyed: its reader has given it up."""
STATES: Final = {Outcome.OK: "acked", Outcome.FAIL: "refused", Outcome.INFO: "unknown"}
"""The state on the page of a write that has ended."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order slip.

    Attributes:
        order: what is asked for, under the id it keeps; its last content before it was sent.
        state: "new", "sending", "acked", "refused" (not placed, certainly) or "unknown".
        region: whose balancer it goes through.
        attempts: how often it was sent.
        clicked_s: seconds since the epoch.
        took_s: from the click to the outcome.
        reason: why it was refused, or is not known.
        error: the class name of the refusal.
    """

    order: Order
    region: str
    state: str = "new"
    attempts: int = 0
    clicked_s: float = 0.0
    took_s: float | None = None
    receipt: Receipt | None = None
    reason: str = ""
    error: str = ""

    @property
    def cost(self) -> Decimal | None:
        """Return what was paid or received; None unless it was acked."""
        return self.receipt.amount if self.receipt else None

    def to_page(self) -> dict[str, object]:
        """Plain data for the page."""
        receipt = self.receipt
        return {
            "id": str(self.order.order_id),
            "symbol": self.order.symbol,
            "side": self.order.side.value,
            "quantity": self.order.quantity,
            "region": self.region,
            "state": self.state,
            "attempts": self.attempts,
            "clicked_ms": round(self.clicked_s * 1000),
            "took_ms": None if self.took_s is None else self.took_s * 1000,
            "number": str(receipt.order_nbr) if receipt else None,
            "price": str(receipt.unit_price) if receipt else None,
            "amount": str(receipt.amount) if receipt else None,
            "retried": receipt.retried if receipt else False,
            "reason": self.reason,
            "error": self.error,
        }


class OrderDesk:
    """Sends tickets, one at a time, each in a thread of its own.

    The id of the next ticket is made here before the page shows it. A second click comes with the
    same id, so it finds the ticket sent already and does nothing; a retry comes with the same id,
    so the database places it once.
    """

    def __init__(
        self,
        cluster: Cluster,
        account_nbr: str,
        region: str,
        on_change: Callable[[], None],
        on_done: Callable[[Ticket], None] = lambda ticket: None,
    ) -> None:
        """Make a desk with a blank ticket.

        Args:
            on_change: called from any thread when the ticket changed.
            on_done: called likewise with a ticket that came to its end.
        """
        self._cluster = cluster
        self._account_nbr = account_nbr
        self._on_change, self._on_done = on_change, on_done
        self._lock = Lock()
        self._region = region
        self._wire = Lock()
        self._line = RegionLine(cluster)
        self.ticket = self._blank(region)
        self.last: Ticket | None = None
        self.done: deque[Ticket] = deque(maxlen=200)
        self._warm_up()

    def move_to(self, region: str) -> None:
        """Send the next tickets through another region's balancer."""
        with self._lock:
            self._region = region
            if self.ticket.state == "new":
                self.ticket = self._blank(region)
        self._on_change()
        self._warm_up()

    def submit(
        self, ticket_id: str, symbol: str, side: str, quantity: int, clicked_s: float
    ) -> bool:
        """Send the ticket of that id, or ask again for one whose outcome is unknown.

        Returns:
            False when nothing is sent: it is not the ticket that waits, it is under way, or the
            click came too late.

        Raises:
            BadInput: no such side, or a quantity out of range.
        """
        if side not in tuple(Side):
            raise BadInput(f"no side {side!r}: buy or sell")
        with self._lock:
            ticket = self.ticket
            if str(ticket.order.order_id) != ticket_id or ticket.state == "sending":
                return False
            if ticket.state == "new":
                wanted = Order(
                    ticket.order.order_id, self._account_nbr, symbol, Side(side), quantity
                )
                ticket = replace(ticket, order=wanted)
            late_s = time() - clicked_s
            if late_s > TOO_LATE_S and ticket.attempts:
                return False  # its outcome stays unknown
            self.ticket = replace(ticket, state="sending", clicked_s=clicked_s, took_s=None)
            self.last = None
        if late_s > TOO_LATE_S:
            self._end("refused", BadInput(f"the click came {late_s:.0f} s late: not sent"))
            return False
        self._on_change()
        Thread(target=self._send, name="labkit-order", daemon=True).start()
        return True

    def drop(self) -> None:
        """Take a fresh ticket in place of one whose outcome is unknown."""
        with self._lock:
            if self.ticket.state == "unknown":
                self.last, self.ticket = self.ticket, self._blank(self._region)
        self._on_change()

    def took_ms(self, region: str) -> list[float]:
        """Return from click to answer of each acknowledged order of a region, in milliseconds."""
        return [
            ticket.took_s * 1000
            for ticket in self.done
            if ticket.region == region and ticket.state == "acked" and ticket.took_s is not None
        ]

    def _blank(self, region: str) -> Ticket:
        place = self._cluster.topology.region_names.index(region)
        order = Order.new(self._account_nbr, "", Side.BUY, 1, region_index=place)
        return Ticket(order, region)

    def _send(self) -> None:
        attempts = Attempts(Outcome.INFO if self.ticket.attempts else Outcome.FAIL)
        try:
            with self._wire:
                _, receipt = insist(
                    lambda: self._line.to(self.ticket.region).connect(),
                    lambda conn: place_order(conn, self.ticket.order),
                    deadline_s=monotonic() + GIVE_UP_S,
                    attempt_timeout_s=ANSWER_S,
                    attempts=attempts,
                    on_attempt=self._count_attempt,
                )
        except Exception as error:  # a bug: a thread has nobody else to tell
            self._end("unknown" if self.ticket.attempts else "refused", error)
            raise
        self._end(STATES[attempts.outcome], attempts.error, receipt)

    def _count_attempt(self) -> None:
        self.ticket = replace(self.ticket, attempts=self.ticket.attempts + 1)
        self._on_change()

    def _end(self, state: str, error: Exception | None, receipt: Receipt | None = None) -> None:
        with self._lock:
            ended = replace(
                self.ticket,
                state=state,
                reason=first_line(error) if error else "",
                error=type(error).__name__ if error else "",
                receipt=receipt,
                took_s=time() - self.ticket.clicked_s,
            )
            self.done.append(ended)
            if state == "unknown":
                self.ticket, self.last = ended, None
            else:
                self.last, self.ticket = ended, self._blank(self._region)
        self._on_done(ended)
        self._on_change()

    def _warm_up(self) -> None:
        """Connect ahead, so that the first order does not pay for it."""

        def connect() -> None:
            with self._wire, suppress(psycopg.Error):
                self._line.to(self._region).connect()

        Thread(target=connect, name="labkit-order-line", daemon=True).start()
