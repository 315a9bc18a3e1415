"""What clients did and what was done to the cluster, as data.

Every time in a history is `time.monotonic()` of the machine, in seconds: one base for all worker
processes (CLOCK_MONOTONIC is one clock for the whole machine). `History.anchor_s` says what to add
for the wall clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from labkit import files
from labkit.errors import BadInput
from labkit.events import EVENTS_FILE, Event, load_events, save_events

SAMPLES_FILE = "samples.parquet"
FAULTS_FILE = "faults.jsonl"
FORMAT = 2
"""Of `SAMPLES_FILE`; raised when its columns change."""


class Outcome(StrEnum):
    """How an operation ended for its client."""

    OK = "ok"
    """Acknowledged: it must survive."""
    FAIL = "fail"
    """Certainly not applied: refused, or never sent."""
    INFO = "info"
    """Unknown: the link died after it was sent. It may be there or not, but not twice."""


class OpKind(StrEnum):
    """What an operation does."""

    ORDER = "order"
    """Places an order."""
    FRESH_READ = "fresh_read"
    """Reads a price where it is written: every order acknowledged before must show."""
    REPLICA_READ = "replica_read"
    """Reads a price from a copy in the client's region, which may be a little behind."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of one client, retries included.

    Attributes:
        scheduled_s: when the schedule said it starts; latency counts from here.
        sent_s: when it was first sent, or NaN when it never was.
        finished_s: when its outcome was known.
        region: the client's region.
        kind: what it did, an `OpKind`.
        outcome: how it ended. A read that was not answered is FAIL: it changed nothing.
        order_id: the order's id, made by the client before the first attempt; empty for a read.
        symbol: the instrument.
        side: of an order, "buy" or "sell"; empty for a read.
        session: the customer, a number that no two customers of a run share.
        move_nbr: of an order, its place among those that moved the symbol's price, the first is 1;
            of a read, how many had moved it. None when the client was not told.
        price_cents: of an order, the unit price; of a read, the price. None as above.
        attempts: how often it was sent under that id: one more than its retries, 0 when it never
            was.
        sqlstate: of the last error, empty when there was none or the link died.
    """

    scheduled_s: float
    sent_s: float
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
    "symbol": "category",
    "side": "category",
    "session": "int64",
    "move_nbr": "Int64",
    "price_cents": "Int64",
    "attempts": "int32",
    "sqlstate": "category",
}
"""The columns of `History.ops` and their dtypes: the fields of `Op`, one row an operation."""


def only_orders(ops: pd.DataFrame) -> pd.DataFrame:
    """The rows that place orders; columns as `OP_COLUMNS`."""
    chosen = ops["kind"] == str(OpKind.ORDER)
    return ops if chosen.all() else ops[chosen]  # millions of rows are not copied for nothing


@dataclass(frozen=True)
class Terms:
    """What a run is judged by beside its operations; kept with them, to be judged again.

    Attributes:
        watched_until_s: as `measurement.recovery.recovery` takes it.
        steady: the fields of the `SteadyState` that was asked for.
        looks: from when until when the steady state was judged "before" and "after" the fault.
    """

    watched_until_s: float
    steady: Mapping[str, float]
    looks: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, object]:
        """As JSON takes it, which has no infinity."""
        endless = self.watched_until_s == inf
        return {**asdict(self), "watched_until_s": None if endless else self.watched_until_s}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Terms:
        """Read back what `to_json` gave."""
        until_s = data["watched_until_s"]
        return cls(
            inf if until_s is None else float(until_s),
            {name: float(value) for name, value in data["steady"].items()},
            {when: (float(look[0]), float(look[1])) for when, look in data["looks"].items()},
        )


@dataclass(frozen=True)
class History:
    """Everything a run recorded: operations and faults. Never changed, only made.

    Attributes:
        ops: one row an operation, columns as `OP_COLUMNS`, ordered by `scheduled_s`.
        faults: in the order of their injection.
        anchor_s: wall clock minus monotonic clock, seconds since the epoch.
        events: what clients and cluster noticed of outages, in order of time.
        terms: what it is judged by; None where nobody said.
    """

    ops: pd.DataFrame
    faults: tuple[FaultWindow, ...] = ()
    anchor_s: float = 0.0
    regions: tuple[str, ...] = field(default=())
    events: tuple[Event, ...] = ()
    terms: Terms | None = None

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
        columns: Sequence[str] = tuple(OP_COLUMNS),
    ) -> History:
        """Make a history out of a frame that has the columns of `OP_COLUMNS`.

        Args:
            regions: every region that was driven, in the order to show them; by default those
                that occur.
            columns: those that are wanted.
        """
        ops = frame[[*columns]].astype({name: OP_COLUMNS[name] for name in columns})
        if ops["scheduled_s"].is_monotonic_increasing:  # a saved one: no copy of millions of rows
            ops = ops.reset_index(drop=True)
        else:
            ops = ops.sort_values("scheduled_s", ignore_index=True)
        order = tuple(regions) or tuple(dict.fromkeys(ops["region"].astype(str)))
        return cls(ops, tuple(faults), anchor_s, order)

    @cached_property
    def orders(self) -> History:
        """The same run without its reads: what RTO and the write gap are measured on."""
        return replace(self, ops=only_orders(self.ops).reset_index(drop=True))

    def with_faults(self, faults: Iterable[FaultWindow]) -> History:
        """The same operations under other faults."""
        return replace(self, faults=tuple(faults))

    def with_events(self, events: Iterable[Event]) -> History:
        """The same operations with further events."""
        every = sorted((*self.events, *events), key=lambda event: event.at_s)
        return replace(self, events=tuple(every))

    def save(self, folder: Path) -> None:
        """Write `samples.parquet`, `faults.jsonl` and `events.jsonl` into a run folder."""
        frame = self.ops.copy(deep=False)
        frame.attrs = {
            "format": FORMAT,
            "anchor_s": self.anchor_s,
            "regions": list(self.regions),
            "terms": None if self.terms is None else self.terms.to_json(),
        }
        write_columns(frame, folder / SAMPLES_FILE)
        save_faults(self.faults, folder)
        save_events(self.events, folder)

    @classmethod
    def load(cls, folder: Path, *, columns: Sequence[str] = tuple(OP_COLUMNS)) -> History:
        """Read back what `save` wrote.

        Args:
            columns: those that are wanted.

        Raises:
            BadInput: another version of labkit wrote it, or it is damaged.
            OSError: it is not there.
        """
        path = folder / SAMPLES_FILE
        with reading(path):
            about = json.loads((pq.read_schema(path).metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
            found = about.get("format", 1)
        if found != FORMAT:
            raise BadInput(
                f"{path}: format {found}, this labkit reads {FORMAT}; "
                "run the scenario again, or read it with the labkit that wrote it"
            )
        frame, faults = read_columns(path, columns), load_faults(folder)
        with reading(path):
            terms = about.get("terms")
            history = cls.from_frame(
                frame,
                faults,
                anchor_s=float(about["anchor_s"]),
                regions=about["regions"],
                columns=columns,
            )
            history = replace(history, terms=None if terms is None else Terms.from_json(terms))
        return history.with_events(_events(folder))


def _events(folder: Path) -> tuple[Event, ...]:
    with reading(folder / EVENTS_FILE):
        return load_events(folder)


def write_columns(frame: pd.DataFrame, path: Path) -> None:
    """Write a Parquet file whose pages have checksums."""
    with files.replacing(path) as new:
        frame.to_parquet(new, index=False, engine="pyarrow", write_page_checksum=True)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a Parquet file.

    One by one: the whole file as Arrow's beside the whole as pandas' is twice the memory.

    Raises:
        BadInput: it is damaged.
        OSError: it is not there.
    """
    with reading(path):
        read = {
            name: pd.read_parquet(path, columns=[name], page_checksum_verification=True)[name]
            for name in columns
        }
    return pd.DataFrame(read, copy=False)


_DAMAGED = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError, pa.ArrowException),
)
"""What readers of JSON and Parquet raise for bytes that nobody wrote."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Read a file that a run left. It may have been cut short, by a full disk or a lost machine.

    Raises:
        BadInput: what is in it is not what labkit writes.
        OSError: it is not there, or not to be read.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except _DAMAGED as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadInput(f"{path}: damaged, or not written to its end ({why})") from error


def save_faults(faults: Iterable[FaultWindow], folder: Path) -> None:
    """Write `faults.jsonl` into a run folder."""
    lines = [json.dumps(asdict(fault)) for fault in faults]
    # killed meanwhile, a run keeps what it had written before
    files.write_text(folder / FAULTS_FILE, "".join(f"{line}\n" for line in lines))


def load_faults(folder: Path) -> tuple[FaultWindow, ...]:
    """Read back what `save_faults` wrote.

    Raises:
        BadInput: it is damaged.
        OSError: it is not there.
    """
    path = folder / FAULTS_FILE
    with reading(path):
        return tuple(
            FaultWindow(**json.loads(line))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
