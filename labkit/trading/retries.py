"""When a write is attempted again, and what all its attempts prove together.

The one policy of everything that writes: orders, deposits, accounts, the order processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import uniform
from time import monotonic
from typing import Final, Literal

import psycopg

from labkit.errors import LabError
from labkit.trading.attempts import Reply, reply_of, sqlstate_of

FIRST_BACKOFF_S: Final = 0.02
LONGEST_BACKOFF_S: Final = 0.5

READ_ONLY: Final = "25006"
"""The SQLSTATE of a node that is not the primary, or not any more."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the client waits.

    Attributes:
        deadline_s: from a write's scheduled moment until no further attempt is begun.
        attempt_timeout_s: for the answer to one attempt, the last one too. An attempt cut short
            by the deadline would end as INFO and cost its connection; after an outage, a queue of
            such writes would keep a healthy service down.
    """

    deadline_s: float
    attempt_timeout_s: float


@dataclass(slots=True)
class Fate:
    """What became of one write so far: its attempts under one id, and what they prove.

    Attributes:
        outcome: as it stands now: acknowledged, certainly not applied, or unknown.
        attempts: how many were begun.
        sent_s: when the first of them was, by `time.monotonic`; None when none was.
        sqlstate: of the last error, empty when there was none or the link died.
        refusal: the error that another attempt would meet again.
    """

    outcome: Literal["ok", "fail", "info"] = "fail"
    attempts: int = 0
    sent_s: float | None = None
    sqlstate: str = ""
    refusal: psycopg.Error | LabError | None = None

    def attempt(self) -> None:
        """One more is begun."""
        self.attempts += 1
        if self.sent_s is None:
            self.sent_s = monotonic()

    def succeeded(self) -> None:
        """The attempt was acknowledged."""
        self.outcome, self.sqlstate = "ok", ""

    def failed(self, error: psycopg.Error | LabError) -> Reply:
        """The attempt ended with an error; say what it proves.

        A refusal does not make an outcome known that was unknown: an attempt before it may be
        stuck on its way and be applied after the refusal.
        """
        reply, self.sqlstate = reply_of(error), sqlstate_of(error)
        if reply is Reply.UNKNOWN:
            self.outcome = "info"
        if reply is Reply.REFUSED:
            self.refusal = error
        return reply

    def leaves_the_connection(self, reply: Reply) -> bool:
        """Whether the next attempt needs another connection, perhaps to another node."""
        return reply is Reply.UNKNOWN or self.sqlstate == READ_ONLY

    @property
    def backoff_s(self) -> float:
        """How long to wait before the next attempt: longer each time, and never the same."""
        longest_s = min(FIRST_BACKOFF_S * 2.0 ** (self.attempts - 1), LONGEST_BACKOFF_S)
        return longest_s * uniform(0.5, 1.0)
