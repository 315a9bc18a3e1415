"""The trading demo's mistakes, kept to prove that the checkers catch them.

- The price is updated by the client: it reads it, computes, and writes the result back, so of two
  orders at the same time one step is lost. (Places among the orders are taken from the database,
  whose constraint would refuse the same one twice.)
- Nothing is one transaction, and an order whose answer was lost is sent again as if it were new:
  its activity, its money and its place are booked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from threading import Barrier, Thread
from time import monotonic

import psycopg

from labkit.history import History
from labkit.record import Op, OpKind, Outcome
from labkit.trading.connection import hang_up
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side, cents
from labkit.verdict.evidence import Evidence

STEP = Decimal("0.10")


@dataclass(frozen=True)
class Sold:
    """What the clients believe, and which orders they sent twice."""

    history: History
    resubmitted: frozenset[str]

    @property
    def ledger(self) -> list[str]:
        return self.history.ops["order_id"].tolist()

    def evidence(self, final: object) -> Evidence:
        return Evidence.of(self.ledger, self.history, final)


def trade(
    dsns: Sequence[str], run: RunId, accounts: Sequence[str], symbol: str, *, orders: int
) -> Sold:
    """A client a DSN and account, all ordering the same symbol at the same time.

    Args:
        orders: of each client, the first one together with the others' first. After every fifth
            order a client loses its link before it hears of it.
    """
    together = Barrier(len(dsns))
    clients = [
        Client(number, dsn, run, account, symbol, together)
        for number, (dsn, account) in enumerate(zip(dsns, accounts, strict=True))
    ]
    threads = [Thread(target=client.trade, args=[orders]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [op for client in clients for op in client.ops]
    assert len(done) == orders * len(clients), "a client broke down"
    return Sold(History.of(done), frozenset(i for client in clients for i in client.resubmitted))


class Client:
    """One customer of the demo."""

    def __init__(
        self, number: int, dsn: str, run: RunId, account: str, symbol: str, together: Barrier
    ) -> None:
        self.number, self.dsn, self.run = number, dsn, run
        self.account, self.symbol, self.together = account, symbol, together
        self.random = Random(number)
        self.ops: list[Op] = []
        self.resubmitted: list[str] = []
        self.conn = self._connect()

    def trade(self, orders: int) -> None:
        with_all = True
        for sequence in range(orders):
            order = Order(
                self.run.order_id(self.number, sequence),
                self.account,
                self.symbol,
                self.random.choice(list(Side)),
                quantity=1,
            )
            sent_s = monotonic()
            place, price = self._place(order, wait=with_all)
            if sequence % 5 == 4:  # the answer is lost, so it is simply sent again
                self.resubmitted.append(str(order.order_id))
                hang_up(self.conn)
                self.conn = self._connect()
                place, price = self._place(order, wait=False)
            with_all = False
            self.ops.append(
                Op(
                    sent_s,
                    sent_s,
                    monotonic(),
                    f"client-{self.number}",
                    OpKind.ORDER,
                    Outcome.OK,
                    str(order.order_id),
                    order.symbol,
                    order.side,
                    session=self.number,
                    move_nbr=place,
                    price_cents=cents(price),
                )
            )
        self.conn.close()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=10)

    def _place(self, order: Order, *, wait: bool) -> tuple[int, Decimal]:
        [price] = self.conn.execute(
            "SELECT current_price FROM prices WHERE symbol = %s", (order.symbol,)
        ).fetchone()
        if wait:
            self.together.wait(60)
        [place] = self.conn.execute(
            "UPDATE prices SET moves = moves + 1 WHERE symbol = %s RETURNING moves",
            (order.symbol,),
        ).fetchone()
        self.conn.execute(
            "INSERT INTO orders (order_id, account_nbr, symbol, order_type, total_qty, unit_price,"
            " move_nbr) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (order_id) DO NOTHING",
            (
                *(order.order_id, order.account_nbr, order.symbol, order.side.value),
                *(order.quantity, price, place),
            ),
        )
        self.conn.execute(
            "INSERT INTO order_activity (order_id, order_status) VALUES (%s, 'order_received')",
            (order.order_id,),
        )
        sign = 1 if order.side is Side.BUY else -1
        self.conn.execute(
            "UPDATE accounts SET balance = balance - %s WHERE account_nbr = %s",
            (sign * price * order.quantity, order.account_nbr),
        )
        self.conn.execute(
            "UPDATE prices SET current_price = %s WHERE symbol = %s",
            (price + sign * STEP, order.symbol),
        )
        return place, price
