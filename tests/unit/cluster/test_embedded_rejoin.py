"""How a node came back, told by what its Patroni logged."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from labkit.cluster.engines.postgresql.rejoin import rejoin

BEFORE = (
    "2026-05-01 12:00:00,000 INFO: no action. I am (n-1), a secondary, and following a leader (m)"
)
START = "2026-05-01 12:01:00,000 INFO: Patroni global thread_pool_size = 5"
REWIND = "2026-05-01 12:01:01,500 INFO: running pg_rewind from m"
DURING = "2026-05-01 12:01:02,500 INFO: running pg_rewind from m in progress"
COPY = "2026-05-01 12:01:04,000 INFO: replica has been created using basebackup"
SERVER = (
    "2026-05-01 12:01:05.000 UTC [7] LOG:  started streaming WAL from primary at 0/18 on timeline 2"
)
FOLLOWS = (
    "2026-05-01 12:01:06,250 INFO: no action. I am (n-1), a secondary, and following a leader (m)"
)


@pytest.fixture(autouse=True)
def _the_reader_is_elsewhere(monkeypatch):
    """Patroni logs in UTC, whatever the time zone is of who reads it."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(second: float) -> datetime:
    return datetime(2026, 5, 1, 12, 1, int(second), int(second % 1 * 1e6), tzinfo=UTC)


def told(*lines: str, since_s: float = 0):
    return rejoin("n/1", "\n".join(lines) + "\n", at(since_s))


@pytest.mark.parametrize(
    ("lines", "how"),
    [
        ([BEFORE, START, SERVER, FOLLOWS], "stream"),
        ([BEFORE, START, REWIND, DURING, SERVER, FOLLOWS], "rewind"),
        ([BEFORE, START, REWIND, COPY, SERVER, FOLLOWS], "copy"),
    ],
)
def test_a_node_that_was_started_again_streams_rewinds_or_is_copied(lines, how):
    found = told(*lines)
    assert (found.node, found.how) == ("n/1", how)
    assert (found.started_at, found.following_at) == (at(0), at(6.25))


def test_a_node_that_only_went_on_did_not_come_back():
    assert told(BEFORE, FOLLOWS) is None


def test_what_was_before_the_moment_does_not_count():
    assert told(START, REWIND, FOLLOWS, since_s=30) is None


def test_a_primary_that_was_cut_off_and_never_restarted_comes_back_by_its_rewind():
    found = told(BEFORE, REWIND, FOLLOWS)
    assert (found.how, found.started_at) == ("rewind", at(1.5))


def test_a_node_that_does_not_follow_yet_has_no_end():
    assert told(START, REWIND, DURING).following_at is None
