"""The client that reads prices, as customers do between their orders.

A fresh read asks where prices are written, and shows only what cannot be undone any more
(`quotes.fresh_quote`); a replica read asks a copy in the client's own region. Both are recorded
with the moves that they were shown, so that checkers can say whether time allowed it. A read
changes nothing: one whose answer was lost is simply sent again, and one without an answer at its
deadline is FAIL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from time import monotonic

from labkit.record import Op, OpKind, Outcome
from labkit.trading.quotes import fresh_quote_async, quote_async
from labkit.trading.retries import Patience, insist_async
from labkit.workload.pool import Pool

REMEMBERED_ORDERS = 50
"""A customer looks at the symbols of so many last orders of the region."""


class PriceReader:
    """A reader of the prices of one region, on connections of its own, so that no order waits."""

    def __init__(
        self,
        region: str,
        pools: Mapping[OpKind, Pool],
        patience: Patience,
        record: Callable[[Op], None],
        *,
        replica_share: float,
        seed: str,
    ) -> None:
        self._replica_share = replica_share
        self._region = region
        self._pools = pools
        self._patience = patience
        self._record = record
        self._random = Random(seed)
        self._ordered: deque[tuple[int, str]] = deque(maxlen=REMEMBERED_ORDERS)

    def ordered(self, session: int, symbol: str) -> None:
        """Record that a customer has ordered a symbol, whose price may be read from now on."""
        self._ordered.append((session, symbol))

    async def look(self, scheduled_s: float) -> None:
        """Read the price of a symbol that was ordered lately, fresh or in a replica, if any was."""
        if self._ordered:
            session, symbol = self._random.choice(self._ordered)
            replica = self._random.random() < self._replica_share
            kind: OpKind = OpKind.REPLICA_READ if replica else OpKind.FRESH_READ
            await self.read(scheduled_s, kind, symbol, session=session)

    async def read(self, scheduled_s: float, kind: OpKind, symbol: str, *, session: int) -> None:
        """Read one price, with retries until its deadline, and record it."""
        ask = fresh_quote_async if kind is OpKind.FRESH_READ else quote_async
        attempts, shown = await insist_async(
            self._pools[kind],
            partial(ask, symbol=symbol),
            deadline_s=scheduled_s + self._patience.deadline_s,
            attempt_timeout_s=self._patience.attempt_timeout_s,
        )
        self._record(
            Op(
                scheduled_s=scheduled_s,
                sent_s=attempts.sent_s,
                finished_s=monotonic(),
                region=self._region,
                kind=kind,
                outcome=Outcome.OK if shown else Outcome.FAIL,
                order_id="",
                symbol=symbol,
                side="",
                session=session,
                move_nbr=shown.moves if shown else None,
                price_cents=shown.price_cents if shown else None,
                attempts=attempts.count,
                sqlstate=attempts.sqlstate,
            )
        )
