"""Orders as a client places them, and what they leave in the database."""

from __future__ import annotations

from decimal import Decimal

import psycopg

from labkit.clock import wait_until
from labkit.trading.attempts import Reply, reply_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.orders import Order, Receipt, place_order
from labkit.trading.quotes import quote


def balance(conn: psycopg.Connection, account_nbr: str = DEMO_ACCOUNT) -> Decimal:
    row = conn.execute(
        "SELECT balance FROM accounts WHERE account_nbr = %s", (account_nbr,)
    ).fetchone()
    assert row
    return row[0]


def price(conn: psycopg.Connection, symbol: str) -> Decimal:
    return quote(conn, symbol).price


def counts(conn: psycopg.Connection) -> tuple[int, int]:
    """How many orders there are, and how many order_received activities."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_activity"
        " WHERE order_status = 'order_received')"
    ).fetchone()
    assert row
    return row


def place(conn: psycopg.Connection, order: Order) -> Receipt:
    """Place an order as a client does: again, if the attempt was rolled back."""
    while True:
        try:
            return place_order(conn, order)
        except psycopg.Error as error:
            if reply_of(error) is not Reply.ROLLED_BACK:
                raise


def place_alone(dsn: str, order: Order) -> Receipt:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return place(conn, order)


def backend_waiting(
    conn: psycopg.Connection, event: str, *, query: str = "placed_order_nbr"
) -> int:
    """The pid of the one backend that waits for `event` while it runs such a query."""
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event = %s"
        " AND query LIKE %s AND pid <> pg_backend_pid()"
    )
    arguments = (event, f"%{query}%")
    wait_until(
        lambda: conn.execute(waiting, arguments).fetchall(),
        what=f"a backend waiting for {event}",
        timeout_s=10,
        poll_s=0.02,
    )
    [(pid,)] = conn.execute(waiting, arguments).fetchall()
    return int(pid)


def held(conn: psycopg.Connection, symbol: str = "AAPL") -> int:
    row = conn.execute(
        "SELECT quantity FROM positions WHERE account_nbr = %s AND symbol = %s",
        (DEMO_ACCOUNT, symbol),
    ).fetchone()
    return row[0] if row else 0
