"""What a checker is."""

from __future__ import annotations

from typing import ClassVar, Protocol

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
