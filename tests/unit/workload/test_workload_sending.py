"""Sending keeps account of what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import accumulate, repeat
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.workload.sending import Job, UnderWay, send
from labkit.workload.shape import Shape, Steps

takes_s = st.lists(st.sampled_from([0.0, 0.001, 0.004, 0.01]), min_size=1, max_size=30)
gaps_s = st.sampled_from([0.0, 0.0005, 0.002])


class Witness:
    """Things that take their time; at each end it looks at what the watermark claims."""

    def __init__(self) -> None:
        self.under_way = UnderWay()
        self.due_s: list[float] = []
        self.ended_s: list[float] = []
        self.seen_s: list[float] = []
        self.wrong: list[float] = []

    def job(self, at_s: float, for_s: float) -> Job:
        async def run(due_s: float) -> None:
            self.due_s.append(due_s)
            await asyncio.sleep(for_s)
            self.look()
            self.ended_s.append(due_s)
            asyncio.get_running_loop().call_soon(self.look)

        return at_s, run

    def look(self) -> None:
        watermark_s = self.under_way.watermark_s
        self.seen_s.append(watermark_s)
        open_s = list(self.due_s)
        for due_s in self.ended_s:
            open_s.remove(due_s)
        self.wrong += [due_s for due_s in open_s if due_s < watermark_s]


def watch(
    jobs: Callable[[Witness], Iterator[Job]], concurrency: Shape | None, *, stop_after_s: float = 5
) -> Witness:
    async def go() -> Witness:
        witness, stop = Witness(), asyncio.Event()
        asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        await send(jobs(witness), concurrency, stop, witness.under_way)
        return witness

    return asyncio.run(go())


@given(takes_s, gaps_s)
def test_by_schedule_nothing_that_was_due_before_the_watermark_is_under_way(
    takes: list[float], gap_s: float
) -> None:
    def jobs(witness: Witness) -> Iterator[Job]:
        return map(witness.job, accumulate(repeat(gap_s)), takes)

    seen = watch(jobs, None)
    assert not seen.wrong
    assert seen.seen_s == sorted(seen.seen_s), "it went back"
    assert len(seen.ended_s) == len(takes)


@given(takes_s, st.sampled_from([Shape.of(1), Shape.of(4), Shape.of(Steps((1, 4), 0.01))]))
def test_in_a_loop_nothing_that_was_due_before_the_watermark_is_under_way(
    takes: list[float], concurrency: Shape
) -> None:
    def jobs(witness: Witness) -> Iterator[Job]:
        return map(witness.job, repeat(0.0), takes)

    seen = watch(jobs, concurrency)
    assert not seen.wrong
    assert seen.seen_s == sorted(seen.seen_s), "it went back"
    assert len(seen.ended_s) == len(takes)


@pytest.mark.parametrize("concurrency", [None, Shape.of(3)], ids=["by schedule", "in a loop"])
def test_what_is_under_way_when_it_is_told_to_stop_is_seen_to_its_end(
    concurrency: Shape | None,
) -> None:
    def jobs(witness: Witness) -> Iterator[Job]:
        return map(witness.job, accumulate(repeat(0.001)), repeat(0.03))

    seen = watch(jobs, concurrency, stop_after_s=0.05)
    assert seen.due_s
    assert sorted(seen.due_s) == sorted(seen.ended_s)


def test_the_watermark_does_not_pass_what_is_due_and_could_not_begin_yet() -> None:
    """As when the client's process was held up."""
    under_way = UnderWay()
    overdue_s = monotonic() - 3
    under_way.expect(overdue_s)
    assert under_way.watermark_s == overdue_s


def test_without_anything_under_way_the_watermark_is_now() -> None:
    under_way, due_s = UnderWay(), monotonic()

    async def job(_due_s: float) -> None:
        assert under_way.watermark_s == due_s

    async def begin() -> None:
        assert due_s <= under_way.watermark_s <= monotonic()
        under_way.begin(job, due_s)
        await under_way.none()
        assert under_way.watermark_s > due_s

    asyncio.run(begin())


@pytest.mark.parametrize("concurrency", [None, Shape.of(3)], ids=["by schedule", "in a loop"])
def test_the_error_of_a_job_goes_to_the_handler_of_the_event_loop(
    concurrency: Shape | None,
) -> None:
    errors: list[str] = []

    async def job(_due_s: float) -> None:
        raise OSError("the disk is full")

    async def go() -> None:
        def end(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            errors.append(str(context.get("exception")))
            raise SystemExit(1)

        asyncio.get_running_loop().set_exception_handler(end)
        await send(iter([(0.0, job)]), concurrency, asyncio.Event(), UnderWay())

    with pytest.raises(SystemExit):
        asyncio.run(go())
    assert "the disk is full" in errors
