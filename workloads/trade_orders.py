"""Orders placed and processed: a class for dbworkload, and for `labkit load orders`.

    dbworkload run -w workloads/trade_orders.py --uri "$(labkit dsn us-east-1)" -c 4 -d 60

Arguments (`--args '{"region_index": 1}'`), all optional:

    region_index  the customers' region, by its place in the topology; CockroachDB keeps their
                  orders there
    region        its name; it must be given for a place that the default topology does not have
    regions       how many regions are driven at the same time, each by a generator of its own
    process       whether each loop also processes orders, the own ones and what else is due; true
                  when left out
    seed          makes accounts, symbols, sides and quantities the same in every run
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import psycopg

from labkit.errors import TradingError
from labkit.trading.catalogue import GENERATED_ACCOUNTS, GENERATED_SYMBOLS
from labkit.trading.orders import Order, Side, place_order
from labkit.trading.processing import Queue, claim_orders, complete_orders
from labkit.workload.arguments import Arguments

LARGEST_ORDER = 10
"""Shares of an order are drawn from 1 to this."""


class TradeOrders:
    """One thread of customers.

    Threads, also those of other regions, have different accounts and instruments while there are
    enough. So none waits for a row that another one has locked while its commit crosses the WAN.
    """

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = Arguments.of(args)
        self._queue = Queue(self._args.region)
        self._unanswered: Order | None = None

    def setup(self, _conn: psycopg.Connection[Any], id: int, total_thread_count: int) -> None:  # noqa: A002 - dbworkload's name
        """Take this thread's share of what there is to trade."""
        seed, regions = self._args.seed, self._args.regions
        threads = total_thread_count * regions
        number = (id * regions + self._args.region_index) % threads
        self._random = Random(None if seed is None else f"{seed} {number}")
        self._accounts = _share(GENERATED_ACCOUNTS, number, threads)
        self._symbols = _share(GENERATED_SYMBOLS, number, threads)

    def loop(self) -> list[Callable[[psycopg.Connection[Any]], None]]:
        """Return what a customer does, again and again."""
        if self._unanswered is None:
            self._unanswered = Order.new(
                self._random.choice(self._accounts),
                self._random.choice(self._symbols),
                self._random.choice(tuple(Side)),
                self._random.randint(1, LARGEST_ORDER),
                region_index=self._args.region_index,
            )
        if self._args.process:
            return [self.place_order, self.process_orders]
        return [self.place_order]

    def place_order(self, conn: psycopg.Connection[Any]) -> None:
        """Place the order at hand; without an answer it stays at hand, under the same id.

        Whoever runs this calls it again, or calls `loop` again after it has reconnected: an order
        that is in the database already is answered, not placed twice.
        """
        assert self._unanswered is not None
        try:
            place_order(conn, self._unanswered)
        except TradingError:
            self._unanswered = None  # refused, as it would be again
            raise
        self._unanswered = None

    def process_orders(self, conn: psycopg.Connection[Any]) -> None:
        """Take the orders that are due and execute them, whoever placed them.

        What was taken and not completed, because the connection died, is due again when the lease
        is over.
        """
        claim = claim_orders(conn, self._queue)
        if claim.order_ids:
            complete_orders(conn, claim)


def _share(of: tuple[str, ...], number: int, threads: int) -> tuple[str, ...]:
    return of[number % len(of) :: threads]
