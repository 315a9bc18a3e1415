"""Waiting with a deadline."""

from __future__ import annotations

import pytest

from labkit.clock import wait_until
from labkit.errors import NotReady


def test_what_is_ready_at_once_is_asked_once() -> None:
    asked: list[int] = []

    def ready() -> bool:
        asked.append(1)
        return True

    wait_until(ready, what="it", timeout_s=0)
    assert asked == [1]


def test_it_is_asked_until_it_is_ready() -> None:
    answers = [None, 0, "", "yes"]
    wait_until(lambda: answers.pop(0), what="it", timeout_s=60, poll_s=0)
    assert answers == []


def test_the_error_names_what_was_awaited_how_long_and_what_was_seen() -> None:
    with pytest.raises(NotReady) as caught:
        wait_until(
            lambda: False, what="a leader", timeout_s=0.01, poll_s=0.001, hint=lambda: "2 of 3"
        )
    assert str(caught.value) == "a leader: not ready after 0.01 s (2 of 3)"


def test_the_hint_is_not_asked_when_all_is_well() -> None:
    wait_until(lambda: True, what="it", timeout_s=1, hint=lambda: pytest.fail("asked"))


def test_what_the_question_raises_ends_the_wait() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_until(broken, what="it", timeout_s=60)
