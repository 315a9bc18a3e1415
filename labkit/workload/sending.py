"""The open loop, which sends by schedule, and the closed loop, which sends after an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from labkit.workload.shape import Shape
from labkit.workload.tasks import Tasks

LOOK_EVERY_S = 0.05
"""A closed loop compares its customers with its level so often, in seconds."""

Done = Callable[[], None]

Run = Callable[[float, Done], None]
"""Begins one thing; called with the monotonic time in seconds at which it is due, and with what to
call when its outcome is known. That is never called before `Run` has returned."""

Job = tuple[float, Run]
"""When a job is due, in seconds after the start (unused in a closed loop), and what to run."""


async def send(
    jobs: Iterator[Job], concurrency: Shape | None, stop: asyncio.Event, under_way: UnderWay
) -> None:
    """Run jobs until told to stop, or until none is left; then wait for those under way.

    Args:
        concurrency: how many jobs run at the same time in a closed loop; None for a schedule.
        under_way: kept up to date; it belongs to this call alone.
    """
    if concurrency is None:
        sending = asyncio.create_task(_by_schedule(jobs, under_way))
    else:
        sending = asyncio.create_task(_in_a_loop(jobs, concurrency, stop, under_way))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        stopped.cancel()
    if not sending.cancelling():
        sending.result()
    await under_way.none()


def in_task(do: Callable[[float], Coroutine[Any, Any, None]]) -> Run:
    """Turn a coroutine function into a `Run`."""
    tasks = Tasks()

    async def to_its_end(due_s: float, done: Done) -> None:
        await do(due_s)
        done()

    return lambda due_s, done: tasks.start(to_its_end(due_s, done))


class UnderWay:
    """The jobs that have begun and not ended, and the moment at which the next is due."""

    def __init__(self) -> None:
        self._due_s: dict[int, float] = {}
        self._begun = 0
        self._next_s = inf
        self._none = asyncio.Event()
        self._none.set()

    @property
    def watermark_s(self) -> float:
        """The monotonic time before which every due job has ended. It never decreases."""
        oldest_s = next(iter(self._due_s.values()), inf)
        return min(monotonic(), self._next_s, oldest_s)

    def expect(self, due_s: float) -> None:
        """Set when the next job is due, which is not earlier than any job under way."""
        self._next_s = due_s

    def begin(self, due_s: float) -> Done:
        """Record that a job begins, and return the function to call at its end."""
        self._begun = number = self._begun + 1
        self._due_s[number] = due_s
        self._none.clear()

        def done() -> None:
            del self._due_s[number]
            if not self._due_s:
                self._none.set()

        return done

    async def none(self) -> None:
        """Wait until no job is under way."""
        await self._none.wait()


async def _by_schedule(jobs: Iterator[Job], under_way: UnderWay) -> None:
    begun_s = monotonic()
    for at_s, run in jobs:
        due_s = begun_s + at_s
        under_way.expect(due_s)
        await asyncio.sleep(max(0.0, due_s - monotonic()))
        run(due_s, under_way.begin(due_s))
    under_way.expect(inf)


async def _in_a_loop(
    jobs: Iterator[Job], concurrency: Shape, stop: asyncio.Event, under_way: UnderWay
) -> None:
    begun_s = monotonic()
    customers: set[int] = set()
    more = True
    changes_for_s = sum(piece.for_s for piece in concurrency.pieces)

    def wanted() -> int:
        return max(1, round(concurrency.level(monotonic() - begun_s)))

    def enter(number: int) -> None:
        def next_one() -> None:
            nonlocal more
            job = next(jobs, None)
            if job is None:
                more = False
                customers.remove(number)
            else:
                due_s = monotonic()
                job[1](due_s, partial(through, under_way.begin(due_s)))

        def through(last: Done) -> None:
            if stop.is_set() or (changes_for_s and number >= wanted()):
                customers.remove(number)
            else:
                next_one()
            last()  # after the next has begun, or nothing would seem to be under way

        customers.add(number)
        next_one()

    def begin() -> None:
        for number in range(wanted()):
            if number not in customers:
                enter(number)

    while more and monotonic() < begun_s + changes_for_s:
        begin()
        await asyncio.sleep(LOOK_EVERY_S)
    begin()
    await under_way.none()
