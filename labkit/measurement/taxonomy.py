"""The reasons why attempts ended, in words for tables, reports and the terminal."""

from __future__ import annotations

from labkit.errors import LabError
from labkit.libpq import THROTTLED
from labkit.trading.attempts import REFUSALS

NO_CONNECTION = "no connection in time"
NO_ANSWER = "the link died before an answer came"
CLASSES = {
    "08": "the connection was refused or broke",
    "22": "a value that cannot be",
    "23": "a constraint was broken",
    "25": "the node takes no writes",
    "28": "the login was refused",
    "40": "rolled back, or not known whether",
    "42": "the statement is wrong, or not allowed",
    "53": "the server ran out of something",
    "55": "a lock or object could not be had",
    "57": "the server shuts down, starts, or cancelled it",
    "58": "the server's machine failed",
    "LK": "the application refused it",
    "XX": "the server broke down",
}
"""Classes of SQLSTATE (its first two characters) in words, after PostgreSQL's appendix A; LK is the
trading application's own (`labkit.trading.attempts.REFUSALS`)."""


def in_words(sqlstate: str, *, sent: bool) -> str:
    """Return what ended an operation that was not acknowledged.

    Args:
        sqlstate: of the last error; empty when none came.
        sent: whether it was sent at all.
    """
    if not sent:
        return NO_CONNECTION
    if not sqlstate:
        return NO_ANSWER
    if sqlstate == THROTTLED:
        return "the cluster is throttled for want of a licence"
    known = CLASSES.get(sqlstate[:2], f"SQLSTATE class {sqlstate[:2]}")
    refusal: type[LabError] | None = REFUSALS.get(sqlstate)
    return f"{known}: {refusal.__name__}" if refusal else known
