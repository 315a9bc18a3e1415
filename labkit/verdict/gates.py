"""Gates: limits from outside the notebook, for somebody else's CI. Each says how far off it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labkit.measurement import rounding
from labkit.verdict.checkers import Finding, Verdict, worst
from labkit.verdict.requirements import Measured, decisive, measured
from labkit.verdict.summary import Summary

PREFIX = "gate_"
"""What the finding of a gate is called: this and the measure's name."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One limit of the command line.

    Attributes:
        option: as it was typed, such as "--max-rto".
        measure: a name of `requirements.MEASURES`.
        label: what people call it.
    """

    option: str
    measure: str
    label: str


GATES = (
    Gate("--max-rto", "rto_s", "RTO"),
    Gate("--max-write-gap", "write_gap_s", "write gap"),
    Gate("--max-unavailable", "unavailable_s", "availability lost"),
    Gate("--max-p99", "p99_ms", "p99"),
    Gate("--max-lost", "lost_acks", "lost acks"),
)
_OF_A_FAULT = ("rto_s", "write_gap_s", "unavailable_s")


def hold(summaries: Sequence[Summary], limits: Mapping[Gate, float]) -> list[list[Finding]]:
    """Hold experiments to limits.

    An experiment without a fault has no RTO; such a gate then looks at the others, and is not
    proven when there are none.

    Returns:
        For each experiment its findings.
    """
    return [
        [
            _finding(gate, limit, summary)
            for gate, limit in limits.items()
            if _applies(gate, summary, summaries)
        ]
        for summary in summaries
    ]


def _applies(gate: Gate, summary: Summary, summaries: Sequence[Summary]) -> bool:
    if gate.measure not in _OF_A_FAULT or summary.recovery:
        return True
    return not any(other.recovery for other in summaries)


def _finding(gate: Gate, limit: float, summary: Summary) -> Finding:
    numbers = measured(gate.measure, summary)
    verdict = worst(number.verdict(limit) for number in numbers)
    number = decisive(numbers, limit)
    held = f"{gate.option} {limit:g}"
    return Finding(
        f"{PREFIX}{gate.measure}",
        verdict,
        f"{_outcome(gate, number, limit, verdict)} ({held}; {number.where})",
        count=sum(number.verdict(limit) is not Verdict.PASS for number in numbers),
        limit=limit,
    )


def _outcome(gate: Gate, number: Measured, limit: float, verdict: Verdict) -> str:
    if number.value is None and verdict is Verdict.FAIL:
        over = rounding.measure(gate.measure, number.beyond - limit)
        return (
            f"{gate.label} is more than {rounding.measure(gate.measure, number.beyond)}, "
            f"at least {over} over"
        )
    if number.value is None:
        return f"{gate.label} is not known"
    value = rounding.measure(gate.measure, number.value, number.error)
    if verdict is Verdict.UNKNOWN:
        return f"{gate.label} is {value}, which leaves open whether it is at most the limit"
    if verdict is Verdict.FAIL:
        over = rounding.measure(gate.measure, number.value - limit, number.error)
        return f"{gate.label} is {value}, {over} over"
    return f"{gate.label} is {value}"
