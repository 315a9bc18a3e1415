"""The operations of the clients and the faults of a run, as data.

Every time in a history is `time.monotonic()` of the machine, in seconds: one base for all worker
processes (CLOCK_MONOTONIC is one clock for the whole machine). `History.anchor_s` says what to add
for the wall clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from labkit import files
from labkit.errors import BadInput
from labkit.events import EVENTS_FILE, Event, load_events, save_events
from labkit.record import FaultWindow, Op, OpKind, Outcome

SAMPLES_FILE = "samples.parquet"
FAULTS_FILE = "faults.jsonl"
FORMAT = 3
"""Of `SAMPLES_FILE` and `FAULTS_FILE`; raised when their columns or keys change."""


_DTYPES: Mapping[object, str] = {
    float: "float64",
    float | None: "float64",
    int: "int64",
    int | None: "Int64",
    str: "category",
    Outcome: "category",
}
OP_COLUMNS: dict[str, str] = {
    **{name: _DTYPES[kind] for name, kind in get_type_hints(Op).items()},
    "order_id": "str",
    "attempts": "int32",
}
"""The columns of `History.ops` and their dtypes: the fields of `Op`, one row per operation."""


def only_orders(ops: pd.DataFrame) -> pd.DataFrame:
    """Select the rows that place orders; columns as `OP_COLUMNS`."""
    chosen = ops["kind"] == str(OpKind.ORDER)
    return ops if chosen.all() else ops[chosen]  # millions of rows are not copied for nothing


@dataclass(frozen=True)
class Terms:
    """The terms that a run is judged by, kept with its operations so that it can be judged again.

    Attributes:
        watched_until_s: when the watch ended: all orders due before it have had their time. No
            number is measured of what was due later (`labkit.measurement.windows.watched`).
            Infinity where the watch went on to the end of the records.
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
        return _TERMS.validate_python(
            {**data, "watched_until_s": inf if until_s is None else until_s}
        )


_TERMS = TypeAdapter(Terms)
_FAULT = TypeAdapter(FaultWindow)


@dataclass(frozen=True)
class History:
    """The record of a run: operations, faults, events. Immutable.

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
        rows = [op._asdict() for op in ops]
        return cls.from_frame(
            pd.DataFrame(rows, columns=list(OP_COLUMNS)), faults, anchor_s=anchor_s
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

    @property
    def watched_until_s(self) -> float:
        """Tell when the watch ended; infinity where it went on to the end of the records."""
        return inf if self.terms is None else self.terms.watched_until_s

    @cached_property
    def orders(self) -> History:
        """The same run without its reads: what RTO and the write gap are measured on."""
        return replace(self, ops=only_orders(self.ops).reset_index(drop=True))

    def with_faults(self, faults: Iterable[FaultWindow]) -> History:
        """Copy the history with other faults."""
        return replace(self, faults=tuple(faults))

    def with_events(self, events: Iterable[Event]) -> History:
        """Copy the history with further events."""
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
            if len(set(about["regions"])) < len(about["regions"]):
                raise ValueError("a region is there twice")
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
    """Read some columns of a Parquet file.

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
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(_FAULT.validate_json(line) for line in lines)
