"""What clients did and what was done to the cluster, as data.

Every time in a history is `time.monotonic()` of the machine, in seconds: one base for all worker
processes (CLOCK_MONOTONIC is one clock for the whole machine). `History.anchor_s` says what to add
for the wall clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path

import pandas as pd

from labkit.events import Event, load_events, save_events


class Outcome(StrEnum):
    """How an operation ended for its client."""

    OK = "ok"
    """Acknowledged: it must survive."""
    FAIL = "fail"
    """Certainly not applied: refused, or never sent."""
    INFO = "info"
    """Unknown: the link died after it was sent. It may be there or not, but not twice."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of one client, retries included.

    Attributes:
        scheduled_s: when the schedule said it starts; latency counts from here.
        sent_s: when it was first sent, or NaN when it never was.
        finished_s: when its outcome was known.
        region: the client's region.
        kind: what it did, such as "order".
        outcome: how it ended.
        order_id: the order's id, made by the client before the first attempt.
        attempts: how often it was sent under that id.
        sqlstate: of the last error, empty when there was none or the link died.
    """

    scheduled_s: float
    sent_s: float
    finished_s: float
    region: str
    kind: str
    outcome: Outcome
    order_id: str
    attempts: int = 1
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """One fault from its injection to its healing.

    Attributes:
        fault: its name, such as "kill".
        target: what it was aimed at, such as "us-west-2/1".
        injected_s: when the injection was begun.
        bit_s: when a probe first saw its effect, or None when it never did.
        healed_s: when healing was done (target back in service), or None while it holds.
        detail: what the probe saw, one line.
    """

    fault: str
    target: str
    injected_s: float
    bit_s: float | None = None
    healed_s: float | None = None
    detail: str = ""

    @property
    def label(self) -> str:
        """`kill us-west-2/1`: for legends and tables."""
        return f"{self.fault} {self.target}"

    def healed(self, at_s: float) -> FaultWindow:
        """The same window, closed."""
        return replace(self, healed_s=at_s)


OP_COLUMNS: dict[str, str] = {
    "scheduled_s": "float64",
    "sent_s": "float64",
    "finished_s": "float64",
    "region": "category",
    "kind": "category",
    "outcome": "category",
    "order_id": "str",
    "attempts": "int32",
    "sqlstate": "category",
}
"""The columns of `History.ops` and their dtypes: the fields of `Op`, one row an operation."""


@dataclass(frozen=True)
class History:
    """Everything a run recorded: operations and faults. Never changed, only made.

    Attributes:
        ops: one row an operation, columns as `OP_COLUMNS`, ordered by `scheduled_s`.
        faults: in the order of their injection.
        anchor_s: wall clock minus monotonic clock, seconds since the epoch.
        events: what clients and cluster noticed of outages, in order of time.
    """

    ops: pd.DataFrame
    faults: tuple[FaultWindow, ...] = ()
    anchor_s: float = 0.0
    regions: tuple[str, ...] = field(default=())
    events: tuple[Event, ...] = ()

    @classmethod
    def of(
        cls, ops: Iterable[Op], faults: Iterable[FaultWindow] = (), *, anchor_s: float = 0.0
    ) -> History:
        """Make a history out of single operations (tests, small runs)."""
        rows = [asdict(op) for op in ops]
        return cls.from_frame(
            pd.DataFrame(rows, columns=[f.name for f in fields(Op)]), faults, anchor_s=anchor_s
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        faults: Iterable[FaultWindow] = (),
        *,
        anchor_s: float = 0.0,
        regions: Iterable[str] = (),
    ) -> History:
        """Make a history out of a frame that has the columns of `OP_COLUMNS`.

        Args:
            regions: every region that was driven, in the order to show them; by default those
                that occur.
        """
        ops = frame[list(OP_COLUMNS)].astype(OP_COLUMNS)
        ops = ops.sort_values("scheduled_s", ignore_index=True)
        order = tuple(regions) or tuple(dict.fromkeys(ops["region"].astype(str)))
        return cls(ops, tuple(faults), anchor_s, order)

    def with_faults(self, faults: Iterable[FaultWindow]) -> History:
        """The same operations under other faults."""
        return replace(self, faults=tuple(faults))

    def with_events(self, events: Iterable[Event]) -> History:
        """The same operations with further events."""
        every = sorted((*self.events, *events), key=lambda event: event.at_s)
        return replace(self, events=tuple(every))

    def save(self, folder: Path) -> None:
        """Write `samples.parquet`, `faults.jsonl` and `events.jsonl` into a run folder."""
        frame = self.ops.copy()
        frame.attrs = {"anchor_s": self.anchor_s, "regions": list(self.regions)}
        frame.to_parquet(folder / "samples.parquet", index=False)
        lines = [json.dumps(asdict(fault)) for fault in self.faults]
        (folder / "faults.jsonl").write_text("".join(line + "\n" for line in lines))
        save_events(self.events, folder)

    @classmethod
    def load(cls, folder: Path) -> History:
        """Read back what `save` wrote."""
        frame = pd.read_parquet(folder / "samples.parquet")
        lines = (folder / "faults.jsonl").read_text().splitlines()
        faults = [FaultWindow(**json.loads(line)) for line in lines]
        return cls.from_frame(
            frame,
            faults,
            anchor_s=float(frame.attrs.get("anchor_s", 0.0)),
            regions=frame.attrs.get("regions", ()),
        ).with_events(load_events(folder))
