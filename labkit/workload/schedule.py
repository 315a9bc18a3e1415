"""What is sent when, decided before anything is sent.

The load is open loop: replies do not delay it, so an outage cannot hide the orders that would have
met it (coordinated omission). Arrivals are a Poisson process: gaps are exponential, as from many
customers who do not know of each other, and do not fall into step with timers of the servers or
with the windows of a chart. The sum of the regions is a Poisson process again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from random import Random

from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side

LARGEST_ORDER = 10
"""Shares of an order are drawn from 1 to this."""
CUSTOMER_BITS = 20
"""A session's number is the worker's, shifted by this, and the customer's place in the worker."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An order and its moment.

    Attributes:
        at_s: seconds after the schedule's start.
        session: the customer. One account ordered from in two regions is two customers.
    """

    at_s: float
    order: Order
    session: int


def arrivals(rate_per_s: float, seed: str) -> Iterator[float]:
    """Endless arrival times in seconds after the start, ascending; the same for the same seed."""
    random = Random(seed)
    at_s = 0.0
    while True:
        at_s += random.expovariate(rate_per_s)
        yield at_s


def plan(
    run: RunId,
    worker: int,
    *,
    rate_per_s: float,
    seed: int,
    accounts: Sequence[str],
    symbols: Sequence[str],
) -> Iterator[Planned]:
    """Endless orders of one worker; all but their ids is the same for the same seed and worker.

    Accounts and symbols are gone through in a shuffled order, each as often as the others, so
    that a row is not ordered from again while its last order still holds its lock. Sides and
    quantities are drawn.
    """
    random = Random(f"orders {seed} {worker}")
    next_customer = cycle(random.sample(range(len(accounts)), len(accounts)))
    next_symbol = cycle(random.sample(symbols, len(symbols)))
    sides = tuple(Side)
    times_s = arrivals(rate_per_s, f"arrivals {seed} {worker}")
    for sequence, at_s in zip(count(), times_s, strict=False):
        customer = next(next_customer)
        yield Planned(
            at_s,
            Order(
                run.order_id(worker, sequence),
                accounts[customer],
                next(next_symbol),
                random.choice(sides),
                random.randint(1, LARGEST_ORDER),
            ),
            session=worker << CUSTOMER_BITS | customer,
        )
