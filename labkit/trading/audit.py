"""The final read: what the database holds when a run is over, to hold against what was acked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pandas as pd
import psycopg

from labkit import libpq
from labkit.errors import ClusterError, NotReady, OutcomeUnknown
from labkit.history import read_columns, reading, write_columns
from labkit.trading.attempts import Reply, reply_of, watch_sync_wait
from labkit.trading.connection import hanging_up_after
from labkit.trading.ids import RunId

FINAL, OPENING = "final", "opening"
"""When a read was taken: after the healing, or before the load."""

READ_FILES = tuple(
    f"{moment}_{part}.parquet"
    for moment in (FINAL, OPENING)
    for part in ("orders", "instruments", "accounts")
)
"""What the reads of a run are called in its folder."""

ORDER_COLUMNS = {
    "order_id": "str",
    "account_nbr": "category",
    "symbol": "category",
    "side": "category",
    "quantity": "int32",
    "unit_price_cents": "int64",
    "move_nbr": "int64",
    "received": "int32",
    "statuses": "category",
    "executions": "int32",
    "trades": "int32",
    "trades_off": "int32",
    "status": "category",
}
INSTRUMENT_COLUMNS = {
    "symbol": "str",
    "initial_price_cents": "int64",
    "current_price_cents": "int64",
    "moves": "int64",
    "buys": "int64",
    "sells": "int64",
    "strange": "int64",
}
ACCOUNT_COLUMNS = {
    "account_nbr": "str",
    "opening_balance_cents": "int64",
    "deposits_cents": "int64",
    "balance_cents": "int64",
    "bought_cents": "int64",
    "sold_cents": "int64",
    "positions_off": "int64",
    "oversold": "int64",
}


@dataclass(frozen=True)
class FinalRead:
    """The contents of the database at one moment: at the end of a run, or before its load.

    Read in one SERIALIZABLE transaction through a balancer's read-write port: on PostgreSQL that
    is a snapshot, on CockroachDB all is as of the commit (transactions.md, v25.4). The same
    transaction ends with a write that must be acknowledged, so the node it was read from could
    still commit: on PostgreSQL it was the primary, not one that lost its place and had not
    noticed; on CockroachDB what was read had a majority behind it.

    Attributes:
        orders: this run's. Columns: order_id, account_nbr, symbol, side ("buy" or "sell"),
            quantity, unit_price_cents, move_nbr (its place among those that moved the price),
            received (how many order_received activities it has), statuses (of all its activities
            in the order they were written, with commas between them), executions, trades (how many
            it has), trades_off (how many of its trades are not of its symbol, side, price and
            quantity), status (what the order itself says).
        instruments: all. Columns: symbol, initial_price_cents, current_price_cents, moves (how many
            orders have moved the price, as the price says), buys, sells (how many of all orders in
            the database, not this run's alone), strange (how many of these have an id that no
            labkit client makes). An instrument whose price is lost has current_price_cents 0 and
            moves 0.
        accounts: all. Columns: account_nbr, opening_balance_cents, deposits_cents, balance_cents,
            bought_cents, sold_cents (over all deposits and orders in the database), positions_off
            (in how many instruments the account's position, or its cost, is not what it bought less
            what it sold), oversold (in how many it holds less than nothing and may not).
    """

    orders: pd.DataFrame
    instruments: pd.DataFrame
    accounts: pd.DataFrame

    def save(self, folder: Path, moment: str = FINAL) -> None:
        """Write `final_orders.parquet`, `final_instruments.parquet`, `final_accounts.parquet`.

        Args:
            moment: `FINAL`, or `OPENING`: the files' names begin with it.
        """
        for field in fields(self):
            write_columns(getattr(self, field.name), self.file(folder, field.name, moment))

    @classmethod
    def load(
        cls,
        folder: Path,
        moment: str = FINAL,
        *,
        order_columns: Sequence[str] = tuple(ORDER_COLUMNS),
    ) -> FinalRead:
        """Read back what `save` wrote.

        Args:
            order_columns: of `orders`, those that are wanted.

        Raises:
            FileNotFoundError: the folder holds no such read.
            BadInput: a part of it is damaged.
        """

        def part(name: str, columns: Mapping[str, str], wanted: Sequence[str]) -> pd.DataFrame:
            path = cls.file(folder, name, moment)
            frame = read_columns(path, wanted)
            with reading(path):
                return frame.astype({column: columns[column] for column in wanted})

        return cls(
            orders=part("orders", ORDER_COLUMNS, order_columns),
            instruments=part("instruments", INSTRUMENT_COLUMNS, tuple(INSTRUMENT_COLUMNS)),
            accounts=part("accounts", ACCOUNT_COLUMNS, tuple(ACCOUNT_COLUMNS)),
        )

    @staticmethod
    def file(folder: Path, name: str, moment: str = FINAL) -> Path:
        """Tell where one of the three is in a folder."""
        return folder / f"{moment}_{name}.parquet"


def kept(read: FinalRead | None, folder: Path, moment: str = FINAL) -> FinalRead | None:
    """Keep a read in a run folder, if there is one; the same read."""
    if read is not None:
        read.save(folder, moment)
    return read


def read_in(folder: Path, moment: str = FINAL) -> FinalRead | None:
    """Read back what a run folder has of a moment; None when it has nothing.

    Raises:
        BadInput: it is damaged.
        OSError: only a part of it is there.
    """
    there = any(FinalRead.file(folder, part.name, moment).exists() for part in fields(FinalRead))
    return FinalRead.load(folder, moment) if there else None


def opening_read(
    dsn: str, *, timeout_s: float = 60.0, attempt_timeout_s: float = 20.0
) -> FinalRead:
    """Read what the database holds before a load; it raises what `final_read` raises."""
    nobody = RunId(0)
    return final_read(dsn, nobody, timeout_s=timeout_s, attempt_timeout_s=attempt_timeout_s)


def final_read(
    dsn: str, run: RunId, *, timeout_s: float = 60.0, attempt_timeout_s: float = 20.0
) -> FinalRead:
    """Read what the database holds, trying again while the cluster comes back.

    Args:
        dsn: of a balancer's read-write port.
        timeout_s: seconds until no further attempt is begun.
        attempt_timeout_s: seconds for one attempt, connecting not counted.

    Raises:
        NotReady: no attempt succeeded in time; ends with what the last one met.
        ClusterError: the database refused in a way that waiting does not cure.
    """
    deadline_s = monotonic() + timeout_s
    while True:
        try:
            return _attempt(dsn, run, attempt_timeout_s)
        except (psycopg.Error, OutcomeUnknown) as error:
            if reply_of(error) is Reply.REFUSED:
                raise ClusterError(f"final read of run {run}: {error}") from error
            if monotonic() >= deadline_s:
                raise NotReady(
                    f"final read of run {run}: not done after {timeout_s:g} s ({error})"
                ) from error
        sleep(0.5)


def _attempt(dsn: str, run: RunId, timeout_s: float) -> FinalRead:
    # the server's own timeout ends a slow query in order; hanging up ends a server that is frozen
    with libpq.connect(dsn, connect_timeout=5) as conn, hanging_up_after(conn, timeout_s):
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        with watch_sync_wait(conn) as waited:
            conn.execute(STATEMENT_TIMEOUT.format(round(timeout_s * 1000)))
            read = FinalRead(
                orders=_frame(conn, ORDERS, ORDER_COLUMNS, {"first": run.first, "last": run.last}),
                instruments=_frame(conn, INSTRUMENTS, INSTRUMENT_COLUMNS),
                accounts=_frame(conn, ACCOUNTS, ACCOUNT_COLUMNS),
            )
            conn.execute(WRITE)
            conn.commit()
            waited.check()
        return read


def _frame(
    conn: psycopg.Connection[Any],
    query: str,
    columns: dict[str, str],
    arguments: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    rows = conn.execute(query, arguments).fetchall()
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


# One text for all engines. GROUP BY names every column: the key that they hang on is another one
# on CockroachDB.

STATEMENT_TIMEOUT: Final = "SET LOCAL statement_timeout = {}"
"""In milliseconds."""

# activity_id tells the order of an order's activities: each is written after the one before it was
# committed
ORDERS: Final = """
WITH
activity AS (
    SELECT order_id, count(*) FILTER (WHERE order_status = 'order_received') AS received,
        string_agg(order_status, ',' ORDER BY activity_id) AS statuses
    FROM order_activity WHERE order_id BETWEEN %(first)s AND %(last)s GROUP BY order_id
),
execution AS (
    SELECT e.order_id, count(DISTINCT e.execution_id) AS executions, count(t.trade_id) AS trades,
        count(t.trade_id) FILTER (WHERE t.symbol <> b.symbol OR t.order_type <> b.order_type
            OR t.trade_price <> b.unit_price OR t.quantity <> b.total_qty) AS trades_off
    FROM order_processing AS e
    JOIN orders AS b ON b.order_id = e.order_id
    LEFT JOIN trades AS t ON t.execution_id = e.execution_id
    WHERE e.order_id BETWEEN %(first)s AND %(last)s GROUP BY e.order_id
)
SELECT o.order_id::TEXT, o.account_nbr, o.symbol, o.order_type, o.total_qty,
    (o.unit_price * 100)::BIGINT, o.move_nbr, coalesce(a.received, 0), coalesce(a.statuses, ''),
    coalesce(e.executions, 0), coalesce(e.trades, 0), coalesce(e.trades_off, 0), o.order_status
FROM orders AS o
LEFT JOIN activity AS a ON a.order_id = o.order_id
LEFT JOIN execution AS e ON e.order_id = o.order_id
WHERE o.order_id BETWEEN %(first)s AND %(last)s
ORDER BY o.order_id
"""

# the 15th digit of a UUID is its version, 8 for the ids of labkit clients (trading/ids.py).
# a price that is lost is 0, which no price can be: the audit must see it, not pass over it
INSTRUMENTS: Final = """
SELECT i.symbol, (i.initial_price * 100)::BIGINT, (coalesce(p.current_price, 0) * 100)::BIGINT,
    coalesce(p.moves, 0),
    count(o.order_id) FILTER (WHERE o.order_type = 'buy'),
    count(o.order_id) FILTER (WHERE o.order_type = 'sell'),
    count(o.order_id) FILTER (WHERE substring(o.order_id::TEXT, 15, 1) <> '8')
FROM instruments AS i
LEFT JOIN prices AS p ON p.symbol = i.symbol
LEFT JOIN orders AS o ON o.symbol = i.symbol
GROUP BY i.symbol, i.initial_price, p.current_price, p.moves
ORDER BY i.symbol
"""

ACCOUNTS: Final = """
WITH
deposited AS (
    SELECT account_nbr, sum(amount) AS amount FROM deposits GROUP BY account_nbr
),
traded AS (
    SELECT account_nbr, symbol,
        sum(CASE order_type WHEN 'buy' THEN unit_price * total_qty ELSE 0 END) AS bought,
        sum(CASE order_type WHEN 'sell' THEN unit_price * total_qty ELSE 0 END) AS sold,
        sum(CASE order_type WHEN 'buy' THEN total_qty ELSE -total_qty END) AS held,
        sum(CASE order_type WHEN 'buy' THEN 1 ELSE -1 END * unit_price * total_qty) AS net_cost
    FROM orders GROUP BY account_nbr, symbol
),
money AS (
    SELECT account_nbr, sum(bought) AS bought, sum(sold) AS sold FROM traded GROUP BY account_nbr
),
off AS (
    SELECT coalesce(p.account_nbr, t.account_nbr) AS account_nbr, count(*) AS positions
    FROM positions AS p
    FULL JOIN traded AS t ON t.account_nbr = p.account_nbr AND t.symbol = p.symbol
    WHERE coalesce(p.quantity, 0) <> coalesce(t.held, 0)
        OR coalesce(p.net_cost, 0) <> coalesce(t.net_cost, 0)
    GROUP BY coalesce(p.account_nbr, t.account_nbr)
),
below AS (
    SELECT account_nbr, count(*) AS positions FROM positions WHERE quantity < 0
    GROUP BY account_nbr
)
SELECT a.account_nbr, (a.opening_balance * 100)::BIGINT, (coalesce(d.amount, 0) * 100)::BIGINT,
    (a.balance * 100)::BIGINT, (coalesce(m.bought, 0) * 100)::BIGINT,
    (coalesce(m.sold, 0) * 100)::BIGINT, coalesce(o.positions, 0),
    CASE WHEN a.may_short THEN 0 ELSE coalesce(b.positions, 0) END
FROM accounts AS a
LEFT JOIN deposited AS d ON d.account_nbr = a.account_nbr
LEFT JOIN money AS m ON m.account_nbr = a.account_nbr
LEFT JOIN off AS o ON o.account_nbr = a.account_nbr
LEFT JOIN below AS b ON b.account_nbr = a.account_nbr
ORDER BY a.account_nbr
"""

# users never change, so this meets no other writer than a second final read
WRITE: Final = """
UPDATE users SET name = name
WHERE user_id = (SELECT user_id FROM users ORDER BY user_id LIMIT 1)
"""
