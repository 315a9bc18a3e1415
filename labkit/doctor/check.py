"""The outcome of a check, and what depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Feature(StrEnum):
    """A part of labkit that a person may want to run."""

    EMBEDDED = "embedded"
    """Nine nodes as processes of this machine."""
    NOTEBOOKS = "notebooks"
    """`labkit run` and `labkit notebook`."""
    CONTAINERS = "cockroachdb"
    """Nine nodes under Docker Compose."""
    PROGRAM = "cockroach-binary"
    """Nine nodes as processes of the `cockroach` on PATH."""


class Level(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    """It will run, but read the advice."""
    FAIL = "fail"
    """What needs it will not run."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check of one thing, and its outcome.

    Attributes:
        found: what is there, one line.
        advice: what to do about it, empty when nothing need be done.
        needed_for: what will not run when the level is FAIL; empty: nothing depends on it.
    """

    name: str
    level: Level
    found: str
    advice: str = ""
    needed_for: tuple[Feature, ...] = (Feature.EMBEDDED,)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The outcomes of all checks."""

    checks: tuple[Check, ...]

    def blockers(self, feature: Feature) -> tuple[Check, ...]:
        """List the checks because of which a feature will not run; empty when it will."""
        return tuple(
            check
            for check in self.checks
            if check.level is Level.FAIL and feature in check.needed_for
        )
