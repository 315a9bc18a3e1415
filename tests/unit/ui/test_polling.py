from __future__ import annotations

from itertools import count
from queue import Queue
from threading import Event

import psycopg
import pytest

from labkit.errors import NotReady
from labkit.ui.polling import Poller, Seen, first_line


def test_what_was_seen_stays_when_the_next_question_has_no_answer() -> None:
    told: Queue[Seen[int]] = Queue()
    numbers = count()

    def ask() -> int:
        number = next(numbers)
        if number:
            raise NotReady("the database: not ready\nand more")
        return number

    poller = Poller(ask, told.put, every_s=0.01, name="test")
    first, second = told.get(timeout=10), told.get(timeout=10)
    poller.end()
    assert (first.value, first.problem) == (0, "")
    assert (second.value, second.at_s) == (0, first.at_s)
    assert second.problem == "the database: not ready"


def test_an_error_of_the_driver_is_told_and_asking_goes_on() -> None:
    told: Queue[Seen[int]] = Queue()

    def ask() -> int:
        raise psycopg.OperationalError("connection refused")

    poller = Poller(ask, told.put, every_s=0.01, name="test")
    first, second = told.get(timeout=10), told.get(timeout=10)
    poller.end()
    assert first.problem == second.problem == "connection refused"
    assert first.to_page() != second.to_page()  # so that the page hears of it


def test_a_question_that_hangs_keeps_nobody_waiting_and_its_answer_is_not_told_after_the_end() -> (
    None
):
    begun, go_on = Event(), Event()
    told: list[Seen[int]] = []

    def ask() -> int:
        begun.set()
        go_on.wait(10)
        return 1

    poller = Poller(ask, told.append, every_s=0.01, name="test")
    assert begun.wait(10)
    poller.soon()
    poller.end()
    go_on.set()
    poller._thread.join(10)
    assert told == []


@pytest.mark.parametrize(
    "seen", [Seen(1, 1_700_000_000.25, 0.1), Seen(problem="no", asked_s=1_700_000_000.5)]
)
def test_a_page_gets_milliseconds_and_the_problem(seen: Seen[int]) -> None:
    assert seen.to_page() == {
        "seen_ms": round(seen.at_s * 1000),
        "asked_ms": round(seen.asked_s * 1000),
        "problem": seen.problem,
    }


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("the lab is stopped\n  and more", "the lab is stopped"),
        (
            'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection'
            " refused\n\tIs the server running on that host?",
            "no connection: connection refused",
        ),
        ("", "OperationalError"),
    ],
)
def test_a_page_is_told_why_in_one_short_line(said: str, told: str) -> None:
    assert first_line(psycopg.OperationalError(said)) == told
