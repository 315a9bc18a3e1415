"""Small histories with known answers. Times are seconds, as on a monotonic clock."""

from __future__ import annotations

from itertools import count

from labkit.history import Op, Outcome

_numbers = count(1)


def orders(
    region: str,
    start_s: float,
    end_s: float,
    *,
    per_s: float = 20,
    latency_s: float = 0.05,
    ends_s: float | None = None,
    outcome: Outcome = Outcome.OK,
) -> list[Op]:
    """Orders scheduled evenly in [start_s, end_s), each done after `latency_s`, or at `ends_s`."""
    n = round((end_s - start_s) * per_s)
    return [
        order(
            region,
            start_s + i / per_s,
            ends_s if ends_s is not None else start_s + i / per_s + latency_s,
            outcome,
        )
        for i in range(n)
    ]


def order(
    region: str,
    scheduled_s: float,
    finished_s: float,
    outcome: Outcome = Outcome.OK,
    *,
    order_id: str = "",
) -> Op:
    """One order, sent when it was scheduled."""
    return Op(
        scheduled_s=scheduled_s,
        sent_s=scheduled_s,
        finished_s=finished_s,
        region=region,
        kind="order",
        outcome=outcome,
        order_id=order_id or f"{region}-{next(_numbers)}",
    )


def outage(region: str, start_s: float, end_s: float, *, per_s: float = 20) -> list[Op]:
    """Orders scheduled in an outage: all stall and are acknowledged when it ends."""
    return orders(region, start_s, end_s, per_s=per_s, ends_s=end_s)
