"""The open loop, which sends by schedule, and the closed loop, which sends after an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from math import inf
from time import monotonic
from typing import Any

from labkit.workload.shape import Shape

LOOK_EVERY_S = 0.05
"""A closed loop compares its customers with its level so often, in seconds."""

Run = Callable[[float], Coroutine[Any, Any, None]]
"""Does one job, until its outcome is recorded. Its argument is when the job is due, by
`time.monotonic`."""

Job = tuple[float, Run]
"""When a job is due, in seconds after the start (unused in a closed loop), and what to run."""


async def send(
    jobs: Iterator[Job], concurrency: Shape | None, stop: asyncio.Event, under_way: UnderWay
) -> None:
    """Run jobs until told to stop, or until none is left; then wait for those under way.

    The error of a job goes to the exception handler of the event loop.

    Args:
        concurrency: how many jobs run at the same time in a closed loop; None for a schedule.
        under_way: kept up to date; it belongs to this call alone.
    """
    if concurrency is None:
        sending = asyncio.create_task(_by_schedule(jobs, under_way))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            stopped.cancel()
        if not sending.cancelling():
            sending.result()
    else:
        await _in_a_loop(jobs, concurrency, stop, under_way)
    await under_way.none()


class UnderWay:
    """The jobs that have begun and not ended, and the moment at which the next is due."""

    def __init__(self) -> None:
        # also what keeps the tasks: the event loop has weak references only
        self._due_s: dict[asyncio.Task[None], float] = {}
        self._next_s = inf

    @property
    def watermark_s(self) -> float:
        """The monotonic time before which every due job has ended. It never decreases."""
        oldest_s = next(iter(self._due_s.values()), inf)
        return min(monotonic(), self._next_s, oldest_s)

    def expect(self, due_s: float) -> None:
        """Set when the next job is due, which is not earlier than any job under way."""
        self._next_s = due_s

    def begin(self, run: Run, due_s: float) -> asyncio.Task[None]:
        """Begin a job, and return the task that does it."""
        task = asyncio.create_task(run(due_s))
        self._due_s[task] = due_s
        task.add_done_callback(self._ended)
        return task

    async def none(self) -> None:
        """Wait until those under way have ended; no other begins meanwhile."""
        if self._due_s:
            await asyncio.wait(self._due_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.result()  # a job that failed was not recorded, so it stays under way
        del self._due_s[task]


async def _by_schedule(jobs: Iterator[Job], under_way: UnderWay) -> None:
    begun_s = monotonic()
    for at_s, run in jobs:
        due_s = begun_s + at_s
        under_way.expect(due_s)
        await asyncio.sleep(max(0.0, due_s - monotonic()))
        under_way.begin(run, due_s)
    under_way.expect(inf)


async def _in_a_loop(
    jobs: Iterator[Job], concurrency: Shape, stop: asyncio.Event, under_way: UnderWay
) -> None:
    begun_s = monotonic()
    changes_for_s = sum(piece.for_s for piece in concurrency.pieces)
    present: set[int] = set()
    more = True

    def wanted() -> int:
        return max(1, round(concurrency.level(monotonic() - begun_s)))

    async def customer(number: int) -> None:
        nonlocal more
        while not stop.is_set() and (not changes_for_s or number < wanted()):
            if (job := next(jobs, None)) is None:
                more = False
                break
            await under_way.begin(job[1], monotonic())
        present.remove(number)

    async with asyncio.TaskGroup() as customers:
        changes = True
        while changes and more and not stop.is_set():
            changes = monotonic() < begun_s + changes_for_s
            for number in range(wanted()):
                if number not in present:
                    present.add(number)
                    customers.create_task(customer(number))
            if changes:
                await asyncio.sleep(LOOK_EVERY_S)
