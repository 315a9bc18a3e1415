"""The plan of orders, which is made before anything is sent.

By default the load is open loop: replies do not delay it, so an outage cannot hide the orders that
would have met it (coordinated omission). Arrivals are a Poisson process: gaps are exponential, as
from many customers who do not know of each other, and do not fall into step with timers of the
servers or with the windows of a chart. The sum of the regions is a Poisson process again.

In a closed loop a customer orders when the last order has its outcome. That shows how much a
cluster can serve, and hides for how long it served nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, count, cycle, repeat
from random import Random
from typing import NamedTuple

from labkit.trading.ids import RunId
from labkit.trading.orders import Order, Side
from labkit.workload.shape import Shape

LARGEST_ORDER = 10
"""An order has 1 to so many shares."""
CUSTOMER_BITS = 20
"""A session's number is its worker's, shifted by so many bits, plus the customer's place."""


class Planned(NamedTuple):
    """An order and the moment at which it is due.

    Attributes:
        at_s: seconds after the schedule's start; 0 in a closed loop.
        session: the customer. An account that orders in two regions is two customers.
    """

    at_s: float
    order: Order
    session: int


def due_times(rate_per_s: Shape | None, seed: int, worker: int) -> Iterator[float]:
    """Yield when each order is due, in seconds after the start; 0 in a closed loop (None)."""
    return repeat(0.0) if rate_per_s is None else rate_per_s.arrivals(f"arrivals {seed} {worker}")


def plan(
    run: RunId,
    worker: int,
    *,
    rate_per_s: Shape | None,
    seed: int,
    accounts: Sequence[str],
    symbols: Sequence[str],
    skew: float = 0.0,
) -> Iterator[Planned]:
    """Yield endless orders of one worker. For the same seed and worker only their ids differ.

    Accounts and symbols come in a shuffled order, each as often as the others, so that no order
    waits for the lock that the last order of the same row still holds. Sides and quantities are
    random.

    Args:
        rate_per_s: None in a closed loop, where each order is due at once.
        skew: the exponent of Zipf's law. Above 0, symbols are drawn, and the n-th is `n ** skew`
            times as rare as the first.
    """
    random = Random(f"orders {seed} {worker}")
    next_customer = cycle(random.sample(range(len(accounts)), len(accounts)))
    evenly = cycle(random.sample(symbols, len(symbols)))
    next_symbol = _drawn(symbols, skew, f"symbols {seed} {worker}") if skew else evenly
    sides = tuple(Side)
    for sequence, at_s in zip(count(), due_times(rate_per_s, seed, worker), strict=False):
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


def _drawn(symbols: Sequence[str], skew: float, seed: str) -> Iterator[str]:
    random = Random(seed)
    cumulative = list(accumulate(rank**-skew for rank in range(1, len(symbols) + 1)))
    while True:
        yield from random.choices(symbols, cum_weights=cumulative, k=100)
