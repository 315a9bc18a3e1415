"""Order processors, and what they leave in the database."""

from __future__ import annotations

from collections import Counter
from typing import LiteralString
from uuid import UUID

import psycopg

from labkit.clock import wait_until
from labkit.trading.attempts import Reply, reply_of
from labkit.trading.catalogue import DEMO_ACCOUNT
from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side
from labkit.trading.processing import (
    Queue,
    claim_orders,
    complete_orders,
)

from .placing import place

HOME = "us-west-2"
QUEUE = Queue(HOME)
OVER_AT_ONCE = Queue(HOME, lease_s=0)


def place_some(conn: psycopg.Connection, run: RunId, count: int) -> list[UUID]:
    """Orders of one region, alternately buys of 2 and sells of 1, the oldest first."""
    orders = [
        Order(run.order_id(0, n), DEMO_ACCOUNT, "AAPL", (Side.BUY, Side.SELL)[n % 2], 2 - n % 2)
        for n in range(count)
    ]
    for order in orders:
        place(conn, order)
    return [order.order_id for order in orders]


def insist(action, *arguments):
    """As a processor does: again, if the attempt was rolled back."""
    while True:
        try:
            return action(*arguments)
        except psycopg.Error as error:
            if reply_of(error) is not Reply.ROLLED_BACK:
                raise


def process_all(conn: psycopg.Connection, queue: Queue = QUEUE) -> int:
    """Batch after batch until nothing is due; how many were executed."""
    executed = 0
    while (claim := insist(claim_orders, conn, queue)).order_ids:
        executed += insist(complete_orders, conn, claim)
    return executed


def not_once(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    """Orders that are not processed exactly once, with what each has."""
    return conn.execute(
        """
        SELECT * FROM (
            SELECT o.order_id, o.order_status,
                (SELECT count(*) FROM order_processing e WHERE e.order_id = o.order_id) AS executed,
                (SELECT count(*) FROM order_processing e JOIN trades t USING (execution_id)
                 WHERE e.order_id = o.order_id
                    AND (t.symbol, t.order_type) = (o.symbol, o.order_type)
                    AND (t.trade_price, t.quantity) = (o.unit_price, o.total_qty)) AS traded,
                (SELECT string_agg(order_status, ',' ORDER BY activity_id)
                 FROM order_activity a WHERE a.order_id = o.order_id) AS statuses
            FROM orders o) AS found
        WHERE order_status <> 'processed' OR executed <> 1 OR traded <> 1
            OR statuses !~ '^order_received(,processing)+,order_processed$'
        """
    ).fetchall()


def statuses(conn: psycopg.Connection) -> Counter[str]:
    return Counter(row[0] for row in conn.execute("SELECT order_status FROM orders"))


def fill_history(conn: psycopg.Connection, run: RunId, processed: int) -> None:
    """Orders that were processed long ago, as if 1000 others had moved the price before."""
    history = [(run.order_id(0, 10_000 + n), DEMO_ACCOUNT, n + 1_000) for n in range(processed)]
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO orders (order_id, account_nbr, symbol, total_qty, order_type, unit_price,"
            " move_nbr, order_status) VALUES (%s, %s, 'DIS', 1, 'buy', 1, %s, 'processed')",
            history,
        )
    conn.execute("VACUUM ANALYZE orders")


def rows_read(conn: psycopg.Connection, table: str) -> int:
    """By this session so far, less what it has reported already."""
    row = conn.execute(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = %s",
        (table,),
    ).fetchone()
    assert row
    return int(row[0])


STOP_HERE: LiteralString = """
CREATE FUNCTION stop_here() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7);
    RETURN NEW;
END $$;
"""


def stopped_backend(conn: psycopg.Connection, *, other_than: int = 0) -> int:
    """The pid of the backend that waits there."""
    found: list[tuple[int]] = []

    def stopped() -> bool:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
            " AND datname = current_database() AND pid <> %s"
        )
        found[:] = conn.execute(query, (other_than,)).fetchall()
        return bool(found)

    wait_until(stopped, what="a backend that was stopped", timeout_s=20, poll_s=0.02)
    [(pid,)] = found
    return pid
