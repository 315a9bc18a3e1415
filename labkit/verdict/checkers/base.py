"""The protocol of a checker, and what several of them say."""

from __future__ import annotations

from typing import ClassVar, Protocol

import pandas as pd

from labkit.verdict.evidence import Evidence
from labkit.verdict.finding import Finding, Verdict


class Checker(Protocol):
    """Looks at the evidence for one claim."""

    name: ClassVar[str]

    def check(self, evidence: Evidence) -> Finding | None:
        """Judge. A function of the evidence alone.

        None: the run had nothing that the claim speaks of, as a run without reads has for a claim
        about reads.
        """


def nothing_to_judge(checker: str, evidence: Evidence) -> Finding | None:
    """UNKNOWN, where a claim about the orders in the database has nothing to speak of."""
    if evidence.final is None:
        return no_final_read(checker)
    if evidence.final.orders.empty:
        return Finding(checker, Verdict.UNKNOWN, "the database has no order of this run")
    return None


def no_final_read(checker: str) -> Finding:
    """Nothing is proven without it."""
    return Finding(checker, Verdict.UNKNOWN, "the database could not be read after the run")


def twice_in(keys: pd.Series) -> tuple[str, ...]:
    """Tell which keys are there more than once, in order."""
    return () if keys.is_unique else tuple(map(str, sorted(set(keys[keys.duplicated()]))))


def money(cents: int) -> str:
    """Write an amount in dollars."""
    return f"{cents / 100:,.2f}"
