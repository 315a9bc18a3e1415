"""The least that a Python client can do for an order: libpq in a loop, and nothing else.

    python bench/least.py URL CONNECTIONS

It plans nothing, writes nothing down, never times out and stops at the first error, so it is no
client to be used. It tells how much of a driver's cost is the language and how much is its work.
"""

from __future__ import annotations

import select
import sys
from itertools import count
from time import sleep

from psycopg.pq import ExecStatus, PGconn

from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.engines import POSTGRESQL
from labkit.trading.ids import RunId
from labkit.trading.order_statement import TYPES, numbered


def main(url: str, connections: int) -> None:
    """Place orders until killed, one under way on each connection."""
    statement = numbered(POSTGRESQL.place_order)
    first = RunId.new().order_id(0, 0).int
    accounts = [name.encode() for name in GENERATED_ACCOUNTS]
    symbols = [name.encode() for name in GENERATED_SYMBOLS]
    numbers = count()

    def order(conn: PGconn) -> None:
        n = next(numbers)
        values = (
            b"%032x" % (first + n),
            accounts[n % len(accounts)],
            symbols[n % len(symbols)],
            b"sell" if n % 2 else b"buy",
            b"1",
        )
        conn.send_query_params(statement, values, TYPES)
        conn.flush()

    poll = select.epoll()
    conns: dict[int, PGconn] = {}
    for _ in range(connections):
        conn = PGconn.connect(url.encode())
        conn.nonblocking = 1
        conns[conn.socket] = conn
        poll.register(conn.socket, select.EPOLLIN)
        order(conn)
        sleep(0.01)  # so that they do not all wait for the same answer
    while True:
        for descriptor, _ in poll.poll():
            conn = conns[descriptor]
            conn.consume_input()
            while not conn.is_busy():
                result = conn.get_result()
                if result is None:
                    order(conn)
                    break
                assert result.status == ExecStatus.TUPLES_OK, conn.get_error_message()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
