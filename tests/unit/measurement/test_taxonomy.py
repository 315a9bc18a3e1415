from __future__ import annotations

import pytest

from labkit.measurement.taxonomy import CLASSES, NO_ANSWER, NO_CONNECTION, in_words


@pytest.mark.parametrize(
    ("sqlstate", "sent", "words"),
    [
        ("57P01", True, CLASSES["57"]),
        ("LK003", True, "the application refused it: InsufficientFunds"),
        ("ZZZZZ", True, "SQLSTATE class ZZ"),
        ("XXC02", True, "the cluster is throttled for want of a licence"),
        ("", True, NO_ANSWER),
        ("", False, NO_CONNECTION),
        ("57P01", False, NO_CONNECTION),
    ],
)
def test_what_ended_an_attempt_is_one_phrase(sqlstate: str, sent: bool, words: str):
    assert in_words(sqlstate, sent=sent) == words
