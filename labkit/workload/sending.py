"""When the next thing is sent: by schedule (open loop), or when the last is through (closed)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any

from labkit.workload.shape import Shape

LOOK_EVERY_S = 0.05
"""How often a closed loop whose level changes is looked at."""


Run = Callable[[float], Coroutine[Any, Any, None]]
"""Does one thing; called with the monotonic time in seconds at which it is due. It returns when the
outcome is known."""

Job = tuple[float, Run]
"""When it is due, in seconds after the start (not looked at in a closed loop), and what to run."""


async def send(jobs: Iterator[Job], concurrency: Shape | None, stop: asyncio.Event) -> None:
    """Send until told to stop, or until there are no more; then see what is under way to its end.

    Args:
        concurrency: how many at the same time, in a closed loop; None: by schedule.
    """
    async with asyncio.TaskGroup() as under_way:
        if concurrency is None:
            sending = under_way.create_task(_by_schedule(jobs, under_way))
        else:
            sending = under_way.create_task(_in_a_loop(jobs, concurrency, stop, under_way))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        stopped.cancel()


async def _by_schedule(jobs: Iterator[Job], under_way: asyncio.TaskGroup) -> None:
    begun_s = monotonic()
    for at_s, run in jobs:
        due_s = begun_s + at_s
        await asyncio.sleep(max(0.0, due_s - monotonic()))
        under_way.create_task(run(due_s))


async def _in_a_loop(
    jobs: Iterator[Job], concurrency: Shape, stop: asyncio.Event, under_way: asyncio.TaskGroup
) -> None:
    begun_s = monotonic()
    customers: dict[int, asyncio.Task[None]] = {}
    more = True
    changes_for_s = sum(piece.for_s for piece in concurrency.pieces)

    def wanted() -> int:
        return max(1, round(concurrency.level(monotonic() - begun_s)))

    async def customer(number: int) -> None:
        nonlocal more
        for _, run in jobs:
            await run(monotonic())
            if stop.is_set() or (changes_for_s and number >= wanted()):
                return
        more = False

    def begin() -> None:
        for number in range(wanted()):
            if number not in customers or customers[number].done():
                customers[number] = under_way.create_task(customer(number))

    while more and monotonic() < begun_s + changes_for_s:
        begin()
        await asyncio.sleep(LOOK_EVERY_S)
    begin()
    await asyncio.wait(customers.values())
