"""Judges of what a run left behind: functions of data, each clear about what it cannot see.

Every checker gets the same evidence: the ledger of acknowledged orders, what the clients
recorded, and one read of the database after everything was healed. Without that read nothing is
proven: UNKNOWN, never PASS.
"""

from labkit.verdict.checkers.balances import MoneyExact
from labkit.verdict.checkers.base import Checker
from labkit.verdict.checkers.opening import Opening
from labkit.verdict.checkers.placed import Executions, NoDuplicates, NoLostAcks, NoPhantoms
from labkit.verdict.checkers.prices import PriceExact
from labkit.verdict.checkers.realtime import RealTime, Replicas, Sessions

__all__ = [
    "CHECKERS",
    "Checker",
    "Executions",
    "MoneyExact",
    "NoDuplicates",
    "NoLostAcks",
    "NoPhantoms",
    "Opening",
    "PriceExact",
    "RealTime",
    "Replicas",
    "Sessions",
]

CHECKERS: tuple[Checker, ...] = (
    NoLostAcks(),
    NoDuplicates(),
    NoPhantoms(),
    MoneyExact(),
    PriceExact(),
    Opening(),
    RealTime(),
    Sessions(),
    Replicas(),
    Executions(),
)
"""What every trading run is judged by."""
