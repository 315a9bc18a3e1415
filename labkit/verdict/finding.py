"""Verdicts, and findings with their reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
AnyFinding = TypeVar("AnyFinding", bound="Finding | None")

OFFENDERS_SHOWN = 10
"""How many offenders a finding names; `Finding.count` has them all."""


class Verdict(StrEnum):
    """The verdict on a claim."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    """It was looked at and holds."""
    FAIL = "fail"
    """It was looked at and does not hold."""
    UNKNOWN = "unknown"
    """It could not be looked at, or the run says nothing about it."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """FAIL before UNKNOWN before PASS; nothing looked at is UNKNOWN."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.PASS if seen == {Verdict.PASS} else Verdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one checker.

    Attributes:
        checker: its name, such as "lost_acks".
        summary: one line.
        offenders: the first few things that break the claim, each beginning with its name. A read
            is named by its row in `samples.parquet`, counted from 0.
        count: all of them.
        limit: what was required at most, or held to from outside; None for a checker.
        elsewhere: whether it was required only of regions that the fault was not aimed at.
    """

    checker: str
    verdict: Verdict
    summary: str
    offenders: tuple[str, ...] = ()
    count: int = 0
    limit: float | None = None
    elsewhere: bool = False


def counted(count: int, noun: str) -> str:
    """`1 order`, `2,000 orders`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def guarded(
    checker: str, look: Callable[P, AnyFinding], *args: P.args, **kwargs: P.kwargs
) -> AnyFinding | Finding:
    """Let a checker judge; where it breaks down, its finding is UNKNOWN and says so.

    The same as `check-safe` of Jepsen (jepsen/src/jepsen/checker.clj): what one checker cannot
    take says nothing of the others' claims.
    """
    try:
        return look(*args, **kwargs)
    except Exception as error:
        return Finding(checker, Verdict.UNKNOWN, f"the checker broke down: {in_one_line(error)}")


def in_one_line(error: Exception) -> str:
    """Name an error, with the first line of what it says."""
    said = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {said[:200]}"
