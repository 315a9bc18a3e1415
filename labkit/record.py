"""The records of a run: operations of clients, and faults. Workers import this: it needs no pandas.

pandas costs each worker process more than a second and 80 MB. Every time is `time.monotonic()` of
the machine, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """The outcome of an operation for its client."""

    OK = "ok"
    """Acknowledged: it must survive."""
    FAIL = "fail"
    """Certainly not applied: refused, or never sent."""
    INFO = "info"
    """Unknown: the link died after it was sent. It may be there or not, but not twice."""


class OpKind(StrEnum):
    """The kind of an operation."""

    ORDER = "order"
    """Places an order."""
    FRESH_READ = "fresh_read"
    """Reads a price where it is written: every order acknowledged before must show."""
    REPLICA_READ = "replica_read"
    """Reads a price from a copy in the client's region, which may be a little behind."""


class Op(NamedTuple):
    """One operation of one client, retries included: a row of `samples.parquet`.

    In `labkit load`, which measures and judges nothing, `kind` is the name of a class's function.

    Attributes:
        scheduled_s: When the schedule said it starts. Latency counts from here.
        sent_s: When it was first sent; empty when it never was.
        finished_s: When its outcome was known.
        region: The client's region.
        kind: `order`; `fresh_read`: a price from where it is written, of which nothing can be
            undone any more (on PostgreSQL it waits for the standbys as a commit does);
            `replica_read`: a price from a copy in the client's region. RTO and write gap are
            measured on orders only.
        outcome: `ok`, `fail` or `info`, as below. A read that was not answered is `fail`: it
            changed nothing.
        order_id: The order's id, made by the client before the first attempt; empty for a read.
        symbol: The instrument.
        side: `buy` or `sell`; empty for a read.
        session: The customer, a number that no two customers of a run share.
        move_nbr: Of an order: its place among the orders that moved the symbol's price, the first
            is 1. Of a read: how many had moved it. Empty when the client was not told.
        price_cents: Of an order: its unit price. Of a read: the price. Empty when the client was
            not told.
        attempts: How often it was sent under that id: one more than its retries, 0 when it never
            was.
        sqlstate: Of the last error; empty when there was none or the link died.
    """

    scheduled_s: float
    sent_s: float | None
    finished_s: float
    region: str
    kind: str
    outcome: Outcome
    order_id: str
    symbol: str = ""
    side: str = ""
    session: int = 0
    move_nbr: int | None = None
    price_cents: int | None = None
    attempts: int = 1
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class NodeRestart:
    """A node that was restarted.

    Attributes:
        stop_s: seconds for handing over, draining and ending.
        start_s: seconds from its start until the whole cluster was in service.
    """

    node: str
    stop_s: float
    start_s: float


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """One fault from its injection to its healing.

    Attributes:
        fault: its name, such as "kill".
        target: what it was aimed at, such as "us-west-2/1".
        injected_s: when the injection was begun.
        took_effect_s: when a probe first saw its effect, or None when it never did.
        healed_s: when healing was done (target back in service), or None while it holds.
        detail: what the probe saw, one line.
        regions: those that it was aimed at, also as the end of a link; empty where nobody said.
        nodes: those that it was aimed at, by name; empty where nobody said.
        balancers: the regions whose balancer it ended or froze.
        restarts: of a rolling restart, the nodes in the order in which they were restarted.
    """

    fault: str
    target: str
    injected_s: float
    took_effect_s: float | None = None
    healed_s: float | None = None
    detail: str = ""
    regions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    balancers: tuple[str, ...] = ()
    restarts: tuple[NodeRestart, ...] = ()

    @property
    def label(self) -> str:
        """`kill us-west-2/1`: for legends and tables."""
        return f"{self.fault} {self.target}"

    def healed(self, at_s: float) -> FaultWindow:
        """Copy the window, closed at a moment."""
        return replace(self, healed_s=at_s)
